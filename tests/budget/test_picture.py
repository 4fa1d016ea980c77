"""The curve of a budget, as characters and as a file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliostat.budget.picture import COLUMNS, ROWS, Curve, PlotError, Points, drawn, plot, size_text

START, END = datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)
TB = 10**12


def curve(
    budget: float = 100 * TB, spent: Points = (), provider: Points = (), forecast: Points = ()
) -> Curve:
    return Curve(START, END, budget, budget / 20, spent, provider, forecast)


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def test_the_line_of_what_is_spent_rises_from_corner_to_corner() -> None:
    lines = drawn(curve(spent=[(at(30), 100 * TB)]))
    assert lines[0].startswith("100 TB │")
    first, last = lines[ROWS - 1].partition("│")[2], lines[0].partition("│")[2]
    assert first[0] != "\u2800"
    assert len(last) == COLUMNS
    assert "01 Nov" in lines[-1]
    assert "01 Dec" in lines[-1]


@given(
    st.floats(1, 1e18),
    st.lists(st.tuples(st.floats(-5, 40), st.floats(0, 1e19)), max_size=20),
    st.lists(st.tuples(st.floats(-5, 40), st.floats(0, 1e19)), max_size=20),
)
def test_whatever_the_figures_a_picture_keeps_its_size(
    budget: float, spent: list[tuple[float, float]], forecast: list[tuple[float, float]]
) -> None:
    points = [(at(day), size) for day, size in sorted(spent)]
    ahead = [(at(day), size) for day, size in sorted(forecast)]
    lines = drawn(curve(budget, points, (), ahead))
    assert len(lines) == ROWS + 2
    assert len({line.index("│") for line in lines[:ROWS]}) == 1
    assert all(len(line.partition("│")[2]) <= COLUMNS for line in lines[:ROWS])


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (12.34e12, "12.3 TB")]
)
def test_sizes_are_said_as_people_do(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize("budget", [100 * TB, 49e6])
def test_a_file_names_its_unit_and_says_when(tmp_path: Path, budget: float) -> None:
    path = tmp_path / "curve.svg"
    plot(curve(budget, [(at(1), budget / 9), (at(2), budget / 5)]), "cdn.example.org", path)
    text = path.read_text()
    assert f"{'TB' if budget > TB else 'MB'} since 01 Nov 2026" in text
    assert "<!-- 29 Nov -->" in text
    assert [path.name for path in tmp_path.iterdir()] == ["curve.svg"]


def test_a_period_without_figures_is_drawn_too(tmp_path: Path) -> None:
    plot(curve(), "cdn.example.org", tmp_path / "curve.png")
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_another_ending_or_a_folder_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="ends in"):
        plot(curve(), "x", tmp_path / "curve.pdf")
    with pytest.raises(PlotError, match="can't be written"):
        plot(curve(), "x", tmp_path / "nowhere" / "curve.svg")
