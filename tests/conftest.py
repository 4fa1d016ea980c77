"""What every test shares: Debian packages on demand, and an honest count of what was skipped."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.packages import SKIP_REASON, PackageMissingError, ensure_package

NO_HOSTS = "network namespaces"
"""Part of the reason of each skip for want of hosts."""


SLOW_FIRST = ("fleet", "whole", "failover", "edge")
"""Folders whose files take minutes: begun last, one of them would keep one core busy at the end."""


SLOW_VARIABLE = "HELIOSTAT_SLOW"
"""Set by `make slow`, which runs what is marked so, and nothing else."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The slow folders first; within a folder, as collected. `slow` tests by themselves."""
    here = Path(__file__).parent
    wants_slow = bool(os.environ.get(SLOW_VARIABLE))
    left = [item for item in items if bool(item.get_closest_marker("slow")) != wants_slow]
    if not any("::" in argument for argument in config.args):  # one that was named is run
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]

    def rank(item: pytest.Item) -> int:
        folder = item.path.relative_to(here).parts[0]
        return SLOW_FIRST.index(folder) if folder in SLOW_FIRST else len(SLOW_FIRST)

    items.sort(key=rank)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Sees to the packages a test is marked with: installed when root, else the test is skipped."""
    for package in _packages(item):
        try:
            ensure_package(package)
        except PackageMissingError as error:
            pytest.skip(str(error))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The number of tests that this machine could not run, also when it is 0."""
    skipped = terminalreporter.getreports("skipped")
    missing = [report for report in skipped if SKIP_REASON in str(report.longrepr)]
    terminalreporter.write_line(f"skipped for want of a Debian package: {len(missing)}")
    hosts = [str(report.longrepr) for report in skipped if NO_HOSTS in str(report.longrepr)]
    if hosts:
        terminalreporter.write_line(f"faults of the fleet not tried: {len(hosts)} {hosts[0]}")


def _packages(item: pytest.Item) -> Iterator[str]:
    for marker in item.iter_markers("needs"):
        for package in marker.args:
            yield str(package)
