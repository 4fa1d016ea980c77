"""A year of real counts: the published state's mirrors and zones, and what was asked for then.

Import only after `setup_django`.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from heliostat.budget.classes import zone_classes
from heliostat.budget.demand import weights_of
from heliostat.config.load import LoadedConfig
from heliostat.manager.budgets.demand import demand_since
from heliostat.manager.budgets.releases import releases
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.model.errors import HeliostatError
from heliostat.simulate.made import A_COUNTRY, outages_of
from heliostat.simulate.network import Network
from heliostat.simulate.scenario import Scenario
from heliostat.simulate.year import Year
from heliostat.state.opened import open_state
from heliostat.state.store import PUBLISHED_FOLDER, StateStore

LEAST_HOURS = 48
HISTORY_SHARE = 0.25
"""Of the hours that were counted, so many are history for the forecast; the rest is replayed."""


class CountsError(HeliostatError):
    """There are no counts to replay."""


def counted_year(loaded: LoadedConfig, scenario: Scenario) -> Year:
    """What was counted, as far as it is kept by the hour, with the mirrors as they are now.

    Raises:
        CountsError: fewer than LEAST_HOURS hours.
        StateError: nothing was published yet.
    """
    store = StateStore(loaded.data_dir / PUBLISHED_FOLDER)
    state = open_state(store, store.manifest(), verify=False)
    classes = zone_classes(state.zones, scenario.zones, A_COUNTRY)
    places = tuple(state.zones.place(int(zone)) for zone in classes.zone)
    declared = {mirror.name: mirror for mirror in list_mirrors()}
    mirrors = [
        replace(
            routed.mirror,
            budget=declared[routed.mirror.name].budget,
            capacity=declared[routed.mirror.name].capacity,
        )
        for routed in state.router.world.mirrors
        if not routed.why_out
        and routed.mirror.name in declared
        and routed.mirror.name not in scenario.mirrors.without
    ]
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    begin, by_hour = _by_hour(now, classes.groups)
    history = int(len(by_hour) * HISTORY_SHARE)
    replayed = by_hour[history:]
    by_zone = replayed[:, classes.group] * classes.part[None, :]

    def demand(hour: int, part: float) -> NDArray[np.float64]:
        row: NDArray[np.float64] = by_zone[hour]
        return row

    start = begin + timedelta(hours=history)

    def hour_of(at: datetime) -> float:
        return (at - start).total_seconds() / 3600

    return Year(
        network=Network(mirrors, places, classes.group, classes.part),
        start=start,
        demand=demand,
        hours=len(replayed),
        by_hour=replayed,
        groups=classes.groups,
        group_weights=weights_of(classes.groups, classes.addresses),
        bytes_per_hour=float(by_hour.sum(axis=1).mean()),
        utc_offset_h=classes.longitude / 15,
        announced=[(hour_of(one.announced_at), hour_of(one.at)) for one in releases()],
        history=by_hour[:history] if history else None,
        outages=outages_of(scenario, mirrors),
        by_zone=by_zone,
    )


def _by_hour(now: datetime, groups: tuple[str, ...]) -> tuple[datetime, NDArray[np.float64]]:
    number = {group: index for index, group in enumerate(groups)}
    rows = [
        (at, country, total)
        for at, is_day, country, total in demand_since(now - timedelta(days=70), now)
        if not is_day
    ]
    if not rows:
        raise CountsError("nothing was counted yet; `heliostat simulate` without --counts makes up")
    begin = rows[0][0].astimezone(UTC)
    hours = int((now - begin).total_seconds() // 3600)
    if hours < LEAST_HOURS:
        raise CountsError(f"{hours} hours were counted; {LEAST_HOURS} are the least to replay")
    by_hour = np.zeros((hours, len(groups)))
    for at, country, total in rows:
        if country in number:
            by_hour[int((at - begin).total_seconds() // 3600), number[country]] += total
    return begin, by_hour
