"""A fleet for each file of tests, and a new look at it before each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.hosts import why_not
from tests.fleet.stage import EDGES, Fleet, until

ALL_VARIABLE = "HELIOSTAT_FLEET"
"""Set by `make fleet`: all faults, not only those of `test_short.py`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    if os.environ.get(ALL_VARIABLE):
        return
    left = [item for item in items if here in item.path.parents and item.path.stem != "test_short"]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="module")
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
    """The fleet, whole: also after a fault whose test failed before it could repair it."""
    standing.repair()
    until(lambda: all(standing.health(name) == "ok" for name in EDGES), 60, "edges are ill")
    until(lambda: standing.answered() == standing.all_addresses(), 60, "the DNS lacks an edge")
    until(lambda: not any(_down(standing, name) for name in EDGES), 60, "a mirror is out")
    return standing


def _down(fleet: Fleet, edge: str) -> list[str]:
    watch = fleet.status(edge)["watch"]["mirrors"]
    return [
        mirror
        for mirror, found in watch.items()
        if any(word != "answers" for word in found["lines"].values())
    ]
