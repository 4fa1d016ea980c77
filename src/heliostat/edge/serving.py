"""One state in service: decide, then answer, with a bounded memory of prepared redirects.

Pure but for that memory. A new state, or a new word of the watch, is a new `Serving`: swapping one
reference is the switch.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from urllib.parse import parse_qs

from heliostat.edge import answers, limits
from heliostat.edge.allowances.charges import Charges
from heliostat.edge.allowances.purse import Purse
from heliostat.edge.clients import Client, ClientMemory, TrustedProxies, locate
from heliostat.edge.content import Contents
from heliostat.edge.counts.tally import Tally
from heliostat.edge.deadline import Deadline
from heliostat.edge.lane import FastLane
from heliostat.edge.mirrorlists import MirrorLists
from heliostat.edge.paths import Paths
from heliostat.edge.redirects import Around, Redirects
from heliostat.edge.repeats import RepeatTable
from heliostat.edge.represent import Representations
from heliostat.edge.sourcing import Sourcing
from heliostat.edge.target import quote, quote_text
from heliostat.model.decision import Answer as Kind
from heliostat.model.decision import Decision
from heliostat.model.errors import HeliostatError
from heliostat.model.place import Place
from heliostat.routing.decide import Verdict, decide
from heliostat.routing.explain import explain
from heliostat.routing.router import Router
from heliostat.routing.shares import choice_hash
from heliostat.routing.world import Line, Request
from heliostat.state.opened import State
from heliostat.state.shards import FLAG_TRUSTED, FoundFile

CANARY_NETWORK = 0
CANARY_ZONE = 0


class BadQuestionError(HeliostatError):
    """A question to `/-/explain/` can't be answered as it was put."""


@dataclass(frozen=True, slots=True)
class Redirect:
    """What a file's request comes to: the head without Date and Connection, and who is counted."""

    head: bytes
    kind: Kind
    found: FoundFile
    mirror: int
    """The mirror's index, -1 for none."""
    passed: int
    """The mirror that a repeat passed over, -1 for none."""
    is_alive: bool = True
    """False: the watch sees it as not answering, and there is no better."""

    @property
    def is_served(self) -> bool:
        """False when nobody can serve the file now."""
        return self.kind is not Kind.UNAVAILABLE


