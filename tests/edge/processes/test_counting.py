"""What workers count reaches /metrics and the access log, past the death of a steward."""

from __future__ import annotations

import re
from pathlib import Path

from tests.edge.processes.helpers import PATH, admin, kill, made, pids, serves, until


def test_counts_and_log_lines_of_all_workers_reach_the_steward(tmp_path: Path) -> None:
    with made(tmp_path, access_log=str(tmp_path / "access.log")) as edge:
        until(lambda: serves(edge, 2))
        for number in range(40):
            assert edge.get(PATH, X_Forwarded_For=f"198.51.{number}.1").status == 302
        until(lambda: _redirects(admin(edge, "/metrics")) == 40)
        log_file = tmp_path / "access.log"
        until(lambda: log_file.exists() and len(log_file.read_text().splitlines()) == 40)
        kill(pids(edge.pid or 0, "edge-steward")[0])
        for number in range(20):
            assert edge.get(PATH, X_Forwarded_For=f"198.51.{number}.2").status == 302
        until(lambda: serves(edge, 2))
        until(lambda: _redirects(admin(edge, "/metrics")) == 20)
        until(lambda: len(log_file.read_text().splitlines()) == 60)


def _redirects(metrics: str) -> float:
    found = re.search(
        r'^heliostat_edge_requests_total\{status="302"\} (\S+)$', metrics, re.MULTILINE
    )
    return float(found[1]) if found else 0
