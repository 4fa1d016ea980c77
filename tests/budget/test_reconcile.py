"""Our accounts and the provider's: what a budget goes by is never too low."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heliostat.budget.completion import CLASSES, LEAST, MOST, Completion, Window, learn
from heliostat.budget.providers import Reading
from heliostat.budget.reconcile import LOWER_FOR, OLDEST, reconcile

T0 = datetime(2026, 11, 1, tzinfo=UTC)
GB = 10**9
HOUR = timedelta(hours=1)


def own(hours: int, a_hour: int = 10 * GB) -> list[tuple[datetime, int]]:
    return [(T0 + n * HOUR, n * a_hour) for n in range(hours + 1)]


def reading(total: int, until_h: float, read_h: float | None = None) -> Reading:
    at = until_h if read_h is None else read_h
    return Reading(total, T0 + until_h * HOUR, T0 + at * HOUR)


def test_without_a_provider_ours_count() -> None:
    found = reconcile(own(10), [], T0 + 10 * HOUR)
    assert (found.bytes, found.provider_bytes, found.notes) == (100 * GB, None, ())
    assert reconcile([], [], T0).bytes == 0


def test_the_providers_figure_and_what_we_charged_since() -> None:
    found = reconcile(own(100), [reading(700 * GB, 90)], T0 + 100 * HOUR)
    assert found.bytes == 700 * GB + 110 * GB  # ten hours, and one of transfers still running
    assert found.provider_bytes == 700 * GB
    assert found.ratio == pytest.approx(700 / 890, rel=0.02)


def test_a_provider_that_counts_more_is_believed() -> None:
    assert reconcile(own(100), [reading(2000 * GB, 100)], T0 + 100 * HOUR).bytes >= 2000 * GB


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (reading(-5, 99), "negative"),
        (reading(0, 99), "right service"),
        (reading(50 * GB, 99), "right service"),
        (reading(900 * GB, 200), "future"),
        (Reading(10 * GB, T0 - OLDEST, T0), "older"),
    ],
)
def test_figures_that_cannot_be_are_not_believed(bad: Reading, said: str) -> None:
    found = reconcile(own(100), [bad], T0 + 100 * HOUR)
    assert found.bytes == 1000 * GB
    assert found.provider_bytes is None
    assert said in found.notes[0]


def test_a_figure_that_falls_is_believed_after_a_day() -> None:
    fallen = [
        reading(900 * GB, 95),
        *(reading(600 * GB, 96 + n, 96.0 + n) for n in range(0, 20, 4)),
    ]
    found = reconcile(own(120), fallen, T0 + 120 * HOUR)
    assert found.provider_bytes == 900 * GB
    assert "fell" in found.notes[0]
    late = LOWER_FOR / HOUR
    after = [*fallen, reading(620 * GB, 96 + late, 96 + late)]
    found = reconcile(own(125), after, T0 + 125 * HOUR)
    assert found.provider_bytes == 620 * GB


@given(
    st.lists(st.floats(0, 1.0), min_size=5, max_size=60),
    st.lists(
        st.tuples(
            st.integers(0, 59),
            st.floats(0, 6),
            st.sampled_from(["true", "true", "true", "zero", "negative", "huge-late", "again"]),
        ),
        max_size=30,
    ),
)
@settings(max_examples=200)
def test_what_counts_is_never_less_than_what_was_really_sent(
    completions: list[float], events: list[tuple[int, float, str]]
) -> None:
    """We charge whole files; less is really sent, and counted up to an hour later."""
    charged, sent = [(T0, 0)], [0]
    for number, part in enumerate(completions, 1):
        charged.append((T0 + number * HOUR, number * 10 * GB))
        # an hour's redirects flow in the next hour
        before = 10 * GB * completions[number - 2] if number > 1 else 0
        sent.append(int(sent[-1] + before))
        del part
    hours = len(completions)
    now = T0 + hours * HOUR
    readings = []
    for until, delay, kind in sorted(events, key=lambda event: event[0] + event[1]):
        if until > hours or until + delay > hours:
            continue
        total = {"true": sent[until], "again": sent[until], "zero": 0, "negative": -GB}.get(
            kind, sent[max(0, until - 5)]
        )
        readings.append(reading(total, until, until + delay))
        if kind == "again":
            readings.append(readings[-1])
    found = reconcile(charged, readings, now)
    really = sent[-1]
    # what a figure of five hours ago claims to be of now can't be told from the truth
    if not any(kind == "huge-late" for _, _, kind in events):
        assert found.bytes >= really
    assert found.bytes >= (found.provider_bytes or 0)
    assert found.bytes <= max(charged[-1][1] * 2, max((one.bytes for one in readings), default=0)
                              + charged[-1][1])  # fmt: skip


def test_ratios_are_learned_within_a_few_percent_and_charged_with_a_margin() -> None:
    truth = (0.95, 0.95, 0.9, 0.8, 0.6)
    known = Completion()
    assert known.ratios == (1.0,) * CLASSES
    for day in range(60):
        mix = [GB * (1 + (day + n) % 3) * 10 ** min(n, 3) for n in range(CLASSES)]
        total = sum(ratio * part for ratio, part in zip(truth, mix, strict=True))
        known = learn(known, [Window(tuple(mix), total)])
    charged = sum(r * m for r, m in zip(known.ratios, mix, strict=True))
    assert total * 1.0 <= charged <= total * 1.12


@given(
    st.lists(
        st.tuples(
            st.lists(st.floats(0, 1e15), min_size=CLASSES, max_size=CLASSES), st.floats(-1e15, 1e16)
        ),
        max_size=40,
    )
)
def test_whatever_is_said_ratios_stay_in_bounds(windows: list[tuple[list[float], float]]) -> None:
    known = learn(Completion(), [Window(tuple(parts), total) for parts, total in windows])
    assert all(LEAST <= ratio <= MOST for ratio in known.learned)
    assert all(LEAST <= ratio <= MOST for ratio in known.ratios)
