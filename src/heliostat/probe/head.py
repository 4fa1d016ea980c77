"""Finds out what a mirror holds by one HEAD request a file: for small trees, and for files whose
size another listing rounds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable

import aiohttp

from heliostat.config.schema import ProbeSection
from heliostat.listing.pace import Pace
from heliostat.model.catalog import CatalogTable
from heliostat.probe.compare import Comparison
from heliostat.probe.endpoint_look import check_soft_404
from heliostat.probe.guard import Guard
from heliostat.probe.http import file_url, look, open_session
from heliostat.probe.limits import (
    BUSY_REST_S,
    MAX_FAULTS_IN_A_ROW,
    MAX_UNCLEAR_SHARE,
    SECOND_LOOK_PAUSE_S,
)
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import Fault, FaultKind

ABSENT = (403, 404, 410, 451)
"""The server is well and doesn't give out this file."""
BUSY = (429, 503)


class GivenUpError(Exception):
    """Too many requests in a row got no answer."""


async def list_by_head(
    base: str,
    guard: Guard,
    settings: ProbeSection,
    comparison: Comparison,
    catalog: CatalogTable,
    rng: random.Random,
    pace: Pace,
) -> Fault | str:
    """Asks the endpoint `base` for every file of the catalog into `comparison`.

    Files without a clear answer are asked for a second time at the end. Returns: a fault (also when
    more than MAX_UNCLEAR_SHARE stay unclear), or a remark ("" when all went well).
    """
    async with open_session(guard, settings) as session:
        soft = await check_soft_404(session, guard, base, settings.timeout_s, rng)
        if soft is not None:
            return soft
        asking = Asking(session, guard, settings.timeout_s, comparison, catalog, base, pace)
        try:
            async with asyncio.timeout(settings.scan_timeout_s):
                unclear = await asking.ask_twice(range(len(catalog)))
        except GivenUpError:
            return asking.last_fault
        except TimeoutError:
            took = f"its scan took longer than {settings.scan_timeout_s:g} s"
            return Fault(FaultKind.TIMEOUT, f"{base}: {took}")
    if len(unclear) > len(catalog) * MAX_UNCLEAR_SHARE:
        return asking.last_fault
    if unclear:
        why = asking.last_fault.reason
        return f"no clear answer for {len(unclear):,} of {len(catalog):,} files ({why})"
    return ""


class Asking:
    """The requests of one scan and how many of them failed in a row."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        guard: Guard,
        timeout_s: float,
        comparison: Comparison,
        catalog: CatalogTable,
        base: str,
        pace: Pace,
    ) -> None:
        self._session, self._guard, self._timeout_s = session, guard, timeout_s
        self._comparison, self._catalog, self._base = comparison, catalog, base
        self._pace = pace
        self._in_a_row = 0
        self.last_fault = Fault(FaultKind.PROTOCOL, f"{base}: gives no clear answers")

    async def ask_twice(self, rows: Iterable[int]) -> list[int]:
        """Asks for the files of these rows, again for those without a clear answer.

        Returns: those that have none then. Raises: GivenUpError: too many in a row.
        """
        unclear = await self._ask_for(rows)
        if unclear:
            await asyncio.sleep(SECOND_LOOK_PAUSE_S)
            unclear = await self._ask_for(unclear)
        return unclear

    async def _ask_for(self, rows: Iterable[int]) -> list[int]:
        unclear: list[int] = []

        async def ask(row: int) -> None:
            async with self._pace:
                fault = await self._ask(row)
            if fault is None:
                self._in_a_row = 0
                return
            self.last_fault = fault
            unclear.append(row)
            self._in_a_row += 1
            if self._in_a_row >= MAX_FAULTS_IN_A_ROW:
                raise GivenUpError

        await run_bounded(rows, ask, self._pace.at_once)
        return sorted(unclear)

    async def _ask(self, row: int) -> Fault | None:
        url = file_url(self._base, self._catalog.paths[row])
        answer = await look(self._session, self._guard, url, self._timeout_s)
        if isinstance(answer, Fault):
            return answer
        if answer.status in ABSENT:
            return None
        if answer.status in BUSY:
            self._pace.rest(BUSY_REST_S)
        if answer.status != 200:
            return Fault(FaultKind.STATUS, f"{url}: answers {answer.status}")
        if answer.size_bytes is None:
            return Fault(FaultKind.SIZE, f"{url}: doesn't say how large it is")
        self._comparison.row(row, answer.size_bytes, answer.modified_s)
        return None
