"""Our accounts and the provider's: what a budget goes by is never too low."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.budget.providers import Reading
from heliostat.budget.reconcile import LOWER_FOR, OLDEST, Spent, reconcile

T0 = datetime(2026, 11, 1, tzinfo=UTC)
GB = 10**9
HOUR = timedelta(hours=1)


def own(hours: int, a_hour: int = 10 * GB) -> list[tuple[datetime, int]]:
    return [(T0 + n * HOUR, n * a_hour) for n in range(hours + 1)]


def reading(total: float, until_h: float, read_h: float | None = None) -> Reading:
    at = until_h if read_h is None else read_h
    return Reading(int(total), T0 + until_h * HOUR, T0 + at * HOUR)


def by_hand(total: int, until_h: float) -> Reading:
    at = T0 + until_h * HOUR
    return Reading(total, at, at, by_hand=True)


def spent_at(hours: int, readings: Sequence[Reading]) -> Spent:
    return reconcile(own(hours), readings, T0 + hours * HOUR)


def test_without_a_provider_ours_count() -> None:
    found = spent_at(10, [])
    assert (found.bytes, found.provider_bytes, found.notes) == (100 * GB, None, ())
    assert reconcile([], [], T0).bytes == 0


def test_the_providers_figure_and_what_we_charged_since() -> None:
    found = spent_at(100, [reading(700 * GB, 90)])
    assert found.bytes == 700 * GB + 110 * GB  # ten hours, and one of transfers still running
    assert found.provider_bytes == 700 * GB
    assert found.ratio == pytest.approx(700 / 890, rel=0.02)


def test_a_provider_that_counts_more_is_believed_and_expected_to_go_on() -> None:
    readings = [reading(12 * GB * n, n) for n in range(1, 91)]
    found = spent_at(100, readings)
    assert found.ratio == pytest.approx(1.2, rel=0.01)
    assert found.bytes == pytest.approx((90 * 12 + 11 * 12) * GB, rel=0.01)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (reading(-5, 99), "negative"),
        (reading(0, 99), "right service"),
        (reading(50 * GB, 99), "right service"),
        (reading(900 * GB, 200), "future"),
        (reading(900 * GB, 200, 99), "future"),
    ],
)
def test_figures_that_cannot_be_are_not_believed(bad: Reading, said: str) -> None:
    found = spent_at(100, [bad])
    assert (found.bytes, found.provider_bytes) == (1000 * GB, None)
    assert said in found.notes[0]


@pytest.mark.parametrize("bad", [reading(-5, 95), reading(0, 95), reading(20 * GB, 95)])
def test_a_slip_changes_nothing_before_and_after(bad: Reading) -> None:
    good = reading(800 * GB, 90)
    assert spent_at(96, [good, bad]).bytes == spent_at(96, [good]).bytes
    again = reading(880 * GB, 100)
    assert spent_at(100, [good, bad, again]).bytes == spent_at(100, [good, again]).bytes


def test_figures_that_are_too_old_lower_nothing_any_more() -> None:
    late = int(OLDEST / HOUR)
    fresh = spent_at(99 + late, [reading(500 * GB, 100)])
    old = spent_at(101 + late, [reading(500 * GB, 100)])
    assert fresh.bytes < fresh.own_bytes
    assert old.bytes == old.own_bytes
    assert "older" in old.notes[0]
    more = spent_at(101 + late, [reading(1500 * GB, 100)])
    assert more.bytes > 1500 * GB + (late + 1) * 10 * GB


def test_a_small_fall_is_a_correction_when_it_stays_for_a_day() -> None:
    late = int(LOWER_FOR / HOUR)
    fallen = [reading(900 * GB, 95), *(reading((840 + n) * GB, 96 + n) for n in range(late + 1))]
    early = spent_at(95 + late, fallen[:-1])
    assert early.provider_bytes == 900 * GB
    assert "fell" in early.notes[0]
    assert spent_at(96 + late, fallen).provider_bytes == (840 + late) * GB


def test_a_count_that_began_anew_is_never_taken_for_this_periods() -> None:
    before = [reading(9 * GB * n, n) for n in range(1, 101)]
    after = [reading(9 * GB * (n - 100.4), n) for n in range(101, 700)]
    for hours in (101, 130, 190, 205, 400, 699):
        found = spent_at(hours, [*before, *after[: hours - 100]])
        assert found.provider_bytes == 900 * GB
        assert found.bytes >= 9 * GB * hours
        assert "anew" in " ".join(found.notes)


def test_a_figure_that_stands_still_is_of_when_it_last_moved() -> None:
    readings = [reading(400 * GB, 50 + n) for n in range(40)]
    assert spent_at(90, readings).bytes == spent_at(90, readings[:1]).bytes == 810 * GB


def test_a_source_that_moves_once_a_day_is_taken_as_a_day_late() -> None:
    """Each day at 00:00 it says what was counted until 12 hours before; it doesn't say so."""
    readings = [reading(9 * GB * (n // 24 * 24 - 12), n) for n in range(24, 241)]
    for hours in range(49, 240):
        assert spent_at(hours, readings[: hours - 23]).bytes >= 9 * GB * hours


def test_a_person_is_believed_until_the_provider_says_more() -> None:
    wrong = [reading(5000 * GB, 50), *(reading(9 * GB * n, n) for n in range(51, 80))]
    assert spent_at(80, wrong).bytes > 5000 * GB
    mended = [*wrong, by_hand(700 * GB, 80)]
    assert spent_at(81, mended).bytes == 700 * GB + 20 * GB
    assert spent_at(100, [*mended, reading(880 * GB, 100)]).bytes == 880 * GB + 10 * GB


def test_an_odd_figure_is_forgotten_after_a_day_where_all_goes_well() -> None:
    readings = [reading(9 * GB * n, n) for n in range(1, 100)]
    readings.insert(50, reading(-1, 50))
    assert spent_at(60, readings[:60]).notes
    assert spent_at(99, readings).notes == ()


KINDS = ("true", "late", "again", "negative", "zero", "half", "still", "none")


@dataclass(frozen=True)
class World:
    """What was charged and really sent by the hour, and what a provider said of it, by the hour."""

    charged: list[int]
    sent: list[int]
    heard: list[list[Reading]]

    def own(self, hour: int) -> list[tuple[datetime, int]]:
        return [(T0 + n * HOUR, self.charged[n]) for n in range(hour + 1)]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """A provider that is late, slips, stands still, and may begin anew; honest each sixth hour.

    What can't be told from the truth is left out: slips before anything was believed, and a
    count that began anew before it had counted for a day.
    """
    hours = draw(st.integers(30, 140))
    redirected = draw(st.lists(st.integers(1 * GB, 40 * GB), min_size=hours, max_size=hours))
    flows: list[tuple[float, float]] = draw(
        st.lists(st.tuples(st.floats(0.6, 1.0), st.floats(0, 1)), min_size=hours, max_size=hours)
    )
    charged = [0, *accumulate(redirected)]
    now_part = [size * part * soon for size, (part, soon) in zip(redirected, flows, strict=True)]
    next_part = [
        size * part * (1 - soon) for size, (part, soon) in zip(redirected, flows, strict=True)
    ]
    in_hour = [a + b for a, b in zip(now_part, [0.0, *next_part[:-1]], strict=True)]
    sent = [0, *(int(total) for total in accumulate(in_hour))]
    resets = draw(st.one_of(st.none(), st.integers(26, 130)))
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=hours, max_size=hours))
    delays = draw(st.lists(st.integers(0, 6), min_size=hours, max_size=hours))
    heard: list[list[Reading]] = [[] for _ in range(hours + 1)]
    last: Reading | None = None
    for hour, (kind, delay) in enumerate(zip(kinds, delays, strict=True), 1):
        anew = resets is not None and hour >= resets
        base = sent[resets] if anew and resets is not None else 0
        if hour % 6 == 1 or (anew and kind in ("late", "half", "still")) or last is None:
            kind, delay = "true", 0
        until = hour - delay if kind == "late" else hour
        total = sent[max(0, until)] - base
        said: dict[str, Callable[[], list[float]]] = {
            "again": lambda total=total: [total, total],  # type: ignore[misc]
            "negative": lambda: [-GB],
            "zero": lambda: [0],
            "half": lambda last=last: [last.bytes / 2 if last else 0],  # type: ignore[misc]
            "still": lambda last=last: [last.bytes if last else 0],  # type: ignore[misc]
            "none": list,
        }
        values = said[kind]() if kind in said else [total]
        heard[hour] = [reading(value, until, hour) for value in values]
        if kind in ("true", "late", "again"):
            last = heard[hour][-1]
    return World(charged, sent, heard)


@given(worlds())
@settings(max_examples=150, deadline=None)
def test_what_counts_is_never_less_than_what_was_really_sent(world: World) -> None:
    so_far: list[Reading] = []
    for hour in range(1, len(world.charged)):
        so_far += world.heard[hour]
        found = reconcile(world.own(hour), so_far, T0 + hour * HOUR)
        assert found.bytes >= world.sent[hour]
        assert found.bytes >= (found.provider_bytes or 0)


@given(st.lists(st.floats(0.5, 1.0), min_size=48, max_size=100))
def test_a_provider_without_faults_leaves_little_to_chance(parts: list[float]) -> None:
    sent = [0, *accumulate(10 * GB * part for part in parts)]
    readings = [reading(total, n) for n, total in enumerate(sent) if n]
    for hours in range(1, len(sent)):
        found = spent_at(hours, readings[:hours])
        assert sent[hours] - 1 <= found.bytes <= sent[hours] + 10 * GB


@given(
    st.lists(
        st.builds(
            lambda total, until, read, hand: Reading(
                total, T0 + until * HOUR, T0 + read * HOUR, by_hand=hand
            ),
            st.integers(-(10**19), 10**19),
            st.floats(-1000, 1000),
            st.floats(-1000, 1000),
            st.booleans(),
        ),
        max_size=30,
    )
)
def test_whatever_is_said_a_figure_comes_of_it(readings: list[Reading]) -> None:
    found = spent_at(100, readings)
    assert found.bytes >= (found.provider_bytes or 0)
    assert found.own_bytes == 1000 * GB
    assert len(found.notes) <= 3
