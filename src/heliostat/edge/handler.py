"""From one request to one answer: which of the edge's own pages, or a file's redirect.

Sans-I/O: takes what the protocol has parsed, gives bytes. Everything the edge knows is the current
`Serving`, swapped in one step by the sync.
"""

from __future__ import annotations

from collections.abc import Collection, Generator
from dataclasses import dataclass
from time import time
from urllib.parse import quote_from_bytes

from heliostat.edge import answers, limits, statefiles
from heliostat.edge.allowances.purse import Purse
from heliostat.edge.answers import Answer
from heliostat.edge.beside import Beside
from heliostat.edge.clients import Client, TrustedProxies, locate
from heliostat.edge.counts.entries import AccessEntries, Entry
from heliostat.edge.counts.frame import MIRROR_MASK
from heliostat.edge.counts.tally import NOT_DOWNLOAD, Tally, tag_of
from heliostat.edge.lane import FastLane
from heliostat.edge.mirrorlists import METALINK, MIRRORLIST
from heliostat.edge.negotiate import Form, by_accept, by_query, by_suffix
from heliostat.edge.pages import explain_page
from heliostat.edge.repeats import RepeatTable
from heliostat.edge.represent import Asker
from heliostat.edge.request import Fields
from heliostat.edge.serving import BadQuestionError, Redirect, Serving
from heliostat.edge.statefiles import StateFiles
from heliostat.edge.target import BadTargetError, split_target
from heliostat.edge.ways import UNMET, Asked, Lane, client_salt, path_key, peer_kind
from heliostat.model.decision import Answer as Kind
from heliostat.routing.world import Line
from heliostat.state.opened import State
from heliostat.state.shards import FLAG_BODY

OWN_PREFIX = b"-/"
LIST_PATHS = (MIRRORLIST, METALINK)
_METALINK_WORD = b"metalink"
"""In Accept: such a client may get another answer than others, so its header block isn't kept."""
HEALTH_TEXT = "heliostat ok\n"
"""What health checks search for; DNS providers are set up with these words."""

NOT_ABLE = "heliostat is not able to serve: "


@dataclass(slots=True)
class Peer:
    """The other end of a connection, and what the state of `located_by` says of it."""

    address: str
    is_trusted: bool
    is_https: bool
    kind: int
    located_by: Serving | None = None
    client: Client | None = None
    own: tuple[Lane, Lane] = UNMET
    """The peer's own lanes, http and https."""


