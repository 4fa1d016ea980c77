"""Fastly: a service's or an account's transfer, by the hour, the minute and the second.

What is summed is `bandwidth`, all bytes delivered with their headers, shields' too, which is what
Fastly bills. Hours come a quarter of an hour late, minutes two to fifteen; so whole hours are asked
for by the hour, what comes after them by the minute, and what comes after those of the real-time
channel by the second, where it reaches back so far: between them nothing may be missing. A figure
is of when its last row ends, so rows that are late make it older, not too small. An account's
month, if it begins on the 1st, comes from `usage_by_month`.
(https://www.fastly.com/documentation/reference/api/metrics-stats/)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import quote

from heliostat.budget.providers.base import Asker, ProviderError, Reading
from heliostat.model.budget import ProviderSource

API: Final = "https://api.fastly.com"
REAL_TIME: Final = "https://rt.fastly.com"
HEADER: Final = "Fastly-Key"
BY_MINUTE: Final = timedelta(hours=2)
"""Newer hours may be missing, or still grow: they are asked for by the minute."""
MOST_BY_MINUTE: Final = timedelta(days=1)
"""So much is asked for by the minute, at most, where hours are late."""
MINUTES_LATE: Final = timedelta(minutes=2)
"""Newer minutes may still grow."""
HOUR_S: Final = 3600
MINUTE_S: Final = 60
MONTH_LATE: Final = timedelta(hours=3)
"""How old `usage_by_month` is taken to be: it doesn't say."""
MAX_ROWS: Final = 100_000


class Fastly:
    """One service, or with "" all of the account's."""

    def __init__(self, source: ProviderSource, mirror: str) -> None:
        """`source.url` is another address of both APIs (tests, a proxy)."""
        self._asker = Asker(f"Fastly (for {mirror})", source.token_file, HEADER)
        self._api = source.url.rstrip("/") or API
        self._real_time = source.url.rstrip("/") or REAL_TIME
        self._service = source.service
        self._delay = timedelta(seconds=source.delay_s)

    async def usage(self, since: datetime, now: datetime) -> Reading:
        if not self._service and since.astimezone(UTC).day == 1:
            return await self._month(since.astimezone(UTC), now)
        since = since.astimezone(UTC)
        whole = max(since, _floor(now - max(BY_MINUTE, self._delay), HOUR_S))
        end = _floor(now - max(MINUTES_LATE, self._delay), MINUTE_S)
        hours = await self._rows(since, whole, HOUR_S)
        begin = _end(hours, HOUR_S, since)
        near = whole - begin <= MOST_BY_MINUTE  # else the gap can't be closed: ours count
        minutes = await self._rows(begin, end, MINUTE_S) if near else {}
        total = sum(hours.values()) + sum(minutes.values())
        until = _end(minutes, MINUTE_S, begin)
        detail = "by the hour and the minute"
        if self._service and near and not self._delay:
            seconds = await self._seconds(until)
            if seconds:
                total, until = total + sum(seconds.values()), _end(seconds, 1, until)
                detail += ", and the second"
        return Reading(total, until, now, is_partial=True, detail=detail)

    async def _month(self, since: datetime, now: datetime) -> Reading:
        query = {"year": f"{since.year}", "month": f"{since.month:02}"}  # units: bytes
        answer = await self._asker.get(f"{self._api}/stats/usage_by_month", query)
        total = _at(_at(answer, "data"), "total")
        if not isinstance(total, dict):
            raise self._asker.malformed('answers no "data.total" to usage_by_month')
        parts = [total] if "bandwidth" in total else list(total.values())  # in all, or by region
        figures = [part["bandwidth"] for part in parts if _at(part, "bandwidth") is not None]
        if not figures:
            raise self._asker.absent("says nothing of this month yet")
        bandwidth = sum(self._asker.whole(figure, "bandwidth") for figure in figures)
        late = max(MONTH_LATE, self._delay)
        return Reading(bandwidth, max(since, now - late), now, True, "the account's month")

    async def _rows(self, begin: datetime, end: datetime, span_s: int) -> dict[int, int]:
        """Bandwidth by the time at which rows begin, of those within; no zeros."""
        if end <= begin:
            return {}
        place = f"/service/{quote(self._service, safe='')}" if self._service else "/aggregate"
        by = "hour" if span_s == HOUR_S else "minute"
        query = {"from": f"{begin.timestamp():.0f}", "to": f"{end.timestamp():.0f}", "by": by}
        answer = await self._asker.get(f"{self._api}/stats{place}", query)
        rows = _at(answer, "data")
        if not isinstance(rows, list) or len(rows) > MAX_ROWS:
            raise self._asker.malformed(f'answers no list of "data" by the {by}')
        found: dict[int, int] = {}
        for row in rows:
            at = self._asker.whole(_at(row, "start_time"), "start_time")
            sent = self._asker.whole(_at(row, "bandwidth") or 0, "bandwidth")
            if begin.timestamp() <= at <= end.timestamp() - span_s:
                found[at] = max(found.get(at, 0), sent)
        return {at: sent for at, sent in found.items() if sent > 0}

    async def _seconds(self, since: datetime) -> dict[int, int]:
        """What the real-time channel has from `since` on, by second; {} where it begins later."""
        first = int(since.timestamp())
        place = f"/v1/channel/{quote(self._service, safe='')}/ts/{first - 1}"
        try:
            rows = _at(await self._asker.get(f"{self._real_time}{place}"), "Data")
            found = {}
            for row in rows if isinstance(rows, list) else []:
                second = self._asker.whole(_at(row, "recorded"), "recorded")
                found[second] = sum(
                    max(0, self._asker.whole(_at(_at(row, "aggregated"), key) or 0, key))
                    for key in ("resp_header_bytes", "resp_body_bytes")
                )
        except ProviderError:
            return {}  # the minutes are enough
        if not found or min(found) > first:
            return {}
        return {at: sent for at, sent in found.items() if at >= first and sent > 0}


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _floor(at: datetime, span_s: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // span_s * span_s, UTC)


def _end(rows: dict[int, int], span_s: int, otherwise: datetime) -> datetime:
    """When the last row ends."""
    return datetime.fromtimestamp(max(rows) + span_s, UTC) if rows else otherwise
