"""The simulator: years repeat, budgets are never overspent, what-ifs count."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.budget.periods import period_of
from heliostat.config.errors import ConfigError
from heliostat.model.budget import Budget
from heliostat.model.errors import UsageFaultError
from heliostat.simulate.engine import Engine
from heliostat.simulate.ledgers import SimulatedBudget
from heliostat.simulate.made import MirrorListError, make_year
from heliostat.simulate.scenario import Scenario, changed, default_scenario, read_scenario
from heliostat.simulate.table import simulate

SMALL = {"periods": 1, "seeds": 1, "zones": 24, "history_weeks": 1}


def small(**more: object) -> Scenario:
    data = default_scenario().model_dump() | SMALL
    data["mirrors"] |= {"count": 9, "line_share": 6.0}
    data["releases"] |= {"peak": 5.0}
    for key, value in more.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return Scenario.model_validate(data)


def test_the_same_seed_gives_the_same_year() -> None:
    one, again, other = (make_year(small(), seed) for seed in (1, 1, 2))
    assert np.array_equal(one.by_hour, again.by_hour)
    assert [m.name for m in one.network.mirrors] == [m.name for m in again.network.mirrors]
    assert not np.array_equal(one.by_hour, other.by_hour)
    assert one.by_hour.sum() == pytest.approx(np.asarray(one.by_zone).sum())


def test_a_year_by_the_real_code_is_served_whole_and_never_overspends() -> None:
    result = simulate(small(), 1)
    ours, best, empty, split, lists = result.rows
    assert ours.spent_most <= 1
    assert ours.unused_most < 0.02
    assert ours.refused == 0
    assert ours.peak_load <= 1.05
    assert best.objective_ms <= ours.objective_ms * 1.001
    assert ours.objective_ms < min(empty.objective_ms, split.objective_ms, lists.objective_ms)
    assert result.over_bound < 1.06


def test_without_a_cdn_there_is_nothing_to_spend() -> None:
    year = make_year(small(cdn=None), 1)
    run = Engine(replace(year, hours=100)).run()
    assert run.spent == {}
    assert run.served.sum() == pytest.approx(np.asarray(year.by_zone)[:100].sum(), rel=0.02)


def test_a_country_that_fails_is_served_by_others() -> None:
    year = make_year(small(), 1)
    countries = [mirror.place.country for mirror in year.network.mirrors[:-1]]
    country = max(set(countries), key=countries.count)
    failing = changed(small(), fail=[f"{country}@10+5"])
    run = Engine(replace(make_year(failing, 1), hours=24)).run()
    plain = Engine(replace(year, hours=24)).run()
    assert run.served == pytest.approx(plain.served)
    assert run.cost[:10] == pytest.approx(plain.cost[:10])
    assert run.cost[10:15].sum() > plain.cost[10:15].sum()


def test_what_ifs_change_the_scenario_and_are_checked() -> None:
    scenario = changed(small(), budget_bytes=0.0, surge=3.0, seeds=4, without=["a"])
    assert scenario.cdn is None
    assert (scenario.releases.peak, scenario.seeds) == (3.0, 4)
    with pytest.raises(MirrorListError, match='"a" is none of'):
        make_year(scenario, 1)
    bads: tuple[dict[str, Any], ...] = ({"fail": ["DE"]}, {"surge": 0.5}, {"seeds": 0})
    for bad in bads:
        with pytest.raises(UsageFaultError):
            changed(small(), **bad)


def test_a_scenario_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text("periods = 3\n[relases]\npeak = 9\n")
    with pytest.raises(ConfigError, match=r"releases"):
        read_scenario(path)
    path.write_text("periods = 3\n[releases]\npeak = 9\n")
    assert read_scenario(path).releases.peak == 9
    assert default_scenario().seeds == 20


def test_a_list_of_mirrors_is_read_and_faults_name_the_line(tmp_path: Path) -> None:
    path = tmp_path / "mirrors.jsonl"
    lines: list[dict[str, object]] = [
        {"name": "a.example", "country": "DE"},
        {"name": "b", "country": "US", "lat": 1.0, "lon": 2.0},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    year = make_year(small(mirrors={"path": str(path)}), 1)
    assert [mirror.name for mirror in year.network.mirrors] == ["a.example", "b", "cdn"]
    assert year.network.mirrors[0].place.latitude is not None
    path.write_text('{"name": "a"}\nnonsense\n')
    with pytest.raises(MirrorListError, match=":2: is no mirror"):
        make_year(small(mirrors={"path": str(path)}), 1)


@given(st.lists(st.tuples(st.floats(0, 3e12), st.floats(0, 1)), max_size=12))
@settings(max_examples=30, deadline=None)
def test_simulated_nodes_never_charge_more_than_the_budget(
    charges: list[tuple[float, float]],
) -> None:
    budget = Budget(10**13, 1, reserve_share=0.0, stop_share=1.0)
    period = period_of(1, default_scenario().begins)
    account = SimulatedBudget(budget, period)
    for wanted, gone in charges:
        paid = account.charge(wanted, gone, 1e6)
        assert 0 <= paid <= wanted + 2
        assert account.spent_bytes <= budget.bytes_per_month


@pytest.mark.slow
def test_the_command_prints_the_table_and_draws(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(
        "periods = 1\nseeds = 1\nzones = 30\nhistory_weeks = 2\n[mirrors]\ncount = 8\n"
        "[releases]\npeak = 4\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "heliostat", "simulate", str(path), "--plot", str(tmp_path / "p")],
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "best in hindsight" in done.stdout
    assert "overspent: never" in done.stdout
    for name in ("spend", "cost", "lines"):
        assert "<svg" in (tmp_path / "p" / f"{name}.svg").read_text()
