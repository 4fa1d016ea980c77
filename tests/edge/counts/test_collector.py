"""From a worker's lists to names: nothing is lost, nothing counted twice, nothing believed."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from heliostat.edge.counts.accesslog import AccessLog
from heliostat.edge.counts.block import Download
from heliostat.edge.counts.collector import FLUSH_S, REPORTING_S, Collector
from heliostat.edge.counts.entries import AccessEntries, Entry
from heliostat.edge.counts.segment import read_segment
from heliostat.edge.counts.spool import Spool
from heliostat.edge.counts.tally import (
    MAX_PENDING_EVENTS,
    NOT_DOWNLOAD,
    SEAL_EVENTS,
    Tally,
    tag_of,
)
from heliostat.state.opened import State
from tests.edge.counts.stage import FILES, NAMES, make_state, number_of

NOW_S = 1_760_000_123.0
MINUTE = int(NOW_S // 60)
DE, US, JP = 1, 2, 3
COUNTRY = {0: "", DE: "DE", US: "US", JP: "JP"}
FILE = b"dir 3/file 333 \xff.iso"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> State:
    return make_state(tmp_path_factory.mktemp("state"))


class Bench:
    """A collector with clocks that stand still until they are moved."""

    def __init__(self, folder: Path, **log: bool) -> None:
        self.now_s = NOW_S
        self.up_s = 100.0
        self.spool = Spool(folder / "spool", 64 << 20, clock=lambda: self.up_s)
        self.log_path = folder / "access.log"
        self.collector = Collector(
            "node",
            self.spool,
            AccessLog(self.log_path, **log),
            clock=lambda: self.now_s,
            monotonic=lambda: self.up_s,
        )

    def spooled(self) -> Counter[tuple[int, bytes, str, str]]:
        """Closes it all; what the spool then holds."""
        self.collector.close()
        found: Counter[tuple[int, bytes, str, str]] = Counter()
        for segment in self.spool.segments():
            for block in read_segment(segment):
                assert block.node == "node"
                for minute, path, country, mirror, count in block:
                    found[minute, path, country, mirror] += count
        return found

    def metrics(self) -> dict[str, dict[tuple[str, ...], float]]:
        """Sample's name → its labels' values → value."""
        found: dict[str, dict[tuple[str, ...], float]] = {}
        for family in text_string_to_metric_families(self.collector.metrics()):
            for sample in family.samples:
                found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.collector.close()


def test_every_redirect_is_counted_by_all_it_has(state: State, bench: Bench) -> None:
    rng = random.Random(7)
    bench.collector.use(state)
    paths = [*rng.sample(sorted(FILES), 300), b"other/a", b"other/b/c"]
    expected: Counter[tuple[int, bytes, str, str]] = Counter()
    mirrors: Counter[tuple[str, ...]] = Counter()
    trees: Counter[tuple[str, ...]] = Counter()
    countries: Counter[tuple[str, ...]] = Counter()
    promised: Counter[tuple[str, ...]] = Counter()
    names = [routed.mirror.name for routed in state.router.world.mirrors]
    tallies = [Tally(state.version), Tally(state.version)]
    for _ in range(20_000):
        path, zone = rng.choice(paths), rng.randrange(4)
        mirror, is_download = rng.randrange(2), rng.random() < 0.8
        tally = rng.choice(tallies)
        tally.files.append(number_of(state, path))
        tally.tags.append(tag_of(zone, mirror) | (0 if is_download else NOT_DOWNLOAD))
        mirrors[names[mirror], "share"] += 1
        countries[COUNTRY[zone],] += 1
        trees["other" if path.startswith(b"other/") else "root",] += 1
        if is_download:
            expected[MINUTE, path, COUNTRY[zone], names[mirror]] += 1
            found = state.find(path)
            assert found is not None
            promised[names[mirror],] += found.size_bytes
        if rng.random() < 0.001:
            bench.collector.add(0, b"".join(tally.drain(NOW_S)))
    for index, tally in enumerate(tallies):
        for payload in tally.drain(NOW_S):
            bench.collector.add(index, payload)

    metrics = bench.metrics()
    assert metrics["heliostat_edge_redirects_total"] == mirrors
    assert metrics["heliostat_edge_redirects_by_country_total"] == countries
    assert metrics["heliostat_edge_redirects_by_tree_total"] == trees
    assert metrics["heliostat_edge_promised_bytes_total"] == promised
    assert metrics["heliostat_edge_downloads_total"] == {(): expected.total()}
    assert metrics["heliostat_edge_requests_total"] == {("302",): 20_000}
    assert bench.collector.redirected_since() == set(NAMES)
    assert bench.collector.redirected_since() == set()
    assert bench.spooled() == expected


def test_what_is_not_a_plain_redirect_is_counted_by_its_reason(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    tally = Tally(state.version)
    number = number_of(state, FILE)
    tally.count_redirect("repeat", number, DE, 1, is_download=True)
    tally.count_redirect("fallback", number, JP, None, is_download=True)
    tally.count_redirect("origin", number, JP, None, is_download=False)
    tally.count_redirect("a reason of tomorrow", number, JP, 0, is_download=False)
    tally.count_repeat(0, 0xC63364)
    tally.count(404)
    tally.count(404)
    tally.decided(15e-6)
    tally.decided(3.0)
    tally.block_misses, tally.connections, tally.sizes = 4, 17, {"files": 99}
    for payload in tally.drain(NOW_S):
        bench.collector.add(0, payload)
    metrics = bench.metrics()
    names = [routed.mirror.name for routed in state.router.world.mirrors]
    assert metrics["heliostat_edge_redirects_total"] == {
        (names[1], "repeat"): 1,
        ("", "fallback"): 1,
        ("", "origin"): 1,
        (names[0], "other"): 1,
    }
    assert metrics["heliostat_edge_requests_total"] == {("302",): 4, ("404",): 2}
    assert metrics["heliostat_edge_repeats_total"] == {(names[0],): 1}
    assert metrics["heliostat_edge_decision_seconds_count"] == {(): 2}
    assert metrics["heliostat_edge_decision_seconds_bucket"]["2e-05",] == 1
    assert metrics["heliostat_edge_cache_misses_total"]["header_blocks",] == 4
    assert metrics["heliostat_edge_cache_hits_total"]["header_blocks",] == 2
    assert metrics["heliostat_edge_cache_entries"] == {("files",): 99}
    assert metrics["heliostat_edge_connections"] == {(): 17}
    assert metrics["heliostat_edge_workers_reporting"] == {(): 1}
    assert metrics["heliostat_edge_state_version"] == {(): state.version}
    age_s = NOW_S - state.published_at.timestamp()
    assert metrics["heliostat_edge_state_age_seconds"][()] == pytest.approx(age_s)
    assert bench.spooled() == {
        (MINUTE, FILE, "DE", names[1]): 1,
        (MINUTE, FILE, "JP", ""): 1,
    }


def test_late_frames_are_counted_by_the_state_they_were_made_under(
    state: State, bench: Bench, tmp_path: Path
) -> None:
    make_state(tmp_path, {b"a new file": b"1"})  # each store counts its versions from 1
    other = make_state(tmp_path, {b"a new file": b"1", FILE: b"22"})
    assert other.version != state.version
    bench.collector.use(state)
    bench.collector.use(other)
    tally = Tally(state.version)
    tally.files.append(number_of(state, FILE))
    tally.tags.append(tag_of(DE, 0))
    tally.switch(other.version, NOW_S)
    tally.files.append(number_of(other, b"a new file"))
    tally.tags.append(tag_of(DE, 0))
    payloads = tally.drain(NOW_S)
    assert len(payloads) == 2
    for payload in payloads:
        bench.collector.add(0, payload)
    name = state.router.world.mirrors[0].mirror.name
    assert bench.spooled() == {
        (MINUTE, FILE, "DE", name): 1,
        (MINUTE, b"a new file", "DE", name): 1,
    }


def test_a_state_nobody_knows_of_is_said_to_be_lost(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    tally = Tally(state.version + 50)
    tally.files += [1, 2]
    tally.tags += [0, 0]
    bench.collector.add(0, tally.drain(NOW_S)[0])
    assert bench.metrics()["heliostat_edge_counts_lost_total"]["unknown_state",] == 2
    assert not bench.spooled()


def test_numbers_that_are_not_in_the_state_are_damaged_and_the_rest_counts(
    state: State, bench: Bench
) -> None:
    bench.collector.use(state)
    tally = Tally(state.version)
    tally.files += [0, (1 << 32) - 1, 25_002, 3, 4]
    tally.tags += [tag_of(DE, 1), tag_of(DE, 1), tag_of(DE, 1), tag_of(60_000, 1), tag_of(DE, 9)]
    bench.collector.add(0, tally.drain(NOW_S)[0])
    metrics = bench.metrics()
    assert metrics["heliostat_edge_counts_lost_total"]["damaged",] == 4
    assert bench.spooled().total() == 1


def test_a_worker_keeps_so_much_and_counts_what_it_drops(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    tally = Tally(state.version)
    sent = 0
    while sent < MAX_PENDING_EVENTS + 3 * SEAL_EVENTS:  # the steward is away
        tally.files += [sent % 25_000] * 1_000
        tally.tags += [tag_of(DE, 0)] * 1_000
        sent += 1_000
        if sent % SEAL_EVENTS == 0:
            tally.seal(NOW_S)
    payloads = tally.drain(NOW_S)
    assert sum(map(len, payloads)) < MAX_PENDING_EVENTS * 8 + 100_000
    for payload in payloads:
        bench.collector.add(0, payload)
    lost = bench.metrics()["heliostat_edge_counts_lost_total"]["worker",]
    assert lost == 3 * SEAL_EVENTS
    assert bench.spooled().total() == sent - lost
    assert len(tally.drain(NOW_S)) == 1


def test_endless_switching_of_states_keeps_memory_bounded() -> None:
    tally = Tally(1)
    for version in range(2, 400):
        tally.files.append(1)
        tally.tags.append(1)
        tally.count(404)
        tally.switch(version, NOW_S)
    assert len(tally.drain(NOW_S)) <= 101


def test_minutes_come_from_the_worker_unless_a_clock_has_jumped(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    for at_s in (NOW_S, NOW_S - 60, NOW_S + 7_200, NOW_S - 86_400):
        tally = Tally(state.version)
        tally.files.append(number_of(state, FILE))
        tally.tags.append(tag_of(DE, 0))
        bench.collector.add(0, tally.drain(at_s)[0])
    bench.now_s -= 1_000_000  # the machine's clock is set back: minutes go back, nothing breaks
    bench.collector.tick()
    tally.files.append(number_of(state, FILE))
    tally.tags.append(tag_of(DE, 0))
    bench.collector.add(0, tally.drain(bench.now_s)[0])
    by_minute: Counter[int] = Counter()
    for (minute, *_), count in bench.spooled().items():
        by_minute[minute] += count
    assert by_minute == {MINUTE: 3, MINUTE - 1: 1, int(bench.now_s // 60): 1}


def test_downloads_are_on_disk_soon_without_being_told_to_close(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    tally = Tally(state.version)
    tally.files.append(number_of(state, FILE))
    tally.tags.append(tag_of(DE, 0))
    bench.collector.add(0, tally.drain(NOW_S)[0])
    bench.collector.tick()
    bench.up_s += FLUSH_S
    bench.collector.tick()
    assert bench.spooled().total() == 1
    assert bench.spool.figures.written == 1


def test_workers_that_fall_silent_are_no_longer_counted(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    bench.collector.add(0, Tally(state.version).drain(NOW_S)[0])
    bench.collector.add(1, Tally(state.version - 1).drain(NOW_S)[0])
    assert bench.metrics()["heliostat_edge_workers_reporting"] == {(): 2}
    assert bench.metrics()["heliostat_edge_workers_on_old_state"] == {(): 1}
    bench.up_s += REPORTING_S + 1
    assert bench.metrics()["heliostat_edge_workers_reporting"] == {(): 0}


def test_a_mirror_clients_come_back_from_is_reported_and_one_client_is_not_enough(
    state: State, bench: Bench
) -> None:
    bench.collector.use(state)
    tally = Tally(state.version)
    for mirror in (0, 1):
        tally.files += [0] * 2_000
        tally.tags += [tag_of(DE, mirror)] * 2_000
    for _ in range(5_000):  # one network repeats as often as it likes
        tally.count_repeat(0, 0x123456)
    for network in range(60):
        tally.count_repeat(1, network)
    for payload in tally.drain(NOW_S):
        bench.collector.add(0, payload)
    bench.up_s += 30
    bench.collector.tick()
    assert [one.mirror for one in bench.collector.suspicions] == [
        state.router.world.mirrors[1].mirror.name
    ]
    assert "60 networks" in str(bench.collector.suspicions[0])
    name = bench.collector.suspicions[0].mirror
    assert bench.metrics()["heliostat_edge_repeats_unusual"] == {(name,): 60}


@given(st.binary(max_size=400))
def test_any_bytes_as_a_frame_are_dropped(data: bytes) -> None:
    _any_frame(data)


@given(st.data())
def test_a_frame_with_changed_bytes_is_taken_or_dropped(data: st.DataObject) -> None:
    tally = Tally(1)
    tally.files += [1, 2, 3]
    tally.tags += [tag_of(1, 1)] * 3
    tally.count_redirect("repeat", 1, 1, 1, is_download=True)
    tally.count_repeat(1, 7)
    tally.count(404)
    payload = bytearray(tally.drain(NOW_S)[0])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(payload) - 1))
        payload[at] = data.draw(st.integers(0, 255))
    _any_frame(bytes(payload[: data.draw(st.integers(0, len(payload)))]))
    _any_frame(bytes(payload))


_SHARED: list[Bench] = []


@pytest.fixture(scope="module", autouse=True)
def _any_bench(state: State, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    bench = Bench(tmp_path_factory.mktemp("any"))
    bench.collector.use(state)
    _SHARED.append(bench)
    yield
    _SHARED.pop().collector.close()


def _any_frame(data: bytes) -> None:
    """Must not raise, and must leave the collector able to speak."""
    collector = _SHARED[0].collector
    collector.add(0, data)
    collector.add_entries(0, data)
    collector.tick()


def test_after_all_those_frames_it_still_works() -> None:
    assert _SHARED[0].metrics()["heliostat_edge_count_frames_refused_total"][()] > 0


def test_entries_reach_the_log(bench: Bench) -> None:
    entries = AccessEntries()
    entries.append(Entry(NOW_S, "198.51.100.77", b"GET", b"/x", "1.1", 302, "near", b"", b"curl/8"))
    payload = entries.drain()
    assert payload is not None
    assert entries.drain() is None
    bench.collector.add_entries(0, payload)
    bench.collector.reopen()
    bench.collector.close()
    when = datetime.fromtimestamp(NOW_S).astimezone().strftime("%Y")
    line = bench.log_path.read_text()
    assert line.startswith("198.51.100.0 - - [")
    assert when in line
    assert line.endswith('"GET /x HTTP/1.1" 302 - "-" "curl/8"\n')


def test_records_carry_words_not_numbers(state: State, bench: Bench) -> None:
    bench.collector.use(state)
    tally = Tally(state.version)
    tally.files.append(number_of(state, b"other/b/c"))
    tally.tags.append(tag_of(JP, 0))
    bench.collector.add(0, tally.drain(NOW_S)[0])
    bench.collector.close()
    (segment,) = bench.spool.segments()
    (block,) = read_segment(segment)
    name = state.router.world.mirrors[0].mirror.name
    assert list(block) == [Download(MINUTE, b"other/b/c", "JP", name, 1)]
