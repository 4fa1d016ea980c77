"""Every metric of the counts, and their text form (Prometheus exposition format 0.0.4).

Labels are never a cross product: mirror × reason is the largest, with at most 20,000 × 5.
`docs/reference/metrics.md` says the same; a test compares them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from heliostat.edge.counts.frame import DECISION_BUCKETS_S
from heliostat.edge.counts.spool import SpoolFigures
from heliostat.edge.counts.totals import Totals

PREFIX: Final = "heliostat_edge_"


class Spec(NamedTuple):
    """One metric: its name without PREFIX, kind, labels, and what it says."""

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


SPECS: Final = (
    Spec("requests_total", "counter", ("status",), "Answers by status."),
    Spec("redirects_total", "counter", ("mirror", "reason"), "Redirects by mirror and why."),
    Spec("redirects_by_country_total", "counter", ("country",), "Redirects by clients' country."),
    Spec("redirects_by_tree_total", "counter", ("tree",), "Redirects by tree."),
    Spec("downloads_total", "counter", (), "Redirects that begin a download."),
    Spec("promised_bytes_total", "counter", ("mirror",), "Sizes of the files of downloads."),
    Spec("repeats_total", "counter", ("mirror",), "Clients that asked again within a minute."),
    Spec("repeats_unusual", "gauge", ("mirror",), "Networks that repeated, where too many do."),
    Spec("decision_seconds", "histogram", (), "Time of one request in the edge, sampled."),
    Spec("cache_hits_total", "counter", ("cache",), "Lookups that a cache answered."),
    Spec("cache_misses_total", "counter", ("cache",), "Lookups that it didn't."),
    Spec("cache_entries", "gauge", ("cache",), "Entries of a cache, of all workers."),
    Spec("connections", "gauge", (), "Open connections of all workers."),
    Spec("workers_reporting", "gauge", (), "Workers that sent counts within 5 s."),
    Spec("workers_on_old_state", "gauge", (), "Those of them that serve by another state."),
    Spec("state_version", "gauge", (), "Version of the state; 0 for none."),
    Spec("state_published_timestamp_seconds", "gauge", (), "When it was published, Unix time."),
    Spec("state_age_seconds", "gauge", (), "How long ago that was."),
    Spec("counts_lost_total", "counter", ("why",), "Redirects or downloads not counted."),
    Spec("count_frames_refused_total", "counter", (), "Workers' frames that were damaged."),
    Spec("spool_bytes", "gauge", (), "Size of the spool on disk."),
    Spec("spool_segments", "gauge", (), "Files in it."),
    Spec("spool_downloads_total", "counter", (), "Downloads written to it and synced."),
    Spec("spool_merges_total", "counter", (), "Old segments added up to make room."),
    Spec("spool_segments_sent_total", "counter", (), "Of them, taken by the manager."),
    Spec("spool_segments_refused_total", "counter", (), "Of them, dropped as damaged."),
    Spec("access_log_lines_total", "counter", (), "Lines written to the access log."),
    Spec("access_log_lost_total", "counter", ("why",), "Lines that could not be."),
)


@dataclass(slots=True)
class WorkerSums:
    """Of the workers that report."""

    reporting: int
    on_old_state: int
    connections: int
    sizes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All there is to say at one moment."""

    totals: Totals
    workers: WorkerSums
    state_version: int
    state_published_s: float
    state_age_s: float
    suspicions: Mapping[str, int]
    spool: SpoolFigures
    log_lines: int
    log_lost: Mapping[str, int]


class _Once:
    """A collector of prometheus_client over one snapshot, and what others add."""

    def __init__(
        self, snapshot: Snapshot, sources: Iterable[Callable[[], Iterable[Metric]]]
    ) -> None:
        self._snapshot = snapshot
        self._sources = sources

    def collect(self) -> Iterator[Metric]:
        values = values_of(self._snapshot)
        for spec in SPECS:
            if spec.kind == "histogram":
                yield _decisions(spec, self._snapshot.totals)
            else:
                yield _family(spec, values[spec.name])
        for source in self._sources:
            yield from source()


def text_of(snapshot: Snapshot, sources: Iterable[Callable[[], Iterable[Metric]]] = ()) -> str:
    """The text of everything."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(snapshot, sources))
    return generate_latest(registry).decode()


def values_of(snapshot: Snapshot) -> dict[str, Mapping[Any, float]]:
    """Name of a metric → labels → value; labels are one text, a tuple of them, or () for none."""
    totals, workers, spool = snapshot.totals, snapshot.workers, snapshot.spool
    lost = Counter(totals.lost)
    lost["spool_full"] += spool.lost_full
    lost["disk"] += spool.lost_disk
    return {
        "requests_total": {str(status): count for status, count in totals.statuses.items()},
        "redirects_total": totals.redirects,
        "redirects_by_country_total": totals.countries,
        "redirects_by_tree_total": totals.trees,
        "downloads_total": {(): totals.downloads},
        "promised_bytes_total": totals.promised_bytes,
        "repeats_total": totals.repeats,
        "repeats_unusual": snapshot.suspicions,
        "cache_hits_total": totals.hits,
        "cache_misses_total": totals.misses,
        "cache_entries": workers.sizes,
        "connections": {(): workers.connections},
        "workers_reporting": {(): workers.reporting},
        "workers_on_old_state": {(): workers.on_old_state},
        "state_version": {(): snapshot.state_version},
        "state_published_timestamp_seconds": {(): snapshot.state_published_s},
        "state_age_seconds": {(): snapshot.state_age_s},
        "counts_lost_total": lost,
        "count_frames_refused_total": {(): totals.refused_frames},
        "spool_bytes": {(): spool.bytes},
        "spool_segments": {(): spool.segments},
        "spool_downloads_total": {(): spool.written},
        "spool_merges_total": {(): spool.merges},
        "spool_segments_sent_total": {(): spool.sent},
        "spool_segments_refused_total": {(): spool.refused},
        "access_log_lines_total": {(): snapshot.log_lines},
        "access_log_lost_total": snapshot.log_lost,
    }


def _family(spec: Spec, values: Mapping[Any, float]) -> Metric:
    make = CounterMetricFamily if spec.kind == "counter" else GaugeMetricFamily
    family = make(PREFIX + spec.name, spec.help, labels=spec.labels)
    for labels, value in values.items():
        family.add_metric([labels] if isinstance(labels, str) else list(labels), value)
    return family


def _decisions(spec: Spec, totals: Totals) -> Metric:
    family = HistogramMetricFamily(PREFIX + spec.name, spec.help)
    buckets, so_far = [], 0
    for bound, count in zip([*map(str, DECISION_BUCKETS_S), "+Inf"], totals.decisions, strict=True):
        so_far += count
        buckets.append((bound, so_far))
    family.add_metric([], buckets, totals.decisions_s)
    return family
