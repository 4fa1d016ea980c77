"""A server that speaks Fastly's statistics as they are documented, delays and all.

Sources: Historical Stats (data latency: hours about 15 minutes after their end, minutes two to
fifteen; periods that haven't ended aren't reported; `from` is inclusive), Real-time analytics
(seconds after a timestamp; how far it goes back isn't said), `usage_by_month` (bytes by region).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from aiohttp import web

from tests.probe.helpers import serving

HOUR_S, MINUTE_S = 3600, 60
TOKEN = "fastly-token-0123456789abcdef"
SERVICE = "SU1Z0isxPaozGVKXdv0eY"


@dataclass
class Account:
    """What was sent, by second, and how late which figures are."""

    now: datetime
    sent: Callable[[int], int]
    """Bytes of a second, by Unix time."""
    hours_late_s: int = 15 * 60
    minutes_late_s: int = 2 * 60
    seconds_late_s: int = 6
    seconds_kept: int = 120
    """What the real-time channel has; 0: there is none."""
    asked: list[str] = field(default_factory=list)

    def between(self, begin_s: int, end_s: int) -> int:
        return sum(self.sent(second) for second in range(begin_s, end_s))

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request.path_qs)
        if request.headers.get("Fastly-Key") != TOKEN:
            return web.json_response({"msg": "Provided credentials are invalid"}, status=401)
        path = request.path
        if path in (f"/stats/service/{SERVICE}", "/stats/aggregate"):
            return self._rows(request)
        if path == "/stats/usage_by_month":
            return self._month(request)
        if path.startswith(f"/v1/channel/{SERVICE}/ts/") and self.seconds_kept:
            return self._seconds(int(path.rpartition("/")[2]))
        return web.json_response({"msg": "Record not found"}, status=404)

    def _rows(self, request: web.Request) -> web.Response:
        by = request.query["by"]
        span_s = {"hour": HOUR_S, "minute": MINUTE_S}[by]
        late_s = self.hours_late_s if by == "hour" else self.minutes_late_s
        first_s, last_s = int(request.query["from"]), int(request.query["to"])
        rows = []
        for begin_s in range(-(-first_s // span_s) * span_s, last_s + 1, span_s):
            sent = self.between(begin_s, begin_s + span_s)
            if sent and begin_s + span_s + late_s <= self.now.timestamp():
                rows.append(
                    {"service_id": SERVICE, "start_time": begin_s, "bandwidth": sent, "requests": 7}
                )
        meta = {"from": f"{first_s}", "to": f"{last_s}", "by": by, "region": "all"}
        return web.json_response({"status": "success", "msg": None, "meta": meta, "data": rows})

    def _month(self, request: web.Request) -> web.Response:
        begin = datetime(int(request.query["year"]), int(request.query["month"]), 1, tzinfo=UTC)
        sent = self.between(int(begin.timestamp()), int(self.now.timestamp()) - HOUR_S)
        scale = 1e-9 if "billable_units" in request.query else 1
        regions = {
            "usa": {"bandwidth": (sent - sent // 3) * scale, "requests": 20},
            "europe": {"bandwidth": (sent // 3) * scale, "requests": 10},
        }
        data = {"customer_id": "x4xCwxxJxGCx123Rx5xTx", "services": {}, "total": regions}
        return web.json_response({"status": "success", "msg": None, "meta": {}, "data": data})

    def _seconds(self, after_s: int) -> web.Response:
        end_s = int(self.now.timestamp()) - self.seconds_late_s
        begin_s = max(after_s + 1, end_s - self.seconds_kept)
        data = [
            {
                "recorded": second,
                "aggregated": {
                    "requests": 3,
                    "resp_header_bytes": self.sent(second) // 10,
                    "resp_body_bytes": self.sent(second) - self.sent(second) // 10,
                },
            }
            for second in range(begin_s, end_s)
        ]
        return web.json_response({"Timestamp": end_s, "AggregateDelay": 5, "Data": data})


@asynccontextmanager
async def fastly(account: Account) -> AsyncIterator[str]:
    """Serves an account; gives the base URL of all of its APIs."""
    async with serving(account.answer) as base:
        yield base
