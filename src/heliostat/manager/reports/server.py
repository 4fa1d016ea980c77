"""Takes what nodes send, over HTTP(S) with a token of each node; bodies are of bounded size.

    POST /-/report/watch   what its watch sees, JSON; 204
    POST /-/report/node    what it says of itself, JSON; 200 and what is wanted of it
    POST /-/report/counts  a segment of its spool; 204 once it is counted, now or before
    POST /-/report/pulled  a mirror's own machine has pulled: it is scanned soon; 204
    GET  /-/report/sight   how the node looks from here, JSON (`heliostat.manager.reports.sight`)
    GET  /-/state/…        the published state (`heliostat.manager.reports.states`)

Promises: a bad report is answered with one sentence and changes nothing; tokens are compared by
their SHA-256 in constant time; who has no token learns nothing but that.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import structlog
from aiohttp import web
from pydantic import BaseModel, ValidationError

from heliostat.manager.budgets.accounts import exchange
from heliostat.manager.budgets.demand import SizeOf
from heliostat.manager.nodes.registry import record_condition
from heliostat.manager.reports.counts import (
    MAX_SEGMENT_BYTES,
    BadSegmentError,
    fold_old_counts,
    record_counts,
)
from heliostat.manager.reports.form import MAX_REPORT_BYTES, Condition, WatchReport
from heliostat.manager.reports.sight import Sight, add_sight
from heliostat.manager.reports.states import add_states
from heliostat.manager.reports.store import record_report
from heliostat.manager.setup import in_database
from heliostat.model.errors import HeliostatError
from heliostat.probe.results import printable

log = structlog.get_logger()

Form = TypeVar("Form", bound=BaseModel)
Report = TypeVar("Report", WatchReport, Condition)
Result = TypeVar("Result")

DEFAULT_SCAN_S: Final = 1800.0
READ_S = 20.0
"""For a whole report to come."""
MAX_PULLED_BYTES = 4096
PULLS_WAITING: Final = 64
"""Mirrors that tell of a pull at once."""
BAD_TOKEN_S: Final = 0.1
"""After a token that was nobody's; strangers can't keep the database busy."""
READ_SEGMENT_S = 120.0
"""The same of a segment."""
PATH = "/-/report/watch"
NODE_PATH = "/-/report/node"
COUNTS_PATH = "/-/report/counts"
PULLED_PATH = "/-/report/pulled"
COUNTS_AT_ONCE: Final = 1
"""Segments in memory; other nodes wait their turn, which is short."""
FOLD_S: Final = 3600.0
"""Between two looks for counts that are old enough to be added up."""


def report_app(
    tokens: Mapping[str, str],
    states: Path | None = None,
    size_of: SizeOf | None = None,
    scan_s: float = DEFAULT_SCAN_S,
    sight: Sight | None = None,
) -> web.Application:
    """The application; `tokens` are the SHA-256 of each node's token, in hexadecimal.

    `states` is the folder of the published state, if it is to be offered; `size_of` knows the sizes
    of files, for sums of bytes; `scan_s` is the time between two scans of a mirror;
    `sight` looks at nodes, if they may ask for that.
    """
    turns = asyncio.Semaphore(COUNTS_AT_ONCE)
    folded_at_s = time.monotonic()
    pulls, pulls_waiting = asyncio.Semaphore(1), 0

    async def taken(request: web.Request, form: type[Report]) -> Report:
        node = _node(request, tokens)
        report = _parsed(form, await _body(request, MAX_REPORT_BYTES, READ_S))
        if report.node != node:
            raise web.HTTPForbidden(text="This token is another node's.\n")
        return report

    async def watch(request: web.Request) -> web.Response:
        report = await taken(request, WatchReport)
        await _stored(report.node, partial(record_report, report))
        return web.Response(status=204)

    async def condition(request: web.Request) -> web.Response:
        report = await taken(request, Condition)
        wanted = await _stored(report.node, partial(record_condition, report))
        give = partial(exchange, report.node, report.purse, report.spent)
        allowances = await _stored(report.node, give)
        return web.json_response(
            {"drain": wanted, "allowances": [one.model_dump() for one in allowances]}
        )

    async def counts(request: web.Request) -> web.Response:
        nonlocal folded_at_s
        node = _node(request, tokens)
        async with turns:
            raw = await _body(request, MAX_SEGMENT_BYTES, READ_SEGMENT_S)
            try:
                await _stored(node, partial(record_counts, node, raw, size_of=size_of))
            except BadSegmentError as error:
                raise web.HTTPUnprocessableEntity(text=f"{printable(str(error))}\n") from None
            if time.monotonic() - folded_at_s > FOLD_S:
                folded_at_s = time.monotonic()
                await _stored(node, fold_old_counts)
        return web.Response(status=204)

    async def pulled(request: web.Request) -> web.Response:
        from heliostat.manager.reports.pulled import Pulled, record_pulled  # tables: Django is up

        nonlocal pulls_waiting
        digest = _digest(request)
        told = _parsed(Pulled, await _body(request, MAX_PULLED_BYTES, READ_S))
        if pulls_waiting >= PULLS_WAITING:
            raise web.HTTPServiceUnavailable(text="Too many tell at once; tell again later.\n")
        pulls_waiting += 1
        try:
            async with pulls:  # whose token it is, only the database knows: it is asked rarely
                is_its = bool(digest) and await _stored(
                    told.mirror, partial(record_pulled, told, digest, scan_s)
                )
                if not is_its:
                    await asyncio.sleep(BAD_TOKEN_S)
        finally:
            pulls_waiting -= 1
        if not is_its:
            raise web.HTTPUnauthorized(text="This is not the token of such a mirror.\n")
        return web.Response(status=204)

    app = web.Application(client_max_size=MAX_SEGMENT_BYTES)
    routes: dict[str, Callable[[web.Request], Awaitable[web.StreamResponse]]] = {
        PATH: watch,
        NODE_PATH: condition,
        COUNTS_PATH: counts,
        PULLED_PATH: pulled,
    }
    for path, handler in routes.items():
        app.router.add_post(path, handler)
    if states is not None:
        add_states(app, states)
    if sight is not None:
        add_sight(app, sight, lambda request: _node(request, tokens))
    return app


async def serve_reports(
    sock: socket.socket,
    tokens: Mapping[str, str],
    tls: ssl.SSLContext | None = None,
    states: Path | None = None,
    size_of: SizeOf | None = None,
    scan_s: float = DEFAULT_SCAN_S,
    sight: Sight | None = None,
) -> None:
    """Takes reports at a bound socket until cancelled."""
    # what is said to be compressed is no report; unpacked, junk would be a fault of ours
    runner = web.AppRunner(
        report_app(tokens, states, size_of, scan_s, sight),
        access_log=None,
        auto_decompress=False,
    )
    await runner.setup()
    try:
        await web.SockSite(runner, sock, ssl_context=tls).start()
        host, port = sock.getsockname()[:2]
        log.info("reports are taken", address=f"{host}:{port}", nodes=len(tokens))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


async def _body(request: web.Request, limit_bytes: int, within_s: float) -> bytes:
    if (request.content_length or 0) > limit_bytes:
        raise web.HTTPRequestEntityTooLarge(limit_bytes, request.content_length or 0)
    try:
        async with asyncio.timeout(within_s):
            raw = await request.read()
    except TimeoutError:
        raise web.HTTPRequestTimeout(text="The report took too long.\n") from None
    except web.RequestPayloadError:  # broken off, or badly cut in chunks
        raise web.HTTPBadRequest(text="The report's body can't be read.\n") from None
    if len(raw) > limit_bytes:
        raise web.HTTPRequestEntityTooLarge(limit_bytes, len(raw))
    return raw


def _parsed(form: type[Form], raw: bytes) -> Form:
    try:
        return form.model_validate_json(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = printable(".".join(str(part) for part in first["loc"])) or "the report"
        raise web.HTTPBadRequest(text=f"{where}: {first['msg']}\n") from None


async def _stored(node: str, work: Callable[[], Result]) -> Result:
    try:
        return await in_database(work)
    except BadSegmentError:
        raise
    except HeliostatError as error:
        log.warning("a report is not stored", node=node, reason=str(error))
        raise web.HTTPServiceUnavailable(text="Reports can't be stored now.\n") from None


def _digest(request: web.Request) -> str:
    """SHA-256 of the token that was sent, in hexadecimal; "" when there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    sent = token.strip().encode("utf-8", "surrogateescape")  # as aiohttp decoded it
    return hashlib.sha256(sent).hexdigest() if scheme.lower() == "bearer" and sent else ""


def _node(request: web.Request, tokens: Mapping[str, str]) -> str:
    """Whose token was sent; takes as long whoever's it is.

    Raises: web.HTTPUnauthorized: nobody's.
    """
    digest = _digest(request)
    found = ""
    for node, known in tokens.items():
        if hmac.compare_digest(known.encode(), digest.encode()):
            found = node
    if not found:
        raise web.HTTPUnauthorized(text="No node has this token.\n")
    return found


def token_sha256(token: str) -> str:
    """As `[[node]] token_sha256` has it."""
    return hashlib.sha256(token.encode()).hexdigest()
