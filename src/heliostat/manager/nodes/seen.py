"""Whether nodes really serve: by their own reports, and as a client at each address sees them."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from datetime import datetime
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp

from heliostat.catalog import load_table
from heliostat.config.load import LoadedConfig
from heliostat.failover import health
from heliostat.manager.nodes.view import NodeView
from heliostat.model.node import Node

DRAINING: Final = "draining"
"""In a drained node's health answer."""
HEALTH_PATH: Final = "/-/healthz"
GOOD_STATUS: Final = (200, 302, 307)


def serving_nodes(loaded: LoadedConfig, views: Sequence[NodeView], now: datetime) -> set[str]:
    """Names of those that serve: as seen at their addresses, or by what they say where there is
    no name to ask under."""
    if not loaded.config.dns.name:
        return {view.node.name for view in views if view.serves(now)}

    async def healthy() -> set[str]:
        settings = loaded.config.dns
        tls = health.tls_of(settings.health_ca)
        asked = [(view.node.name, one) for view in views for one in view.node.addresses]
        async with health.session() as session:
            answers = await asyncio.gather(
                *(health.ask(session, one, settings.health_url, tls) for _, one in asked)
            )
        return {name for (name, _), reason in zip(asked, answers, strict=True) if not reason}

    return asyncio.run(healthy())


def check_serves(loaded: LoadedConfig, view: NodeView, *, is_heard: bool) -> list[str]:
    """Why a drained node mustn't come back; none when it serves but for the drain.

    `is_heard`: it reported just now.
    """
    said = view.condition
    reasons = []
    if said is None or not is_heard:
        reasons.append("it doesn't report")
    elif not said.state_version:
        reasons.append("it has no state")
    if loaded.config.dns.name:
        reasons += asyncio.run(_seen(loaded, view.node, canary_path(loaded)))
    return reasons


def canary_path(loaded: LoadedConfig) -> str:
    """URL path of a file that every edge should know; "" while nothing is published."""
    for tree in loaded.config.trees:
        table = load_table(loaded.data_dir, tree.name)
        if table is not None and len(table):
            return quote(tree.prefix.encode() + next(iter(table.files())).path)
    return ""


async def _seen(loaded: LoadedConfig, node: Node, canary: str) -> list[str]:
    settings = loaded.config.dns
    tls, reasons = health.tls_of(settings.health_ca), []
    async with health.session() as session:
        for address in node.addresses:
            reason = await health.ask(session, address, settings.health_url, tls)
            if reason and DRAINING not in reason:
                reasons.append(f"{address} {reason}")
            elif canary:
                url = settings.health_url.removesuffix(HEALTH_PATH) + canary
                status = await _status(session, address, url, tls)
                if status not in GOOD_STATUS:
                    reasons.append(f"{address} answers {status or 'nothing'} to {canary}")
    return reasons


async def _status(
    session: aiohttp.ClientSession, address: str, url: str, tls: ssl.SSLContext
) -> int:
    """Of a real request at one address, under the name; 0 for no answer."""
    parts = urlsplit(url)
    where = f"[{address}]" if ":" in address else address
    port = f":{parts.port}" if parts.port else ""
    try:
        async with (
            asyncio.timeout(health.TIMEOUT_S),
            session.get(
                f"{parts.scheme}://{where}{port}{parts.path}",
                headers={"Host": parts.netloc, "User-Agent": health.USER_AGENT},
                ssl=tls,
                server_hostname=parts.hostname if parts.scheme == "https" else None,
                allow_redirects=False,
            ) as answer,
        ):
            return answer.status
    except (aiohttp.ClientError, OSError, TimeoutError):
        return 0
