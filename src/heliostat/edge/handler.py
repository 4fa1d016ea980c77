"""From one request to one answer: which of the edge's own pages, or a file's redirect.

Sans-I/O: takes what the protocol has parsed, gives bytes. Everything the edge knows is the current
`Serving`, swapped in one step by the sync.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from heliostat.edge import answers, limits
from heliostat.edge.answers import Answer
from heliostat.edge.clients import Client, TrustedProxies, locate
from heliostat.edge.lane import FastLane, Lane, peer_kind
from heliostat.edge.pages import explain_page
from heliostat.edge.serving import BadQuestionError, Serving
from heliostat.edge.target import BadTargetError, split_target
from heliostat.state.opened import State

OWN_PREFIX = b"-/"
HEALTH_TEXT = "heliostat ok\n"
"""What health checks search for; DNS providers are set up with these words."""

NOT_ABLE = "heliostat is not able to serve: "


@dataclass(slots=True)
class Fields:
    """The header fields that matter to an answer, as the protocol met them."""

    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    accept: bytes = b""


@dataclass(slots=True)
class Peer:
    """The other end of a connection, and what the state of `located_by` says of it."""

    address: str
    is_trusted: bool
    is_https: bool
    kind: int
    located_by: Serving | None = None
    client: Client | None = None
    lanes: tuple[Lane, Lane] | None = None


class Handler:
    """Answers requests by the current state; `serving` is None until there is one."""

    def __init__(self, trusted_proxies: list[str]) -> None:
        self.proxies = TrustedProxies(trusted_proxies)
        self.serving: Serving | None = None
        self.fast: FastLane | None = None
        self.draining = False
        """True: health answers 503, everything else is served on."""
        self.detail: list[str] = []
        """Lines below the health text: what a person should know, such as a certificate's end."""
        self.down: frozenset[tuple[str, str, int]] = frozenset()
        self._explains_left = limits.EXPLAINS_PER_S

    def tick(self) -> None:
        """Once a second: `/-/explain/` may be answered again."""
        self._explains_left = limits.EXPLAINS_PER_S

    def use(self, state: State) -> None:
        """Serves by `state` from the next request on; requests under way keep theirs."""
        self.serving = Serving(state, self.proxies)
        self.fast = self.serving.fast

    def set_down(self, lines: Collection[tuple[str, str, int]]) -> None:
        """What the watch sees as not answering: (mirror, scheme, family 4 or 6)."""
        self.down = frozenset(lines)

    def peer(self, address: str, is_https: bool) -> Peer:
        is_trusted = self.proxies.trusts(address)
        return Peer(address, is_trusted, is_https, peer_kind(is_trusted, is_https))

    def answer(self, method: bytes, target: bytes, fields: Fields, peer: Peer) -> Answer:
        """The answer to one GET or HEAD request (405 for others); never raises on bad input."""
        if method not in (b"GET", b"HEAD"):
            return answers.NOT_ALLOWED
        try:
            path, query = split_target(target)
        except BadTargetError as error:
            return answers.plain(400, f"Bad request: {error}.\n")
        if path.startswith(OWN_PREFIX):
            return self._own(path[len(OWN_PREFIX) :], query, fields, peer)
        serving = self.serving
        if serving is None:
            return answers.NO_STATE
        client = self._client(serving, fields, peer)
        head = serving.redirect(path, client, _is_https(fields, peer))
        if head is None:
            return answers.NOT_FOUND
        if head is answers.NO_MIRROR.head:
            return answers.NO_MIRROR
        return Answer(head)

    def lanes(self, peer: Peer) -> tuple[Lane, Lane] | None:
        """The peer's own lanes by the state in service; None when there is no state."""
        serving = self.serving
        if serving is not None and peer.located_by is not serving:
            self._locate(serving, peer)
        return peer.lanes

    def remember(self, data: bytes, fields: Fields, peer: Peer) -> None:
        """Notes the header block of `data`, which the parser took for one whole plain request."""
        serving = self.serving
        if serving is None:
            return
        client, is_https = self._client(serving, fields, peer), _is_https(fields, peer)
        meaning = is_https if client is peer.client else serving.fast.lane(client, is_https)
        serving.fast.remember(peer.kind, data, meaning)

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
        peer.lanes = (serving.fast.lane(client, False), serving.fast.lane(client, True))
        peer.located_by = serving

    def _own(self, path: bytes, query: bytes, fields: Fields, peer: Peer) -> Answer:
        if path == b"healthz":
            if self.serving is None:
                return answers.plain(503, NOT_ABLE + "there is no state yet\n")
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
