"""From one request to one answer: which of the edge's own pages, or a file's redirect.

Sans-I/O: takes what the protocol has parsed, gives bytes. Everything the edge knows is the current
`Serving`, swapped in one step by the sync.
"""

from __future__ import annotations

from dataclasses import dataclass

from heliostat.edge import answers
from heliostat.edge.answers import Answer
from heliostat.edge.clients import Client, TrustedProxies, locate
from heliostat.edge.pages import explain_page
from heliostat.edge.serving import BadQuestionError, KnownBlock, Serving
from heliostat.edge.target import PLAIN_BYTES, BadTargetError, split_target
from heliostat.state.opened import State

OWN_PREFIX = b"-/"
HEALTH_TEXT = "heliostat ok\n"
"""What health checks search for; DNS providers are set up with these words."""


@dataclass(slots=True)
class Fields:
    """The header fields that matter to an answer, as the protocol met them."""

    forwarded_for: bytes = b""
    forwarded_proto: bytes = b""
    accept: bytes = b""


@dataclass(slots=True)
class Peer:
    """The other end of a connection. `client` is located once, by the state of `located_by`."""

    address: str
    is_trusted: bool
    is_https: bool
    client: Client | None = None
    located_by: Serving | None = None


class Handler:
    """Answers requests by the current state; `serving` is None until there is one."""

    def __init__(self, trusted_proxies: list[str]) -> None:
        self.proxies = TrustedProxies(trusted_proxies)
        self.serving: Serving | None = None

    def use(self, state: State) -> None:
        """Serves by `state` from the next request on; requests under way keep theirs."""
        self.serving = Serving(state, self.proxies)

    def peer(self, address: str, is_https: bool) -> Peer:
        return Peer(address, self.proxies.trusts(address), is_https)

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

    def quick(self, data: bytes, peer: Peer) -> bytes | None:
        """The head of a redirect for `data`, if that is one GET of the plainest kind.

        That is: a path of plain bytes that is in the catalog, behind it a header block that the
        parser has read before. None means nothing but "parse it": this changes no answer.
        """
        serving = self.serving
        line_end = data.find(b"\r\n")
        if serving is None or data[:5] != b"GET /" or data[line_end - 9 : line_end] != b" HTTP/1.1":
            return None
        known = serving.blocks[peer.is_trusted].get(data[line_end:])
        path = data[5 : line_end - 9]
        if known is None or path.translate(None, PLAIN_BYTES):
            return None
        client = known.client
        if client is None:
            client = self._peer_client(serving, peer)
        head = serving.redirect(path, client, known.is_https)
        return None if head is answers.NO_MIRROR.head else head

    def remember(self, data: bytes, fields: Fields, peer: Peer) -> None:
        """Notes the header block of `data`, which the parser took for one whole plain request."""
        serving = self.serving
        line_end = data.find(b"\r\n")
        line = data[:line_end]
        if (
            serving is None
            or not line.startswith(b"GET /")
            or not line.endswith(b" HTTP/1.1")
            or line[5:-9].translate(None, PLAIN_BYTES)
        ):
            return
        client = self._client(serving, fields, peer)
        known = KnownBlock(None if client is peer.client else client, _is_https(fields, peer))
        serving.remember(peer.is_trusted, data[line_end:], known)

    def _client(self, serving: Serving, fields: Fields, peer: Peer) -> Client:
        if peer.is_trusted and fields.forwarded_for:
            client = serving.clients.forwarded(fields.forwarded_for)
            if client is not None:
                return client
        return self._peer_client(serving, peer)

    def _peer_client(self, serving: Serving, peer: Peer) -> Client:
        if peer.client is None or peer.located_by is not serving:
            peer.client = locate(peer.address, serving.state.zones)
            peer.located_by = serving
        return peer.client

    def _own(self, path: bytes, query: bytes, fields: Fields, peer: Peer) -> Answer:
        if path == b"healthz":
            reason = self.serving.health() if self.serving else "there is no state yet"
            if reason:
                return answers.plain(503, f"heliostat is not able to serve: {reason}\n")
            return answers.plain(200, HEALTH_TEXT)
        if path.startswith(b"explain/") and self.serving is not None:
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
                return answers.plain(200, page, content_type=answers.HTML, extra=vary)
            return answers.as_json(200, decision.to_json(), extra=vary)
        return answers.NOT_FOUND


def _is_https(fields: Fields, peer: Peer) -> bool:
    if peer.is_trusted and fields.forwarded_proto:
        return fields.forwarded_proto.strip().lower() == b"https"
    return peer.is_https
