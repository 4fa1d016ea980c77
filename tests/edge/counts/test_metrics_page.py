"""The page of metrics and the code say the same, both ways."""

from __future__ import annotations

import ast
import inspect
import re
import time
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.parser import text_string_to_metric_families

import heliostat.edge
import heliostat.edge.watch.look
from heliostat.edge.counts.collector import Collector
from heliostat.edge.counts.frame import REASONS
from heliostat.edge.counts.metrics import PREFIX, SPECS
from heliostat.edge.counts.spool import Spool
from heliostat.edge.processes import figures
from heliostat.probe.results import FaultKind

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


def words_in_code() -> Iterator[str]:
    """Names of metrics that stand as whole words in the edge's code, beside its lists."""
    for path in sorted(Path(heliostat.edge.__path__[0]).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            word = node.value if isinstance(node, ast.Constant) else None
            if isinstance(word, str) and NAME.fullmatch(word):
                yield word


def test_every_metric_is_documented_and_none_else() -> None:
    specs = (*SPECS, *figures.SPECS)
    assert len({spec.name for spec in specs}) == len(specs)
    assert documented() == {PREFIX + spec.name: (spec.kind, spec.labels) for spec in specs}
    assert set(words_in_code()) <= documented().keys()


def test_every_reason_and_every_kind_of_fault_is_explained() -> None:
    text = PAGE.read_text()
    look = inspect.getsource(heliostat.edge.watch.look)
    kinds = {str(kind) for kind in FaultKind if f"FaultKind.{kind.name}" in look}
    assert "timeout" in kinds
    assert [word for word in {*REASONS, *kinds} if f"| `{word}` |" not in text] == []


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