class Handler:
    """Answers requests by the current state; `serving` is None until there is one."""

    def __init__(
        self,
        trusted_proxies: list[str],
        tally: Tally | None = None,
        repeats: RepeatTable | None = None,
        entries: AccessEntries | None = None,
        workers: int = 1,
        state_files: StateFiles | None = None,
        public_url: str = "http://127.0.0.1:8080/",
        purse: Purse | None = None,
    ) -> None:
        """`repeats` is shared by all `workers` of one edge; `entries` is for an access log.

        Without a `purse` no client is sent to a mirror with a budget.
        """
        self._purse = purse or Purse()
        self._purse.on_change = self._renew
        self._full: frozenset[str] = frozenset()
        self._state_files = state_files or StateFiles(None)
        self._workers = workers
        self._public_url = public_url
        self.beside = Beside()
        self.proxies = TrustedProxies(trusted_proxies)
        self.tally = tally or Tally()
        self.repeats = repeats or RepeatTable()
        self.serving: Serving | None = None
        self.fast: FastLane | None = None
        self.draining = False
        """True: health answers 503, everything else is served on."""
        self.detail: list[str] = []
        """Lines below the health text: what a person should know, such as a certificate's end."""
        self.down: frozenset[Line] = frozenset()
        self._explains_left = limits.EXPLAINS_PER_S
        self._asked_by: Lane | None = None
        """Who asked the last question, if it was for a file: `remember` comes right after."""
        self._sent_to = -1
        """The mirror that it was answered with, -1 for none."""
        self.looks: set[str] = set()
        """Mirrors that clients came back from: the watch is to look at them. Others empty it."""
        self.entries = entries

    def tick(self, now_s: float) -> None:
        """Once a second, by a clock that all workers share: `/-/explain/` may be answered again."""
        self._explains_left = limits.EXPLAINS_PER_S
        self.repeats.tick(now_s)

    def preparing(self, state: State) -> Generator[None, None, Serving]:
        """Makes what will serve by `state`, with what is remembered now, in short steps.

        Requests may be answered between them; the value at the end is for `switch`.
        """
        serving = Serving(
            state,
            self.proxies,
            self.tally,
            self.repeats,
            self.down,
            self._workers,
            self._public_url,
            self._purse,
        )
        yield
        if self.serving is not None:
            yield from serving.carry(self.serving)
        return serving

    def prepare(self, state: State) -> Serving:
        """`preparing`, all at once."""
        steps = self.preparing(state)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                serving: Serving = end.value
                return serving

    def switch(self, serving: Serving) -> Serving | None:
        """Serves by it from the next request on; returns what served until now."""
        serving.renew(self._full)  # or what it goes by has changed while it was prepared
        old, self.serving = self.serving, serving
        self.fast = serving.fast
        self.tally.switch(serving.state.version, time())
        return old

    def use(self, state: State) -> None:
        """`prepare` and `switch` in one."""
        self.switch(self.prepare(state))

    def _renew(self) -> None:
        if self.serving is not None:
            self.serving.renew(self._full)

    def set_full(self, mirrors: Collection[str]) -> None:
        """The mirrors whose lines are full now: who has another choice takes it, at once."""
        if self._full != frozenset(mirrors):
            self._full = frozenset(mirrors)
            self._renew()

    def set_down(self, lines: Collection[Line]) -> bool:
        """What the watch sees as not answering: (mirror, scheme, family 4 or 6).

        True when that is news: it counts from the next `prepare` on.
        """
        changed = self.down != frozenset(lines)
        self.down = frozenset(lines)
        return changed

    def peer(self, address: str, is_https: bool) -> Peer:
        is_trusted = self.proxies.trusts(address)
        return Peer(address, is_trusted, is_https, peer_kind(is_trusted, is_https))

    def answer(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Answer:
        """The answer to one GET or HEAD request (405 for others); never raises on bad input."""
        self._asked_by = None
        self._sent_to = -1
        if method not in (b"GET", b"HEAD"):
            return answers.NOT_ALLOWED
        try:
            path, query = split_target(target)
        except BadTargetError as error:
            return answers.plain(400, f"Bad request: {error}.\n")
        if path.startswith(OWN_PREFIX):
            return self._own(path[len(OWN_PREFIX) :], query, fields, peer, method == b"HEAD")
        serving = self.serving
        if serving is None:
            return answers.NO_STATE
        client, is_https = self._client(serving, fields, peer), _is_https(fields, peer)
        asker = Asker(client, is_https, fields)
        form = by_query(query) if query else by_accept(fields.accept)
        if form is None:
            return self._file_or_other(serving, method, target, path, query, asker, peer)
        found = serving.state.find(path)
        if found is not None and (query or not found.flags & FLAG_BODY):
            answer = serving.forms.answer(form, path, found, asker, is_negotiated=not query)
            return serving.paths.not_found(path, asker) if answer is None else answer
        if form is Form.MIRRORLIST and (not path or path.endswith(b"/")):
            of_folder = (
                b"path=/" + quote_from_bytes(path).encode() + b"&" + query.partition(b"&")[2]
            )
            return serving.lists.answer(MIRRORLIST, of_folder, asker, may_say_ip=peer.is_trusted)
        return self._file_or_other(serving, method, target, path, query, asker, peer)

    def _file_or_other(
        self,
        serving: Serving,
        method: bytes,
        target: bytes,
        path: bytes,
        query: bytes,
        asker: Asker,
        peer: Peer,
    ) -> Answer:
        """A file's redirect or bytes; or what else the path may be."""
        client, fields = asker.client, asker.fields
        is_get = method == b"GET"
        if is_get and _METALINK_WORD not in fields.accept:
            is_own = client is peer.client
            asked = Asked(
                client,
                is_own,
                asker.is_https,
                fields.user_agent,
                fields.is_download,
                fields.byte_range,
            )
            lane = serving.fast.lane_of(asked)
            if not fields.is_conditional:
                self._asked_by = lane
            is_plain = by_suffix(path) is None
            head = serving.fast.redirect(b"GET " + target, lane, peer.own) if is_plain else None
            if head is not None:
                if self.entries is not None:
                    self._sent_to = self.tally.tags[-1] & MIRROR_MASK
                return Answer(head, is_counted=True)

        def as_file(path: bytes) -> Answer | None:
            found = serving.state.find(path)
            if found is None:
                return None
            if found.flags & FLAG_BODY:
                body = serving.forms.body(found, fields)
                if body is not None:
                    return body
            repeats = 0
            if is_get:
                salt = client_salt(client, fields.user_agent)
                repeats = self.repeats.note(path_key(path) ^ salt)
            byte_range = fields.byte_range if is_get else None
            redirect = serving.redirect(path, found, client, asker.is_https, repeats, byte_range)
            self._sent_to = redirect.mirror
            self._count(redirect, client, is_get and fields.is_download)
            if not redirect.is_served:
                return serving.paths.unavailable(path, asker)
            return Answer(redirect.head, is_counted=True)

        answer = as_file(path)
        if answer is None and path in LIST_PATHS:
            answer = serving.lists.answer(path, query, asker, may_say_ip=peer.is_trusted)
        if answer is None:
            answer = serving.paths.answer(path, query, asker, as_file)
        return serving.paths.not_found(path, asker) if answer is None else answer

    def _count(self, redirect: Redirect, client: Client, is_download: bool) -> None:
        """Notes a redirect; a plain one as the fast lane notes its own."""
        tally, number, mirror = self.tally, redirect.found.number, redirect.mirror
        if redirect.passed >= 0:
            tally.count_repeat(redirect.passed, client.network)
            self.looks.add(self._name_of(redirect.passed))
            tally.count_redirect("repeat", number, client.zone, mirror, is_download=is_download)
        elif redirect.kind is Kind.MIRROR and redirect.is_alive:
            tally.files.append(number)
            tag = tag_of(client.zone, mirror)
            tally.tags.append(tag if is_download else tag | NOT_DOWNLOAD)
        elif redirect.is_served:
            reason = "other" if redirect.kind is Kind.MIRROR else str(redirect.kind)
            whom = mirror if mirror >= 0 else None
            tally.count_redirect(reason, number, client.zone, whom, is_download=is_download)

    def _name_of(self, mirror: int) -> str:
        assert self.serving is not None
        return self.serving.router.world.mirrors[mirror].mirror.name

    def log(
        self, method: bytes, target: bytes, version: str, fields: Fields, peer: Peer, status: int
    ) -> None:
        """Notes the answer just given for the access log, if one is kept."""
        if self.entries is None:
            return
        client = peer.client
        if self.serving is not None:
            client = self._client(self.serving, fields, peer)
        self.entries.append(
            Entry(
                time(),
                client.address if client else peer.address,
                method,
                target,
                version,
                status,
                self._name_of(self._sent_to) if self._sent_to >= 0 else "",
                fields.referer,
                fields.user_agent,
            )
        )

    def metalink(self, line: bytes, lane: Lane, own: tuple[Lane, Lane]) -> Answer | None:
        """As `Representations.metalink`; counted."""
        answer = self.serving.forms.metalink(line, lane, own) if self.serving else None
        if answer is not None:
            self.tally.count(200)
        return answer

    def meet(self, peer: Peer) -> None:
        """Makes the peer's lanes by the state in service, if there is one."""
        serving = self.serving
        if serving is not None and peer.located_by is not serving:
            self._locate(serving, peer)

    def remember(self, data: bytes, peer: Peer) -> None:
        """Notes the header block of `data`, which the parser took for one whole plain request."""
        if self._asked_by is not None and self.fast is not None:
            self.fast.remember(peer.kind, data, self._asked_by)

    def _client(self, serving: Serving, fields: Fields, peer: Peer) -> Client:
        if peer.is_trusted and fields.forwarded_for:
            client = serving.clients.forwarded(fields.forwarded_for)
            if client is not None:
                return client
        return self._peer_client(serving, peer)

    def _peer_client(self, serving: Serving, peer: Peer) -> Client:
        if peer.located_by is not serving:
            self._locate(serving, peer)
        assert peer.client is not None
        return peer.client

    def _locate(self, serving: Serving, peer: Peer) -> None:
        """Finds the peer's zone by the state in service: once a connection, and a state."""
        client = locate(peer.address, serving.state.zones)
        peer.client = client
        peer.own = (serving.fast.lane(client, False), serving.fast.lane(client, True))
        peer.located_by = serving

    def _own(self, path: bytes, query: bytes, fields: Fields, peer: Peer, is_head: bool) -> Answer:
        if path.startswith(statefiles.PREFIX):
            asked = path.removeprefix(statefiles.PREFIX)
            return self._state_files.answer(asked, peer.address, fields, is_head=is_head)
        if path == b"healthz":
            if self.serving is None:
                detail = "".join(f"{line}\n" for line in self.detail)
                return answers.plain(503, NOT_ABLE + "there is no state yet\n" + detail)
            is_able, faults = self.serving.health()
            detail = "".join(f"{line}\n" for line in (*faults, *self.detail))
            if self.draining:
                return answers.plain(503, NOT_ABLE + "draining\n" + detail)
            if is_able:
                return answers.plain(200, HEALTH_TEXT + detail)
            return answers.plain(503, NOT_ABLE + detail)
        if path.startswith(b"explain/") and self.serving is not None:
            if not self._explains_left:
                return answers.BUSY
            self._explains_left -= 1
            client = self._client(self.serving, fields, peer)
            question = query.decode("latin-1")
            try:
                decision = self.serving.explain(
                    path.removeprefix(b"explain/"), question, client, _is_https(fields, peer)
                )
            except (BadQuestionError, ValueError) as error:
                return answers.plain(400, f"Bad question: {error}\n")
            vary = b"Vary: Accept\r\n"
            if b"text/html" in fields.accept:
                page = explain_page(decision, self.serving.state.notice.notices)
                return answers.plain(200, page, content_type=answers.HTML, extra=vary, close=True)
            return answers.as_json(200, decision.to_json(), extra=vary, close=True)
        return answers.NOT_FOUND


def _is_https(fields: Fields, peer: Peer) -> bool:
    """Whether the client came over https.

    Proxies in a row may each add a word; one "https" among them is believed, because sending an
    https client to http is the only mistake that harms.
    """
    if peer.is_trusted and fields.forwarded_proto:
        words = fields.forwarded_proto.lower().split(b",")
        return any(word.strip() == b"https" for word in words)
    return peer.is_https
