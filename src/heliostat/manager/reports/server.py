"""Takes reports over HTTP: POST /-/report/watch with the node's token, JSON of bounded size.

Promises: a bad report is answered with one sentence and changes nothing; tokens are compared in
constant time; who has no token learns nothing but that.
"""

from __future__ import annotations

import asyncio
import hmac
import socket
from collections.abc import Iterable, Mapping
from functools import partial

import structlog
from aiohttp import web
from pydantic import ValidationError

from heliostat.manager.reports.form import MAX_REPORT_BYTES, WatchReport
from heliostat.manager.reports.store import record_report
from heliostat.manager.setup import in_database
from heliostat.model.errors import HeliostatError
from heliostat.probe.results import printable

log = structlog.get_logger()

READ_S = 20.0
"""For a whole report to come."""
PATH = "/-/report/watch"


def report_app(tokens: Mapping[str, str]) -> web.Application:
    """The application; `tokens` are by node."""

    async def take(request: web.Request) -> web.Response:
        if not _knows(tokens.values(), _token(request)):
            raise web.HTTPUnauthorized(text="No node has this token.\n")
        try:
            async with asyncio.timeout(READ_S):
                raw = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="The report took too long.\n") from None
        except web.RequestPayloadError:  # broken off, or badly cut in chunks
            raise web.HTTPBadRequest(text="The report's body can't be read.\n") from None
        try:
            report = WatchReport.model_validate_json(raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = printable(".".join(str(part) for part in first["loc"])) or "the report"
            raise web.HTTPBadRequest(text=f"{where}: {first['msg']}\n") from None
        if not _knows([tokens.get(report.node, "")], _token(request)):
            raise web.HTTPForbidden(text="This token is another node's.\n")
        try:
            await in_database(partial(record_report, report))
        except HeliostatError as error:
            log.warning("a report is not stored", node=report.node, reason=str(error))
            raise web.HTTPServiceUnavailable(text="Reports can't be stored now.\n") from None
        return web.Response(status=204)

    app = web.Application(client_max_size=MAX_REPORT_BYTES)
    app.router.add_post(PATH, take)
    return app


async def serve_reports(sock: socket.socket, tokens: Mapping[str, str]) -> None:
    """Takes reports at a bound socket until cancelled."""
    # what is said to be compressed is no report; unpacked, junk would be a fault of ours
    runner = web.AppRunner(report_app(tokens), access_log=None, auto_decompress=False)
    await runner.setup()
    try:
        await web.SockSite(runner, sock).start()
        host, port = sock.getsockname()[:2]
        log.info("reports are taken", address=f"{host}:{port}", nodes=len(tokens))
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _token(request: web.Request) -> str:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _knows(tokens: Iterable[str], given: str) -> bool:
    """Whether `given` is one of `tokens`; takes as long whichever it is."""
    found, sent = False, given.encode("utf-8", "surrogateescape")  # as aiohttp decoded it
    for token in tokens:
        found |= bool(token) and hmac.compare_digest(token.encode(), sent)
    return found
