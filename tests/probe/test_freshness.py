"""How far behind a mirror is, for all the ways in which mirrors are partial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pyroaring import BitMap

from heliostat.model.catalog import CatalogTable
from heliostat.probe.freshness import Folders, Lag, lag_of
from heliostat.probe.timestamp import timestamp_in
from tests.probe.helpers import table

DAY = 86_400


def catalog_of(changed: Mapping[str, int]) -> CatalogTable:
    """Files by path; each changed on that day (1 is the first scan)."""
    made = table({path.encode(): 10 for path in changed})
    days = np.array([changed[path.decode()] for path in made.paths])
    return replace(
        made, changed_at_s=days * DAY, changed_in=days.astype(np.uint32), version=int(days.max())
    )


def lag(
    catalog: CatalogTable, *held: str, differing: tuple[str, ...] = (), passed: str = ""
) -> Lag:
    ids = {path.decode(): int(i) for path, i in zip(catalog.paths, catalog.file_ids, strict=True)}
    over = np.array([path.decode() == passed for path in catalog.paths]) if passed else None
    return lag_of(
        catalog,
        Folders.of(catalog),
        BitMap([ids[path] for path in held]),
        BitMap([ids[path] for path in differing]),
        over,
    )


RELEASES = catalog_of(
    {
        "releases/1/a.iso": 1,
        "releases/1/a.sig": 1,
        "releases/2/a.iso": 5,
        "releases/2/a.sig": 5,
        "releases/3/a.iso": 9,
        "releases/3/a.sig": 9,
        "docs/index.html": 7,
    }
)


def test_who_has_all_is_not_behind() -> None:
    assert lag(RELEASES, *(path.decode() for path in RELEASES.paths)) == Lag(0, None)


def test_who_has_nothing_is_not_behind_but_empty() -> None:
    assert lag(RELEASES) == Lag(0, None)


def test_a_missing_release_counts_from_its_day() -> None:
    up_to_7 = ["releases/1/a.iso", "releases/1/a.sig", "releases/2/a.iso", "releases/2/a.sig"]
    assert lag(RELEASES, *up_to_7, "docs/index.html") == Lag(2, 9 * DAY)


def test_who_keeps_only_the_newest_release_is_not_behind() -> None:
    assert lag(RELEASES, "releases/3/a.iso", "releases/3/a.sig") == Lag(0, None)


def test_who_kept_only_what_was_the_newest_then_is_behind_with_the_next() -> None:
    # docs/ is newer than all it has, beside the one folder there was: it may well be its own.
    assert lag(RELEASES, "releases/2/a.iso", "releases/2/a.sig") == Lag(3, 7 * DAY)


def test_who_carries_another_part_is_not_behind_with_this_one() -> None:
    assert lag(RELEASES, "docs/index.html") == Lag(0, None)


def test_half_of_a_release_is_on_its_way() -> None:
    up_to_7 = ["releases/1/a.iso", "releases/1/a.sig", "releases/2/a.iso", "releases/2/a.sig"]
    assert lag(RELEASES, *up_to_7, "releases/3/a.sig") == Lag(1, 9 * DAY)


def test_a_file_in_another_form_is_behind_since_it_changed() -> None:
    rest = [path.decode() for path in RELEASES.paths if path != b"docs/index.html"]
    assert lag(RELEASES, *rest, differing=("docs/index.html",)) == Lag(1, 7 * DAY)


def test_a_timestamp_file_says_nothing_of_age() -> None:
    rest = [path.decode() for path in RELEASES.paths if path != b"docs/index.html"]
    found = lag(RELEASES, *rest, differing=("docs/index.html",), passed="docs/index.html")
    assert found == Lag(0, None)


@given(
    st.dictionaries(st.text("ab/", min_size=1, max_size=6), st.integers(1, 9), min_size=1),
    st.data(),
)
def test_a_mirror_as_of_some_day_is_behind_by_the_first_change_after_it(
    changed: dict[str, int], data: st.DataObject
) -> None:
    """Of a mirror that copied the whole tree on a day, never more than that is said."""
    catalog = catalog_of(changed)
    day = data.draw(st.integers(0, 9))
    held = [path for path, at in changed.items() if at <= day]
    found = lag(catalog, *held)
    late = sorted(at for at in changed.values() if at > day)
    if found.since_s is not None:
        assert found.since_s in [at * DAY for at in late]
        assert 0 < found.files <= len(late)
    if held == list(changed):
        assert found == Lag(0, None)


def test_times_that_projects_write() -> None:
    for text in (
        "1763900000\n",
        "1763900000.123 some words",
        "2025-11-23T12:13:20Z",
        "2025-11-23 12:13:20+00:00",
        "Sun, 23 Nov 2025 12:13:20 +0000",
        "Sun Nov 23 12:13:20 UTC 2025",
        "Origin: Debian\nDate: Sun, 23 Nov 2025 12:13:20 UTC\nMaintainer: x",
        "20251123121320",
    ):
        assert timestamp_in(text.encode()) == 1_763_900_000, text


@given(st.binary(max_size=300))
def test_any_bytes_are_a_time_or_none(raw: bytes) -> None:
    assert timestamp_in(raw) is None or isinstance(timestamp_in(raw), int)
