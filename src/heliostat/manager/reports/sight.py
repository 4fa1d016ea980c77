"""How a node looks from the manager: `GET /-/report/sight`, for `heliostat doctor` on the node.

Promises: only who has a node's token may ask, and only that node's own addresses, as they are
declared, are looked at: nobody can have the manager knock at other doors. A look has the time of
one health check; so many at once, and no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from aiohttp import web

from heliostat.config.load import LoadedConfig
from heliostat.failover import health
from heliostat.manager.setup import in_database
from heliostat.model.errors import HeliostatError

PATH: Final = "/-/report/sight"
AT_ONCE: Final = 4


def add_sight(app: web.Application, sight: Sight, node_of: Callable[[web.Request], str]) -> None:
    """Offers it; `node_of` knows whose token a request has, or refuses it."""

    async def look(request: web.Request) -> web.Response:
        node = node_of(request)
        if sight.is_busy:
            raise web.HTTPServiceUnavailable(text="Others are looked at; ask again soon.\n")
        try:
            return web.json_response(await sight.of(node))
        except HeliostatError:
            raise web.HTTPServiceUnavailable(text="The database doesn't answer.\n") from None

    app.router.add_get(PATH, look)


class Sight:
    """Looks at the nodes of one configuration."""

    def __init__(self, loaded: LoadedConfig) -> None:
        self._loaded = loaded
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._tls = health.tls_of(loaded.config.dns.health_ca)

    @property
    def is_busy(self) -> bool:
        return self._turns.locked()

    async def of(self, node: str) -> dict[str, Any]:
        """Address → "" or why it isn't healthy; and what every node said last."""
        async with self._turns:
            return {"health": await self._health(node), "nodes": await in_database(self._nodes)}

    async def _health(self, node: str) -> dict[str, str]:
        config = self._loaded.config
        asked = [
            address
            for section in config.nodes
            if section.name == node
            for address in section.to_node().addresses
        ]
        url = config.dns.health_url if config.dns.name else f"{config.edge.public_url}-/healthz"
        async with health.session() as session:
            answers = await asyncio.gather(
                *(health.ask(session, address, url, self._tls) for address in asked)
            )
        return dict(zip(asked, answers, strict=True))

    def _nodes(self) -> list[dict[str, Any]]:
        from heliostat.manager.nodes.view import node_views  # tables: Django is up by now

        now = datetime.now(UTC)
        return [
            {
                "name": view.node.name,
                "program": view.condition.program if view.condition else "",
                "state_version": view.condition.state_version if view.condition else 0,
                "is_fresh": view.is_fresh(now),
                "drained": view.drained,
            }
            for view in node_views(self._loaded, now)
        ]
