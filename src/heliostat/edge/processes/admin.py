"""The admin listener: `/metrics`, `/drain` and a small index. Not for the public.

Changes are refused to web pages: a browser on this machine must not drain the node because a page
told it to (it sends `Origin`, other programs don't).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

from aiohttp import web

METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BODY_BYTES: Final = 1024
"""Longest body of a request here; none is needed."""

INDEX: Final = """heliostat edge

GET  /metrics   figures for Prometheus
GET  /drain     whether this node is drained
POST /drain     take it out: health answers 503, everything is served on
POST /undrain   put it back
GET  /status    its processes and its state, as JSON
"""


def admin_app(
    metrics: Callable[[], str],
    status: Callable[[], dict[str, Any]],
    drain: Callable[[bool], None],
) -> web.Application:
    """`metrics` gives the text; `drain` is called with what is wanted, and may raise OSError."""

    async def index(request: web.Request) -> web.Response:
        return web.Response(text=INDEX)

    async def show_metrics(request: web.Request) -> web.Response:
        return web.Response(body=metrics().encode(), headers={"Content-Type": METRICS_TYPE})

    async def show_status(request: web.Request) -> web.Response:
        return _json(status())

    async def show_drain(request: web.Request) -> web.Response:
        return _json({"drained": status()["drained"]})

    async def set_drain(request: web.Request) -> web.Response:
        if "Origin" in request.headers:
            raise web.HTTPForbidden(text="Web pages may not do this.\n")
        try:
            drain(request.path == "/drain")
        except OSError as error:
            reason = f"can't be noted on disk: {error.strerror or error}\n"
            raise web.HTTPInternalServerError(text=reason) from None
        return await show_drain(request)

    app = web.Application(client_max_size=BODY_BYTES)
    app.add_routes(
        [
            web.get("/", index),
            web.get("/metrics", show_metrics),
            web.get("/status", show_status),
            web.get("/drain", show_drain),
            web.post("/drain", set_drain),
            web.post("/undrain", set_drain),
        ]
    )
    return app


def _json(value: dict[str, Any]) -> web.Response:
    return web.Response(text=json.dumps(value, indent=2) + "\n", content_type="application/json")
