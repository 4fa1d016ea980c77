"""Periods, limits and how large allowances are."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.budget.periods import period_of
from heliostat.budget.sharing import LARGE_FILE_BYTES, limits, top_up
from heliostat.model.budget import SIZE_CLASSES, Budget, Capacity, size_class

TIMES = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)).map(
    lambda at: at.replace(tzinfo=UTC)
)
TB = 10**12


@given(st.integers(1, 28), TIMES)
def test_every_moment_is_in_one_period_that_begins_on_the_reset_day(day: int, at: datetime) -> None:
    period = period_of(day, at)
    assert period.start <= at < period.end
    assert period.start.day == period.end.day == day
    assert timedelta(days=28) <= period.end - period.start <= timedelta(days=31)
    assert period_of(day, period.start) == period
    assert period_of(day, period.end).start == period.end
    assert 0 <= period.gone_share(at) <= 1
    assert period.left_s(period.end + timedelta(days=1)) == 0


def test_a_period_turns_with_the_year_and_a_day_that_not_every_month_has_is_refused() -> None:
    assert period_of(15, datetime(2027, 1, 3, tzinfo=UTC)).name == "2026-12-15"
    with pytest.raises(ValueError, match="1 to 28"):
        period_of(29, datetime(2027, 1, 3, tzinfo=UTC))


@given(
    st.floats(0, 1),
    st.integers(-TB, 200 * TB),
    st.integers(0, 100 * TB),
    st.integers(0, 10 * TB),
)
def test_limits_never_allow_more_than_is_left(
    gone: float, excess: int, general: int, reserve: int
) -> None:
    budget = Budget(100 * TB)
    found = limits(
        budget,
        gone,
        excess_bytes=excess,
        general_committed=general,
        reserve_committed=reserve,
    )
    left = budget.stop_bytes - excess
    more_general = max(0, found.general_bytes - general)
    more_reserve = max(0, found.reserve_bytes - reserve)
    if more_general or more_reserve:
        assert general + reserve + more_general + more_reserve <= max(left, general + reserve)


def test_the_reserve_is_kept_and_given_free_at_the_end() -> None:
    def general(gone: float) -> int:
        return limits(
            Budget(100 * TB),
            gone,
            excess_bytes=0,
            general_committed=0,
            reserve_committed=0,
        ).general_bytes

    assert general(0.0) == general(0.7) == 98 * TB - 5 * TB
    assert general(0.9) > general(0.7)
    assert general(1.0) == 98 * TB


@given(
    st.integers(0, 10**14),
    st.floats(0, 1e14),
    st.floats(0, 1e10),
    st.integers(1, 50),
    st.floats(0, 31 * 86400),
)
def test_a_top_up_is_never_more_than_is_left(
    free: int, left: float, rate: float, nodes: int, rest_s: float
) -> None:
    more = top_up(free, left, rate, nodes, rest_s)
    assert 0 <= more <= left
    if nodes > 1:
        assert free + more <= max(free, left / (2 * nodes) + 1)


def test_allowances_are_for_hours_and_shrink_to_the_end() -> None:
    early = top_up(0, 50 * TB, 1e7, 2, 20 * 86400)
    late = top_up(0, 50 * TB, 1e7, 2, 3600)
    assert early == int(1e7 * 6 * 3600)
    assert late == 2 * LARGE_FILE_BYTES
    assert top_up(early, 50 * TB, 1e7, 2, 20 * 86400) == 0
    assert top_up(0, 0, 1e7, 2, 100) == 0


def test_sizes_have_classes() -> None:
    assert [size_class(size) for size in (0, 999_999, *SIZE_CLASSES, 10**12)] == [
        0, 0, 1, 2, 3, 4, 4,
    ]  # fmt: skip
    assert Capacity(1000, 0.2).usable_bytes_per_s == 100_000_000
