"""One fleet of real machines for all tests of rollouts, in the order in which they stand."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fleet.hosts import why_not
from tests.rollout.fleet import Fleet
from tests.rollout.image import CACHE
from tests.rollout.project import ROOT

ALL_VARIABLE = "HELIOSTAT_ROLLOUT"
"""Set by `make rollout`."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if os.environ.get(ALL_VARIABLE):
        return
    here = Path(__file__).parent
    left = [item for item in items if here in item.path.parents]
    config.hook.pytest_deselected(items=left)
    items[:] = [item for item in items if item not in left]


@pytest.fixture(scope="session")
def wheelhouse() -> Path:
    """All wheels of this tree, as `make wheelhouse` makes them."""
    folder = CACHE / "wheelhouse"
    subprocess.run(
        [ROOT / ".venv/bin/python", ROOT / "tools/make_wheelhouse.py", folder],
        check=True,
        timeout=900,
    )
    return folder


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory, wheelhouse: Path) -> Iterator[Fleet]:
    if reason := why_not():
        pytest.skip(reason)
    for program in ("ansible-playbook", "systemd-nspawn", "mmdebstrap"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    standing = Fleet(tmp_path_factory.mktemp("rollout"), wheelhouse)
    try:
        standing.start()
        yield standing
    finally:
        standing.stop()
