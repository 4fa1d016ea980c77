"""Fastly: a service's or an account's transfer, by the hour, the minute and the second.

What is summed is `bandwidth`, all bytes delivered with their headers, which is what Fastly bills.
Hours come a quarter of an hour late, minutes two; so whole hours are asked for by the hour, the
last two hours by the minute. The real-time channel has the last two minutes by the second, and is
added where it begins before the minutes end: between them nothing may be missing. An account's
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
MINUTES_LATE: Final = timedelta(minutes=2)
"""Newer minutes may be missing, or still grow."""
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
        minutes_from = max(since, _hour(now - BY_MINUTE))
        total, until = 0, since
        if minutes_from > since:
            rows = await self._rows(since, minutes_from, "hour")
            total += self._sum(rows, since, minutes_from, 3600)
            until = minutes_from
        end = _minute(now - max(MINUTES_LATE, self._delay))
        if end > minutes_from:
            rows = await self._rows(minutes_from, end, "minute")
            total += self._sum(rows, minutes_from, end, 60)
            until = end
        detail = "by the hour and the minute"
        if self._service and not self._delay:
            newer, seen = await self._seconds(until)
            if seen > until:
                total, until, detail = total + newer, seen, detail + ", and the second"
        return Reading(total, until, now, is_partial=True, detail=detail)

    async def _month(self, since: datetime, now: datetime) -> Reading:
        query = {"year": f"{since.year}", "month": f"{since.month:02}", "billable_units": "false"}
        answer = await self._asker.get(f"{self._api}/stats/usage_by_month", query)
        total = _at(_at(answer, "data"), "total")
        if not isinstance(total, dict):
            raise self._asker.malformed('answers no "data.total" to usage_by_month')
        regions = [region for region in total.values() if isinstance(region, dict)]
        figures = [region["bandwidth"] for region in regions if "bandwidth" in region]
        if not figures:
            raise self._asker.absent("says nothing of this month yet")
        bandwidth = sum(self._asker.whole(figure, "bandwidth") for figure in figures)
        late = max(MONTH_LATE, self._delay)
        return Reading(bandwidth, max(since, now - late), now, True, "the account's month")

    async def _rows(self, begin: datetime, end: datetime, by: str) -> list[Any]:
        place = f"/service/{quote(self._service, safe='')}" if self._service else "/aggregate"
        query = {
            "from": f"{int(begin.timestamp())}",
            "to": f"{int(end.timestamp())}",
            "by": by,
        }
        answer = await self._asker.get(f"{self._api}/stats{place}", query)
        rows = _at(answer, "data")
        if not isinstance(rows, list) or len(rows) > MAX_ROWS:
            raise self._asker.malformed(f'answers no list of "data" by the {by}')
        return rows

    def _sum(self, rows: list[Any], begin: datetime, end: datetime, span_s: int) -> int:
        """Bandwidth of the rows that begin within; what Fastly gives beside them doesn't count."""
        total, seen = 0, set[int]()
        for row in rows:
            at = self._asker.whole(_at(row, "start_time"), "start_time")
            inside = begin.timestamp() <= at <= end.timestamp() - span_s
            if inside and at not in seen:
                seen.add(at)
                total += max(0, self._asker.whole(_at(row, "bandwidth") or 0, "bandwidth"))
        return total

    async def _seconds(self, since: datetime) -> tuple[int, datetime]:
        """What the real-time channel has after `since`, and until when; `since` at a gap."""
        service = quote(self._service, safe="")
        try:
            answer = await self._asker.get(f"{self._real_time}/v1/channel/{service}/ts/h")
        except ProviderError:
            return 0, since  # the minutes are enough
        rows = _at(answer, "Data")
        by_second: dict[int, int] = {}
        for row in rows if isinstance(rows, list) else []:
            of_all = _at(row, "aggregated")
            second = self._asker.whole(_at(row, "recorded") or 0, "recorded")
            by_second[second] = sum(
                max(0, self._asker.whole(_at(of_all, key) or 0, key))
                for key in ("resp_header_bytes", "resp_body_bytes")
            )
        if not by_second or min(by_second) > since.timestamp():
            return 0, since
        newer = {at: part for at, part in by_second.items() if at >= since.timestamp()}
        last = max(newer, default=since.timestamp() - 1)
        return sum(newer.values()), max(since, datetime.fromtimestamp(last + 1, UTC))


def _at(value: Any, key: str) -> Any:
    return value.get(key) if isinstance(value, dict) else None


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _minute(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(second=0, microsecond=0)
