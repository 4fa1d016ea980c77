"""The expressions of the monitoring page that aren't alerts: Prometheus takes them.

The alerts have tests of their own, in tests/monitoring.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.docs.lines import ROOT

PAGE = ROOT / "docs" / "reference" / "monitoring.md"
METRICS = ROOT / "docs" / "reference" / "metrics.md"
EXPRESSION = re.compile(r"^\|.*?`((?:[^`|]|\\\|)+)` \|", re.MULTILINE)
SERIES_ENDS = ("_bucket", "_sum", "_count")


def expressions() -> list[str]:
    looks = PAGE.read_text(encoding="utf-8").partition("## What deserves a look")[2]
    return [text.replace("\\|", "|") for text in EXPRESSION.findall(looks)]


def test_every_metric_of_an_expression_exists() -> None:
    known = set(re.findall(r"^\| `(heliostat_edge_\w+)` \|", METRICS.read_text(), re.MULTILINE))
    used = {name for text in expressions() for name in re.findall(r"heliostat_edge_\w+", text)}
    for end in SERIES_ENDS:
        used = {name.removesuffix(end) for name in used}
    assert len(used) > 5
    assert used <= known


@pytest.mark.needs("prometheus")
def test_prometheus_takes_every_expression(tmp_path: Path) -> None:
    found = expressions()
    assert len(found) == 5
    rules = [{"record": f"told:number{at}", "expr": text} for at, text in enumerate(found)]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "page", "rules": rules}]}))
    done = subprocess.run(
        ["promtool", "check", "rules", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
