"""One fleet for all tests here, and a new look at it before each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fleet.hosts import why_not
from tests.fleet.stage import EDGES, MIRRORS, Fleet, until


@pytest.fixture(scope="package")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    if reason := why_not():
        pytest.skip(reason)
    fleet = Fleet(tmp_path_factory.mktemp("fleet"))
    try:
        fleet.start()
        yield fleet
    finally:
        fleet.stop()


@pytest.fixture
def fleet(standing: Fleet) -> Fleet:
    """The fleet, whole: the fault before has to have been repaired."""
    until(lambda: all(standing.health(name) == "ok" for name in EDGES), 60, "edges are ill")
    until(lambda: standing.answered() == standing.all_addresses(), 60, "the DNS lacks an edge")
    until(
        lambda: all(
            line["down"] == [] for name in EDGES for line in [{"down": _down(standing, name)}]
        ),
        60,
        "a mirror is out",
    )
    assert len(MIRRORS) == 4
    return standing


def _down(fleet: Fleet, edge: str) -> list[str]:
    watch = fleet.status(edge)["watch"]["mirrors"]
    return [
        mirror
        for mirror, found in watch.items()
        if any(word != "answers" for word in found["lines"].values())
    ]
