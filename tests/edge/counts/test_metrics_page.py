"""The page of metrics and the code say the same, both ways."""

from __future__ import annotations

import ast
import re
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

import heliostat.edge
from heliostat.edge.counts.collector import Collector
from heliostat.edge.counts.frame import REASONS
from heliostat.edge.counts.metrics import PREFIX, SPECS
from heliostat.edge.counts.spool import Spool

PAGE = Path(__file__).resolve().parents[3] / "docs/reference/metrics.md"
ROW = re.compile(r"^\| `(heliostat_[a-z_]+)` \| (\w+) \|([^|]*)\|([^|]*)\|([^|]*)\|$", re.MULTILINE)
NAME = re.compile(r"heliostat_edge_[a-z0-9_]*[a-z0-9]")


def documented() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Name → kind and labels; every row has a unit and a meaning."""
    found = {}
    for name, kind, labels, unit, meaning in ROW.findall(PAGE.read_text()):
        assert name not in found, f"{name} stands twice"
        assert unit.strip(), name
        assert meaning.strip(), name
        found[name] = (kind, tuple(re.findall(r"`(\w+)`", labels)))
    return found


def other_metrics() -> Iterator[tuple[str, str]]:
    """(name, kind or "") of metrics that stand as whole words in the edge's code."""
    kinds = {}
    names = set()
    for path in sorted(Path(heliostat.edge.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if NAME.fullmatch(node.value):
                    names.add(node.value)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                words = [a.value for a in node.args if isinstance(a, ast.Constant)]
                if node.func.id == "Figure" and len(words) > 1:
                    kinds[str(words[0])] = str(words[1])
    for name in sorted(names):
        yield name, kinds.get(name, "")


def test_every_metric_is_documented_and_none_else() -> None:
    page = documented()
    ours = {PREFIX + spec.name: (spec.kind, spec.labels) for spec in SPECS}
    others = dict(other_metrics())
    assert {name: page.get(name) for name in ours} == ours
    assert others.keys() <= page.keys(), f"not in {PAGE.name}: {others.keys() - page.keys()}"
    assert page.keys() <= ours.keys() | others.keys()
    assert all(page[name][0] == kind for name, kind in others.items() if kind)


def test_every_reason_is_explained() -> None:
    text = PAGE.read_text()
    assert [reason for reason in REASONS if f"| `{reason}` |" not in text] == []


def test_what_is_served_is_what_is_listed(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1 << 20, clock=time.monotonic)
    collector = Collector("n", spool, clock=time.time, monotonic=time.monotonic)

    def odd() -> Iterator[Metric]:
        family = GaugeMetricFamily("of_somebody_else", "It is.", labels=["mirror"])
        family.add_metric(['a "name"\nof two lines \\'], 1)
        yield family

    collector.register(odd)
    text = collector.metrics()
    collector.close()
    families = {family.name: family for family in text_string_to_metric_families(text)}
    listed = {PREFIX + spec.name: spec for spec in SPECS}
    for name, spec in listed.items():
        family = families.pop(name.removesuffix("_total"))
        assert family.type == spec.kind
        assert family.documentation == spec.help
    assert list(families) == ["of_somebody_else"]
    (sample,) = families["of_somebody_else"].samples
    assert sample.labels == {"mirror": 'a "name"\nof two lines \\'}
    assert "_created" not in text