class Serving:
    """Answers file requests by one state, and by what the watch sees."""

    def __init__(
        self,
        state: State,
        proxies: TrustedProxies,
        tally: Tally,
        repeats: RepeatTable,
        down: Collection[Line] = (),
        workers: int = 1,
        public_url: str = "http://127.0.0.1:8080/",
        purse: Purse | None = None,
    ) -> None:
        self.state = state
        self.router = Router(state.router.world, down) if down else state.router
        self.charges = Charges(state, self.router, purse or Purse())
        self._full: tuple[int, ...] = ()
        self.router.set_full(())
        self.clients = ClientMemory(state.zones, proxies)
        self.redirects = Redirects(self.router, state, public_url)
        self.fast = FastLane(
            state, self.router, self.redirects, tally, repeats, workers, self.charges
        )
        contents, sourcing = Contents(), Sourcing(self.router, state.last_resort, public_url)
        self.forms = Representations(state, sourcing, public_url, contents)
        self.paths = Paths(state, self.forms, contents)
        self.lists = MirrorLists(state, sourcing, self.forms, contents)

    def carry(self, old: Serving) -> Iterator[None]:
        """Takes over what `old` remembers and still holds, in short steps."""
        same_zones = self.state.zones is old.state.zones
        if same_zones:
            self.clients = old.clients
        return self.fast.carry(
            old.fast,
            same_files=self.state.has_files_of(old.state),
            same_zones=same_zones,
            until=Deadline(limits.CARRY_TIME_S),
        )

    def renew(self, full: Collection[str]) -> None:
        """What the purse has, or whose line is `full`, may have changed: it counts from now on."""
        is_news = self.charges.renew()
        mirrors = self.router.world.mirrors if full else ()
        which = tuple(i for i, one in enumerate(mirrors) if one.mirror.name in full)
        if which != self._full:
            self._full, is_news = which, True
            self.router.set_full(which)
        if is_news:
            self.fast.renew((self.charges.told, which))

    def redirect(
        self,
        path: bytes,
        found: FoundFile,
        client: Client,
        is_https: bool,
        repeats: int = 0,
        byte_range: bytes | None = None,
    ) -> Redirect:
        """The answer for a file.

        `path` is decoded, without the leading slash. `repeats` is how often this client asked for
        it within the last minute. A mirror with a budget is charged what `byte_range` asks for, b""
        for all; None: nothing is charged.
        """
        charges, holders, size_bytes = self.charges, self.router.holders, found.size_bytes
        for _ in range(2 * len(charges.names) + 1):  # each refusal takes a mirror out
            redirect = self._redirect(path, found, client, is_https, repeats)
            mirror = redirect.mirror
            if mirror not in charges.names or byte_range is None:
                return redirect
            if charges.pays(mirror, size_bytes, byte_range):
                return redirect
            held = holders(found.fileset, found.tree, is_https, client.is_ipv6)
            if held >> mirror & 1 and charges.reserve_pays(mirror, size_bytes, byte_range):
                return redirect
        return Redirect(answers.NO_MIRROR.head, Kind.UNAVAILABLE, found, -1, -1)

    def _redirect(
        self, path: bytes, found: FoundFile, client: Client, is_https: bool, repeats: int
    ) -> Redirect:
        """The same, by what is spent now; nothing is charged."""
        tree, relative, _, _, fileset, sha256, _, flags = found
        row = self.router.row(client.zone, tree, fileset, is_https, client.is_ipv6)
        passed, is_alive = -1, bool(row.mirrors)
        if is_alive and not repeats and not flags & FLAG_TRUSTED:
            position = row.pick(choice_hash(client.network, path))
            around = self.redirects.around(row.in_turn(position), tree, is_https)
            kind, mirror = Kind.MIRROR, row.mirrors[position]
        else:
            verdict = decide(
                _request(found, path, client, is_https),
                self.router,
                repeats,
                self.state.last_resort,
            )
            around = self._rare(verdict, tree, is_https)
            kind, mirror = verdict.answer, verdict.mirror
            if repeats and verdict.turn:
                passed = verdict.turn[-1]
        head = answers.NO_MIRROR.head
        if around:
            head = (
                quote(relative).join(around)
                + answers.digest_fields(sha256)
                + self.redirects.links(flags, tree, relative)
            )
        return Redirect(head, kind, found, mirror, passed, is_alive)

    def _rare(self, verdict: Verdict, tree: int, is_https: bool) -> Around:
        """What stands around the path for repeats and last resorts; () when nobody serves it."""
        if verdict.turn:
            return self.redirects.around(verdict.turn, tree, is_https)
        if not verdict.base_url:
            return ()
        return self.redirects.only(verdict.base_url, tree)

    def explain(self, path: bytes, query: str, client: Client, is_https: bool) -> Decision:
        """The decision for `path`; `ip=` and `scheme=` in the query ask for somebody else.

        Raises:
            BadQuestionError: an address that is none.
        """
        asked = parse_qs(query, max_num_fields=10)
        if address := asked.get("ip", [""])[-1]:
            try:
                client = locate(address, self.state.zones)
            except ValueError as error:
                raise BadQuestionError(str(error)) from None
        if scheme := asked.get("scheme", [""])[-1]:
            is_https = scheme == "https"
        return explain_path(self.state, path, client, is_https, self.router)

    def health(self) -> tuple[bool, list[str]]:
        """Whether a canary of any tree resolves, and what is wrong with the others.

        One tree that nobody serves (yet) must not take every edge out of DNS.
        """
        if not self.state.canaries:
            return False, ["no tree has any files"]
        nobody = Client("", CANARY_NETWORK, CANARY_ZONE, False)
        faults = []
        for canary in self.state.canaries:
            shown = canary.decode(errors="backslashreplace")
            found = self.state.find(canary)
            if found is None:
                faults.append(f"the canary {shown} is not in the state")
            elif not any(
                decide(
                    _request(found, canary, nobody, is_https),
                    self.router,
                    0,
                    self.state.last_resort,
                ).base_url
                for is_https in (True, False)
            ):
                faults.append(f"nobody can serve the canary {shown}")
        return len(faults) < len(self.state.canaries), faults


def explain_path(
    state: State, path: bytes, client: Client, is_https: bool, router: Router | None = None
) -> Decision:
    """The decision of `state` for one path and client, in full; `router` knows what is down."""
    shown = "/" + path.decode("utf-8", "backslashreplace")
    found = state.find(path)
    if found is None:
        place: Place = state.router.world.zone_place(client.zone)[0]
        return Decision(shown, client.address, place, client.zone, Kind.MISSING, "", "")
    request = _request(found, path, client, is_https)
    quoted = quote_text(found.relative)
    return explain(
        request, router or state.router, shown, client.address, quoted, state.last_resort
    )


def _request(found: FoundFile, path: bytes, client: Client, is_https: bool) -> Request:
    return Request(
        path=path,
        tree=found.tree,
        fileset=found.fileset,
        size_bytes=found.size_bytes,
        zone=client.zone,
        client_network=client.network,
        is_https=is_https,
        is_ipv6=client.is_ipv6,
        is_trusted=bool(found.flags & FLAG_TRUSTED),
    )
