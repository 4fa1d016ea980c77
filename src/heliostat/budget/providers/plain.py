"""A figure from a JSON document anywhere: the bytes of the period so far."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from heliostat.budget.providers.base import Asker, Reading, shown
from heliostat.model.budget import ProviderSource

LATE: Final = timedelta(hours=1)
"""How old such a figure is taken to be, unless `delay_s` says it."""


class PlainJson:
    """`query` names the figure: keys and list indexes, dotted, as in "usage.months.0.bytes"."""

    def __init__(self, source: ProviderSource, mirror: str) -> None:
        self._asker = Asker(f"{shown(source.url)} (for {mirror})", source.token_file)
        self._url, self._keys = source.url, source.query.split(".")
        self._late = timedelta(seconds=source.delay_s) if source.delay_s else LATE

    async def usage(self, since: datetime, now: datetime) -> Reading:
        value: Any = await self._asker.get(self._url)
        for number, key in enumerate(self._keys, 1):
            if isinstance(value, list) and key.isdigit() and int(key) < len(value):
                value = value[int(key)]
            elif isinstance(value, dict) and key in value:
                value = value[key]
            else:
                raise self._asker.absent(f'has no "{".".join(self._keys[:number])}"')
        until = max(since, now.astimezone(UTC) - self._late)
        return Reading(self._asker.whole(value, ".".join(self._keys)), until, now)
