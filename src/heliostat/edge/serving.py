"""One state in service: decide, then answer, with a bounded memory of prepared redirects.

Pure but for that memory. A new state is a new `Serving`: swapping one reference is the switch.
"""

from __future__ import annotations

from urllib.parse import parse_qs

from heliostat.edge import answers, limits
from heliostat.edge.clients import Client, ClientMemory, TrustedProxies, locate
from heliostat.edge.lane import FastLane
from heliostat.edge.target import quote, quote_text
from heliostat.model.decision import Answer as Kind
from heliostat.model.decision import Decision
from heliostat.model.errors import HeliostatError
from heliostat.model.place import Place
from heliostat.routing.decide import decide
from heliostat.routing.explain import explain
from heliostat.routing.shares import Row, choice_hash
from heliostat.routing.world import Request
from heliostat.state.opened import State
from heliostat.state.shards import FoundFile

CANARY_NETWORK = 0
CANARY_ZONE = 0


class BadQuestionError(HeliostatError):
    """A question to `/-/explain/` can't be answered as it was put."""


class Serving:
    """Answers file requests by one state."""

    def __init__(self, state: State, proxies: TrustedProxies) -> None:
        self.state = state
        self.clients = ClientMemory(state.zones, proxies)
        self.fast = FastLane(state, self._templates_of)
        self._templates: list[dict[Row, tuple[bytes, ...]]] = [
            {} for _ in range(2 * len(state.trees))
        ]
        self._by_mirrors: dict[tuple[int, bool, tuple[int, ...]], bytes] = {}
        self._last_resorts: dict[int, bytes] = {}

    def redirect(self, path: bytes, client: Client, is_https: bool) -> bytes | None:
        """The head of the answer for a file; None when it isn't in the catalog.

        `path` is decoded, without the leading slash. The head lacks Date and Connection.
        """
        found = self.state.find(path)
        if found is None:
            return None
        tree, relative, _, _, fileset, sha256 = found
        row = self.state.router.row(client.zone, tree, fileset, is_https, client.is_ipv6)
        if not row.mirrors:
            template = self._last_resort(found, path, client, is_https)
            if not template:
                return answers.NO_MIRROR.head
        else:
            templates = self._templates_of(row, tree, is_https)
            template = templates[row.pick(choice_hash(client.network, path))]
        return template.replace(answers.HOLE, quote(relative)) + answers.digest_fields(sha256)

    def _templates_of(self, row: Row, tree: int, is_https: bool) -> tuple[bytes, ...]:
        """A redirect's template for each candidate of `row`."""
        known = self._templates[tree << 1 | is_https]
        templates = known.get(row)
        if templates is None:
            if len(known) >= limits.PREPARED_REMEMBERED:
                known.clear()
            known[row] = templates = tuple(
                self._template(row, position, tree, is_https)
                for position in range(len(row.mirrors))
            )
        return templates

    def _template(self, row: Row, position: int, tree: int, is_https: bool) -> bytes:
        """The redirect to one candidate; rows whose first mirrors are the same share its bytes."""
        everyone = row.mirrors[position:] + row.mirrors[:position] + row.others
        key = (tree, is_https, everyone[: limits.LINKS + 1])
        template = self._by_mirrors.get(key)
        if template is None:
            if len(self._by_mirrors) >= limits.TEMPLATES_REMEMBERED:
                self._by_mirrors.clear()
            router = self.state.router
            chosen, *rest = everyone[: limits.LINKS + 1]
            others = [
                (
                    router.endpoint(index, tree, is_https),
                    router.world.mirrors[index].mirror.place.country,
                )
                for index in rest
            ]
            base = router.endpoint(chosen, tree, is_https)
            self._by_mirrors[key] = template = answers.redirect_template(base, others)
        return template

    def _last_resort(self, found: FoundFile, path: bytes, client: Client, is_https: bool) -> bytes:
        """The template of the tree's fallback or origin; b"" when there is neither."""
        key = found.tree << 1 | is_https
        template = self._last_resorts.get(key)
        if template is None:
            verdict = decide(_request(found, path, client, is_https), self.state.router)
            base = verdict.base_url
            template = answers.redirect_template(base, ()) if base else b""
            self._last_resorts[key] = template
        return template

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
        return explain_path(self.state, path, client, is_https)

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
                decide(_request(found, canary, nobody, is_https), self.state.router).base_url
                for is_https in (True, False)
            ):
                faults.append(f"nobody can serve the canary {shown}")
        return len(faults) < len(self.state.canaries), faults


def explain_path(state: State, path: bytes, client: Client, is_https: bool) -> Decision:
    """The decision of `state` for one path and client, in full."""
    shown = "/" + path.decode("utf-8", "backslashreplace")
    found = state.find(path)
    if found is None:
        place: Place = state.router.world.zone_place(client.zone)[0]
        return Decision(shown, client.address, place, client.zone, Kind.MISSING, "", "")
    request = _request(found, path, client, is_https)
    return explain(request, state.router, shown, client.address, quote_text(found.relative))


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
    )
