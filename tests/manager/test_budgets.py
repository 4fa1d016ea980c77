"""Budgets at the manager: allowances, steps, releases held back, what people see."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from pyroaring import BitMap

from heliostat.budget.providers import Reading
from heliostat.config.load import LoadedConfig
from heliostat.manager.budgets import models as rows
from heliostat.manager.budgets.accounts import exchange
from heliostat.manager.budgets.demand import Bytes, demand_since, fold_old_demand, served_of
from heliostat.manager.budgets.facts import Outcome, current_prices, read_facts, write_step
from heliostat.manager.budgets.form import AllowanceAnswer, Taken
from heliostat.manager.budgets.readings import readings_of, store_reading
from heliostat.manager.budgets.releases import (
    ReleaseError,
    announce,
    end_holds,
    forget,
    held_back,
    spread_of,
)
from heliostat.manager.budgets.view import BudgetError, budget_view, budget_views, set_figure
from heliostat.manager.nodes.models import NodeState
from heliostat.manager.probing.changes import change_stamp
from heliostat.manager.registry.mirrors import set_enabled
from heliostat.manager.unlisted import Unlisted, rows_of
from heliostat.model.budget import Budget
from heliostat.model.catalog import CatalogTable
from heliostat.model.mirror import MirrorKind
from tests.manager.samples import declare, liveness, register, store_holding
from tests.support.worlds import make_catalog

TB = 10**12
NOW = datetime(2026, 11, 10, 12, tzinfo=UTC)
BUDGET = Budget(10 * TB, 1)


@pytest.fixture(autouse=True)
def cdn(loaded: LoadedConfig) -> None:
    register(
        declare("cdn.example", kind=MirrorKind.CDN, budget=BUDGET),
        declare("m.example", bandwidth_mbps=1000),
    )


def node(name: str, at: datetime = NOW) -> None:
    NodeState.objects.update_or_create(name=name, defaults={"reported_at": at})


def taken(epoch: int, general: int, reserve: int = 0) -> list[Taken]:
    return [
        Taken(mirror="cdn.example", epoch=epoch, part="general", taken=general),
        Taken(mirror="cdn.example", epoch=epoch, part="reserve", taken=reserve),
    ]


def asked(name: str, purse: str, said: list[Taken], at: datetime = NOW) -> AllowanceAnswer:
    (answer,) = exchange(name, purse, said, at)
    return answer


def given() -> int:
    return sum(row.given_general + row.given_reserve for row in rows.Allowance.objects.all())


def test_nodes_together_are_given_no_more_than_the_budget_however_long_they_spend() -> None:
    small = Budget(10**11, 1)
    register(declare("cdn.example", kind=MirrorKind.CDN, budget=small))
    for name in ("fra", "nyc"):
        node(name)
    spent = {"fra": (0, 0), "nyc": (0, 0)}
    for step in range(200):
        name = ("fra", "nyc")[step % 2]
        at = NOW + timedelta(seconds=3 * step)
        node(name, at)
        epoch = rows.Allowance.objects.filter(node=name).values_list("epoch", flat=True).first()
        said = taken(epoch, *spent[name]) if epoch else []
        answer = asked(name, f"{name}-purse".encode().hex(), said, at)
        spent[name] = (answer.general, answer.reserve)  # all of it, at once
        assert given() <= small.stop_bytes
    total = sum(map(sum, spent.values()))
    assert small.stop_bytes * 0.95 < total <= small.stop_bytes


def test_a_report_that_comes_again_changes_nothing() -> None:
    node("fra")
    first = asked("fra", "aa", [])
    said = taken(first.epoch, 5, 1)
    again = [asked("fra", "aa", said) for _ in range(3)]
    assert len({answer.model_dump_json() for answer in again}) == 1
    row = rows.Allowance.objects.get()
    assert (row.taken_general, row.taken_reserve) == (5, 1)


def test_a_node_that_lost_its_disk_starts_from_nothing_more_than_is_left() -> None:
    node("fra")
    first = asked("fra", "aa", [])
    assert first.general > 0
    second = asked("fra", "bb", [])
    assert second.epoch > first.epoch
    assert second.purse == "bb"
    assert given() <= BUDGET.stop_bytes
    assert second.general <= BUDGET.stop_bytes - BUDGET.reserve_bytes - first.general
    assert exchange("fra", "", [], NOW) == []  # a node without a ledger gets nothing


def test_the_next_period_has_its_own_budget_and_old_reports_count_where_they_belong() -> None:
    node("fra")
    first = asked("fra", "aa", [])
    later = datetime(2026, 12, 1, 0, 0, 5, tzinfo=UTC)
    node("fra", later)
    second = asked("fra", "aa", taken(first.epoch, 77), later)
    assert second.epoch > first.epoch
    old, new = rows.Allowance.objects.order_by("epoch")
    assert old.taken_general == 77
    assert new.taken_general == 0
    assert second.ends_s == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    back = asked("fra", "aa", [], later - timedelta(minutes=10))  # a clock that stepped back
    assert back.epoch == second.epoch


def test_a_disabled_cdn_gets_nothing_more() -> None:
    node("fra")
    assert asked("fra", "aa", []).general > 0
    set_enabled("cdn.example", enabled=False)
    assert exchange("fra", "aa", [], NOW) == []


def test_a_provider_that_counts_more_lowers_what_is_given_out() -> None:
    node("fra")
    asked("fra", "aa", [])
    facts = read_facts(NOW)
    assert not write_step(facts, {"cdn.example": Outcome(0.0, 0.0)}, {}, NOW)
    before = rows.Account.objects.get().general_limit_bytes
    start = facts.budgets["cdn.example"].period.start
    store_reading("cdn.example", start, Reading(9 * TB, NOW, NOW))
    write_step(read_facts(NOW), {}, {}, NOW)
    account = rows.Account.objects.get()
    assert account.spent_bytes >= 9 * TB
    assert account.general_limit_bytes < before - 8 * TB


def test_a_price_that_changed_is_a_reason_to_publish_and_the_same_one_is_not() -> None:
    facts, stamp = read_facts(NOW), change_stamp()
    outcome = {"cdn.example": Outcome(12.5, 0.0)}
    assert write_step(facts, outcome, {"cdn.example": 12.5}, NOW)
    assert current_prices() == {"cdn.example": 12.5}
    assert change_stamp() != stamp
    assert not write_step(read_facts(NOW), outcome, {"cdn.example": 12.5}, NOW)
    assert write_step(read_facts(NOW), outcome, {}, NOW)
    assert current_prices() == {}


def test_what_people_see_of_a_budget() -> None:
    node("fra")
    first = asked("fra", "aa", [])
    asked("fra", "aa", taken(first.epoch, 2 * 10**11))
    for hour in range(3):
        at = NOW + timedelta(hours=hour)
        write_step(read_facts(at), {"cdn.example": Outcome(8.0, 0.0, 1e6, 5 * TB, 4e15)}, {}, at)
    view = budget_view("cdn.example", NOW + timedelta(hours=3))
    assert view.spent_bytes == view.own_bytes == 2 * 10**11
    assert view.forecast_bytes == 5 * TB
    assert view.saved_ms_per_gb == pytest.approx(3 * 4e15 / 1e9 / 200)
    assert view.given_bytes > 0
    document = view.to_json()
    assert document["period"]["start"] == "2026-11-01T00:00:00+00:00"
    assert len(document["curve"]) == 4
    assert [one.mirror.name for one in budget_views(NOW)] == ["cdn.example"]
    with pytest.raises(BudgetError, match="has no budget"):
        budget_view("m.example", NOW)


def test_figures_that_people_enter_are_readings_of_the_period() -> None:
    set_figure("cdn.example", 3 * TB, NOW - timedelta(hours=1), NOW)
    set_figure("cdn.example", 3 * TB, NOW - timedelta(hours=1), NOW)
    (reading,) = readings_of("cdn.example", datetime(2026, 11, 1, tzinfo=UTC))
    assert (reading.bytes, reading.detail) == (3 * TB, "by hand")
    with pytest.raises(BudgetError, match="not within the period"):
        set_figure("cdn.example", 1, datetime(2026, 10, 30, tzinfo=UTC), NOW)
    with pytest.raises(BudgetError, match="those that have"):
        set_figure("m.example", 1, NOW, NOW)


def test_bytes_are_summed_by_country_and_by_size_and_old_hours_become_days() -> None:
    at = datetime(2026, 8, 1, 5, tzinfo=UTC)
    for hour in range(3):
        sums = Bytes()
        when = at + timedelta(hours=hour)
        sums.add(when, False, "m.example", "DE", 750_000_000, 2)
        sums.add(when, False, "cdn.example", "", 5_000, 3)
        sums.add(when, False, "m.example", "DE", 0, 9)  # a file of unknown size
        sums.store()
    assert served_of("m.example", at, at + timedelta(days=1))[0] == (at, 3, 1_500_000_000)
    fold_old_demand(NOW)
    found = list(demand_since(at - timedelta(days=1), NOW))
    assert found == [
        (at.replace(hour=0), True, "", 45_000),
        (at.replace(hour=0), True, "DE", 4_500_000_000),
    ]


def catalog() -> CatalogTable:
    names = [b"11.02/a.iso", b"a-11.02-amd64.iso", b"a-11.02.1.iso", b"a-111.02.iso", b"b.iso"]
    return make_catalog(dict.fromkeys(names, b"x" * 10), "isos")


def test_a_version_is_a_word_of_its_own_in_a_path() -> None:
    table = catalog()
    found = [table.paths[i] for i in np.flatnonzero(rows_of(table, "11.02"))]
    assert found == [b"11.02/a.iso", b"a-11.02-amd64.iso"]
    assert rows_of(table, "11.02.1").sum() == 1


def test_files_held_back_are_in_no_catalog_that_is_published() -> None:
    table, unlisted = catalog(), Unlisted()
    assert unlisted.without({"isos": table}, {})["isos"] is table
    cut = unlisted.without({"isos": table}, {"isos": ["11.02"]})["isos"]
    assert cut.paths == [b"a-11.02.1.iso", b"a-111.02.iso", b"b.iso"]
    assert len(cut.sizes_bytes) == len(cut.sha256) == 3
    assert unlisted.without({"isos": table}, {"isos": ["11.02"]})["isos"] is cut


def test_a_hold_ends_when_enough_of_the_bandwidth_has_the_release() -> None:
    table = catalog()
    announce("isos", "11.02", NOW, 0.5, NOW)
    assert held_back() == {"isos": ["11.02"]}
    assert end_holds({"isos": table}, NOW) == []
    hold(table)
    (ended,) = end_holds({"isos": table}, NOW)
    assert ended.share == 1.0
    assert held_back() == {}
    spread = spread_of("isos", "11.02", table, _holdings())
    assert spread.holders == ("m.example",)
    assert not spread.why_not_safe
    assert not spread.is_held
    announce("isos", "11.02", NOW + timedelta(days=1), 0.5, NOW)  # said again: stays listed
    assert held_back() == {}
    forget("isos", "11.02")
    with pytest.raises(ReleaseError, match="was not announced"):
        forget("isos", "11.02")


def test_a_release_that_nobody_has_is_not_safe_to_announce() -> None:
    spread = spread_of("isos", "11.02", catalog(), [])
    assert "0 of 1 mirrors" in spread.why_not_safe
    assert "no file" in spread_of("isos", "99", catalog(), []).why_not_safe
    assert "no file" in spread_of("isos", "99", None, []).why_not_safe


def hold(table: CatalogTable) -> None:
    from heliostat.manager.probing.recording import record_liveness
    from heliostat.model.holding import Holding

    record_liveness(liveness("m.example"))
    store_holding(
        Holding(
            "m.example",
            "isos",
            int(NOW.timestamp()),
            "rsync",
            BitMap(table.file_ids.tolist()),
            BitMap(),
            table.identity,
            table.version,
        )
    )


def _holdings() -> list:  # type: ignore[type-arg]
    from heliostat.manager.probing.records import KeptHoldings

    return KeptHoldings().of("isos")


def test_a_budget_survives_the_upgrade_of_the_registry(loaded: LoadedConfig) -> None:
    from heliostat.manager.registry.mirrors import get_mirror

    assert get_mirror("cdn.example").budget == BUDGET
    assert dataclasses.asdict(BUDGET)["provider"] is None
