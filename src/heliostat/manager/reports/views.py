"""Whether the manager must suspect itself, and what it publishes while it does.

Losses come one by one, as looks are spread over time, and each is published at once; so what counts
is who served within some periods of liveness. While the manager suspects itself, mirrors that
served then are published as they were, and all else as it is: new files, what people set.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from heliostat.manager.probing import models as rows
from heliostat.manager.probing.events import note_event
from heliostat.manager.probing.view import VIEW_FRESH_FOR
from heliostat.manager.publish import Recorded
from heliostat.manager.reports.suspicion import suspicion
from heliostat.model.mirror import MirrorState, MirrorStatus

log = structlog.get_logger()

MANAGER = ""
"""In the place of a mirror's name: an event that is about the manager itself."""
LEAST_WINDOW_S: Final = 60.0
PERIODS: Final = 3
"""Of liveness: within so many, an outage of our own network shows at every mirror."""


class Doubt:
    """What a manager remembers to be able to doubt itself; one for all its publications."""

    def __init__(
        self,
        liveness_s: float,
        clock: Callable[[], float] = time.monotonic,
        published: Mapping[str, MirrorStatus] | None = None,
    ) -> None:
        """`published` are the mirrors that serve in the state of before: a manager that was
        restarted while its network was down has nothing else to go by."""
        self._window_s = max(LEAST_WINDOW_S, PERIODS * liveness_s)
        self._clock = clock
        now_s = clock()
        self._served = {name: (status, now_s) for name, status in (published or {}).items()}
        """Mirror → how it was when it last served, and when that was."""
        self.why = ""
        """Why the manager suspects itself now; "" when it doesn't."""

    def judged(self, recorded: Recorded) -> Recorded:
        """What to publish: `recorded`, or with the mirrors of before where it's rather us."""
        now_s = self._clock()
        meant = {mirror.name for mirror in recorded.mirrors if mirror.enabled}
        for name, status in recorded.statuses.items():
            if status.state.serves and name in meant:
                self._served[name] = status, now_s
        if not self.why:  # while in doubt, nobody is forgotten
            self._served = {
                name: kept
                for name, kept in self._served.items()
                if now_s - kept[1] <= self._window_s
            }
        served = self._served.keys() & meant
        silent, returning = _silent(recorded.statuses), _returning(recorded.statuses)
        lost = served & (silent | returning)
        # The usual case without a query.
        is_many = 2 * len(lost) > len(served)
        views = fresh_views() if is_many else {}
        why = suspicion(served, silent, returning, views) if is_many else ""
        if bool(why) != bool(self.why):
            _tell(why, sorted(lost), len(served), sorted(views))
        self.why = why
        if not why:
            return recorded
        as_before = {name: self._served[name][0] for name in lost}
        return replace(recorded, statuses={**recorded.statuses, **as_before})


def _tell(why: str, lost: Sequence[str], served: int, vantages: Sequence[str]) -> None:
    if why:
        log.error("the manager suspects itself", reason=why, so="mirrors stay as they were")
    else:
        log.info("the manager believes again what it sees")
    before, after = ("", "suspects itself") if why else ("suspects itself", "")
    text = why or "what most mirrors do is believed again"
    evidence = {"lost": list(lost), "served": served, "vantages": list(vantages)} if why else {}
    note_event(MANAGER, datetime.now(UTC), "suspicion", before, after, text, evidence)


def _silent(statuses: Mapping[str, MirrorStatus]) -> set[str]:
    """Those that answer no more; not those that answer with wrong bytes, or hold nothing."""
    return {
        name
        for name, status in statuses.items()
        if not status.state.serves
        and status.endpoints
        and not any(endpoint.alive for endpoint in status.endpoints)
    }


def _returning(statuses: Mapping[str, MirrorStatus]) -> set[str]:
    return {name for name, one in statuses.items() if one.state is MirrorState.RETURNING}


def fresh_views(now: datetime | None = None) -> dict[str, dict[str, bool]]:
    """Vantage point → mirror → whether any line of it answers there; of vantage points that
    reported lately and trust themselves."""
    since = (now or datetime.now(UTC)) - VIEW_FRESH_FOR
    trusted = rows.Vantage.objects.filter(reported_at__gt=since, suspects_itself=False)
    found: dict[str, dict[str, bool]] = {
        name: {} for name in trusted.values_list("name", flat=True)
    }
    views = rows.VantageView.objects.filter(vantage__in=trusted).select_related("vantage", "mirror")
    for view in views:
        if view.lines:
            found[view.vantage.name][view.mirror.name] = len(view.down) < view.lines
    return found
