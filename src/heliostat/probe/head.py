"""Finds out what a mirror holds by one HEAD request a file: for small trees without rsync."""

from __future__ import annotations

import asyncio
import random

from heliostat.config.schema import ProbeSection
from heliostat.model.catalog import CatalogTable
from heliostat.probe.compare import Comparison
from heliostat.probe.guard import Guard
from heliostat.probe.http import file_url, look, open_session
from heliostat.probe.limits import MAX_FAULTS_IN_A_ROW
from heliostat.probe.liveness import check_soft_404
from heliostat.probe.pool import run_bounded
from heliostat.probe.results import Fault, FaultKind

ABSENT = (403, 404, 410, 451)
"""The server is well and doesn't give out this file."""


class _GivenUpError(Exception):
    """Too many requests in a row got no answer."""


async def list_by_head(
    base: str,
    guard: Guard,
    settings: ProbeSection,
    comparison: Comparison,
    catalog: CatalogTable,
    rng: random.Random,
) -> Fault | str:
    """Asks the endpoint `base` for every file of the catalog into `comparison`.

    Returns: a fault, or a remark ("" when all went well).
    """
    faults: list[Fault] = []
    in_a_row = 0
    async with open_session(guard, settings) as session:
        soft = await check_soft_404(session, guard, base, settings.timeout_s, rng)
        if soft is not None:
            return soft

        async def ask(row: int) -> None:
            nonlocal in_a_row
            url = file_url(base, catalog.paths[row])
            answer = await look(session, guard, url, settings.timeout_s)
            if not isinstance(answer, Fault) and answer.status in ABSENT:
                in_a_row = 0
                return
            if isinstance(answer, Fault):
                fault = answer
            elif answer.status != 200:
                fault = Fault(FaultKind.STATUS, f"{url}: answers {answer.status}")
            elif answer.size_bytes is None:
                fault = Fault(FaultKind.SIZE, f"{url}: doesn't say how large it is")
            else:
                in_a_row = 0
                comparison.row(row, answer.size_bytes, answer.modified_s)
                return
            faults.append(fault)
            in_a_row += 1
            if in_a_row >= MAX_FAULTS_IN_A_ROW:
                raise _GivenUpError

        try:
            async with asyncio.timeout(settings.scan_timeout_s):
                await run_bounded(range(len(catalog)), ask, settings.connections_per_mirror)
        except _GivenUpError:
            return faults[-1]
        except TimeoutError:
            return Fault(
                FaultKind.TIMEOUT,
                f"{base}: its scan took longer than {settings.scan_timeout_s:g} s",
            )
    if not faults:
        return ""
    if len(faults) == len(catalog):
        return faults[0]
    return f"no clear answer for {len(faults):,} of {len(catalog):,} files ({faults[0].reason})"
