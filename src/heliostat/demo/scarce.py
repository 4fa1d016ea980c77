"""The demo's second act: a CDN with a tiny budget, spent to its end, in the right order."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

import aiohttp
from rich.console import Console

from heliostat.budget.picture import size_text
from heliostat.demo.download import explain
from heliostat.demo.places import CDN, FALLBACK_ADDRESS, FAR_AWAY, FAR_NETWORK, MIRRORS
from heliostat.demo.process import DemoError
from heliostat.demo.stage import Stage

READY_S: Final = 30.0
"""For the node to report, and to be given an allowance."""
MOST_REQUESTS: Final = 100
PACE_S: Final = 0.4
"""Between requests: near its end an allowance is taken in small chunks, beside the serving."""
AFTER: Final = 3
"""Requests after the last one that the CDN was paid for: it stays away."""


@dataclass(frozen=True, slots=True)
class Spend:
    """Who served one file, one request after another: (name, requests in a row)."""

    path: str
    size_bytes: int
    why: str
    runs: tuple[tuple[str, int], ...]
    then: str
    """Who should serve once the CDN doesn't: "mirror" or "fallback"."""

    @property
    def is_right(self) -> bool:
        """The CDN first, and at the end it stays away."""
        last = self.runs[-1][0]
        if self.runs[0][0] != CDN.name or last == CDN.name:
            return False
        return (last == "fallback") if self.then == "fallback" else last not in ("", "fallback")


async def spend(stage: Stage) -> list[Spend]:
    """Asks for files until the CDN's budget, and then its reserve, are used up.

    Raises: DemoError: the CDN is given no allowance.
    """
    newest, own = stage.newest(), stage.only_at_the_cdn()
    found = []
    async with aiohttp.ClientSession() as session:
        path = "/" + newest.as_posix()
        found.append(
            Spend(
                path,
                (stage.root / newest).stat().st_size,
                f"clients in {FAR_AWAY}, far from every mirror",
                await _runs(session, stage, path),
                "mirror",
            )
        )
        if own is not None:
            path = "/" + own.as_posix()
            found.append(
                Spend(
                    path,
                    (stage.root / own).stat().st_size,
                    "a file that only the CDN has yet",
                    await _runs(session, stage, path),
                    "fallback",
                )
            )
    return found


def show_spends(console: Console, stage: Stage, spends: list[Spend]) -> None:
    """Says in what order the budget went."""
    total, reserve = stage.cdn_bytes()
    console.print(
        f"\n[bold]a CDN with a budget of {size_text(total)}[/bold], {size_text(reserve)} of it kept"
        " for files that no mirror has"
    )
    for one in spends:
        console.print(f"  {one.path}, {size_text(one.size_bytes)}: {one.why}", markup=False)
        words = ", then ".join(f"{count} × {name or 'nobody'}" for name, count in one.runs)
        mark = "" if one.is_right else "   WRONG"
        console.print(f"    {words}{mark}", markup=False)


async def _until_paid(session: aiohttp.ClientSession, stage: Stage, path: str) -> int:
    """Asks until the CDN is named: the number of the person who was sent there."""
    person = 0
    deadline = time.monotonic() + READY_S
    while True:
        decision = await explain(session, stage.edge_url, path, FAR_NETWORK.format(250))
        cdn = next((one for one in decision.considered if one.mirror == CDN.name), None)
        if cdn is not None and cdn.eligible:
            # A worker takes as much as files are large: the first one tells it.
            person += 1
            if await _asked(session, stage, path, person) == CDN.name:
                return person
        if time.monotonic() > deadline:
            raise DemoError(
                f"the CDN was given no allowance within {READY_S:g} s; the log of `serve` in"
                f" {stage.data_dir} says more"
            )
        await asyncio.sleep(PACE_S)


async def _asked(session: aiohttp.ClientSession, stage: Stage, path: str, person: int) -> str:
    """Who is named to somebody far away."""
    hosts = {mirror.address: mirror.name for mirror in (*MIRRORS, CDN)}
    hosts[FALLBACK_ADDRESS] = "fallback"
    url = stage.edge_url.rstrip("/") + quote(path)
    headers = {"X-Forwarded-For": FAR_NETWORK.format(person)}
    async with session.get(url, headers=headers, allow_redirects=False) as answer:
        host = urlsplit(answer.headers.get("Location", "")).hostname or ""
    return hosts.get(host, host)


async def _runs(
    session: aiohttp.ClientSession, stage: Stage, path: str
) -> tuple[tuple[str, int], ...]:
    """Who is named by each redirect, until the CDN has been out for AFTER requests."""
    first = await _until_paid(session, stage, path)
    runs = [(CDN.name, 1)]
    for number in range(first + 1, first + MOST_REQUESTS):
        name = await _asked(session, stage, path, number)
        await asyncio.sleep(PACE_S)
        if runs[-1][0] == name:
            runs[-1] = (name, runs[-1][1] + 1)
        else:
            runs.append((name, 1))
        if name != CDN.name and runs[-1][1] >= AFTER:
            break
    return tuple(runs)
