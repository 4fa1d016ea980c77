"""A figure from Prometheus: one number by an instant query.

`{since}` in the query is replaced by the seconds since the period's beginning, as a range:
`sum(increase(nginx_bytes_sent_total[{since}]))`.
(https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries)
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from heliostat.budget.providers.base import Asker, Reading
from heliostat.model.budget import ProviderSource

LATE: Final = timedelta(minutes=1)
"""A scrape's interval, unless `delay_s` says it."""


class Prometheus:
    """One query."""

    def __init__(self, source: ProviderSource, mirror: str) -> None:
        self._asker = Asker(f"Prometheus (for {mirror})", source.token_file)
        self._url, self._query = source.url.rstrip("/"), source.query
        self._late = timedelta(seconds=source.delay_s) if source.delay_s else LATE

    async def usage(self, since: datetime, now: datetime) -> Reading:
        seconds = max(1, int((now - since).total_seconds()))
        query = self._query.replace("{since}", f"{seconds}s")
        asked = {"query": query, "time": f"{now.timestamp():.0f}"}
        answer = await self._asker.get(f"{self._url}/api/v1/query", asked)
        data = answer.get("data") if isinstance(answer, dict) else None
        result = data.get("result") if isinstance(data, dict) else None
        kind = data.get("resultType") if isinstance(data, dict) else None
        sample: Any = None
        if kind == "scalar":
            sample = result
        elif kind == "vector" and isinstance(result, list):
            if not result:
                raise self._asker.absent("has no value for the query")
            if len(result) > 1:
                raise self._asker.malformed("has several values; put sum(...) around the query")
            sample = result[0].get("value") if isinstance(result[0], dict) else None
        if not isinstance(sample, list) or len(sample) != 2:
            raise self._asker.malformed("answers something that is no instant value")
        until = max(since, now.astimezone(UTC) - self._late)
        return Reading(self._asker.whole(sample[1], "the query"), until, now)
