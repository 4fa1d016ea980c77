"""The metrics of the processes, the certificate and the watch; those of the counts are in `counts`.

A label is a mirror of the state, a kind of fault or a family: series stay few.
`docs/reference/metrics.md` says the same as SPECS; a test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from heliostat.edge.counts.metrics import PREFIX, Spec

SPECS: Final = (
    Spec("drained", "gauge", (), "1: taken out by hand."),
    Spec("stopping", "gauge", (), "1: told to end, serving on for drain_s."),
    Spec("workers_wanted", "gauge", (), "Workers there should be."),
    Spec("workers_connected", "gauge", (), "Workers connected to the steward."),
    Spec("process_restarts_total", "counter", (), "Processes that ended by themselves."),
    Spec("certificate_end_timestamp_seconds", "gauge", (), "End of the certificate, Unix time."),
    Spec("certificate_refused", "gauge", (), "1: newer files are no good, the old one is in use."),
    Spec("certificate_refusals_total", "counter", (), "Certificate files that were no good."),
    Spec("state_refused_total", "counter", ("fault",), "Offered states that were refused."),
    Spec("state_source_up", "gauge", ("source",), "1: the source answered when asked last."),
    Spec("state_source_version", "gauge", ("source",), "Version of state it offered last."),
    Spec("watch_looks_total", "counter", (), "Looks at mirrors."),
    Spec("watch_failures_total", "counter", ("kind",), "Looks that found something wrong."),
    Spec("watch_lines", "gauge", ("mirror",), "Ways to a mirror: scheme and family."),
    Spec("watch_lines_down", "gauge", ("mirror",), "Those that no client is sent to now."),
    Spec("watch_suspects_itself", "gauge", (), "1: takes its own network to be at fault."),
    Spec("reports_total", "counter", (), "Reports of the watch that the manager took."),
    Spec("reports_failed_total", "counter", (), "Reports that it did not take."),
    Spec("allowance_given_bytes", "gauge", ("mirror", "part"), "What this node may spend of it."),
    Spec("allowance_taken_bytes", "gauge", ("mirror", "part"), "What of it workers took."),
    Spec("line_full", "gauge", ("mirror",), "1: its line is full; others are asked instead."),
    Spec("watch_family_lacking", "gauge", ("family",), "1: this machine seems to lack it."),
)

Values = Mapping[str, Mapping[Any, float]]
"""Name of a metric → labels → value; labels are one text, or () for none."""

Source = Callable[[], Iterable[Metric]]


def metrics_of(values: Values) -> Iterator[Metric]:
    """Every metric of SPECS; one that isn't in `values` has no sample."""
    for spec in SPECS:
        make = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
        family = make(PREFIX + spec.name, spec.help, labels=spec.labels)
        for labels, value in values.get(spec.name, {}).items():
            family.add_metric([labels] if isinstance(labels, str) else list(labels), value)
        yield family


def text_of(source: Source) -> str:
    """What `source` gives, in Prometheus' text form: for a steward that doesn't count."""

    class Once:
        def collect(self) -> Iterable[Metric]:
            return source()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Once())
    return generate_latest(registry).decode()
