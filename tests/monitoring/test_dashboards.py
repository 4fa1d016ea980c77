"""The dashboards are what their maker writes, and Prometheus takes every expression in them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tools.make_dashboards import DASHBOARDS, FOLDER, files


@pytest.mark.parametrize("name", sorted(files()))
def test_a_dashboard_is_what_its_maker_writes(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == files()[name], (
        "run: python tools/make_dashboards.py"
    )


def test_panels_fill_rows_and_overlap_nowhere() -> None:
    for text in files().values():
        taken: set[tuple[int, int]] = set()
        for panel in json.loads(text)["panels"]:
            at = panel["gridPos"]
            cells = {(at["x"] + column, at["y"]) for column in range(at["w"])}
            assert not cells & taken
            assert max(x for x, _ in cells) < 24
            taken |= cells


@pytest.mark.needs("prometheus")
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    found = [
        text.replace("$edge", ".*")
        for panels in DASHBOARDS.values()
        for panel in panels
        for text, _ in panel.queries
    ]
    rules = [{"record": f"panel:number{at}", "expr": text} for at, text in enumerate(found)]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
