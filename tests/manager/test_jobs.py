"""Schedules, kept catalogs, the stamp of changes and the boundary: what the jobs stand on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from heliostat.catalog.store import catalog_path
from heliostat.config.load import LoadedConfig, load_config
from heliostat.geo.errors import GeoError
from heliostat.manager.boundary import REMIND_S, Boundary
from heliostat.manager.errors import UnknownMirrorError
from heliostat.manager.jobs import Jobs
from heliostat.manager.probing.changes import change_stamp
from heliostat.manager.probing.runs import run_liveness
from heliostat.manager.probing.scans import run_scans
from heliostat.manager.publish import Publisher
from heliostat.manager.registry.mirrors import set_enabled
from heliostat.manager.rounds import Rounds
from heliostat.manager.setup import in_database
from heliostat.manager.trees import KeptCatalogs, load_catalogs, scan_tree
from heliostat.model.errors import RefusedError
from tests.manager.samples import declare, register

PATIENCE_S = 30


@asynccontextmanager
async def running(rounds: Rounds) -> AsyncIterator[None]:
    task = asyncio.create_task(rounds.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not what():
            await asyncio.sleep(0.005)


class Looks:
    """Counts looks; those at a name in `gates` last until its gate is open."""

    def __init__(self, *gated: str) -> None:
        self.seen: list[str] = []
        self.now: set[str] = set()
        self.most = 0
        self.gates = {name: asyncio.Event() for name in gated}

    async def __call__(self, name: str) -> None:
        assert name not in self.now, "two looks at one thing at once"
        self.seen.append(name)
        self.now.add(name)
        self.most = max(self.most, len(self.now))
        if name in self.gates:
            await self.gates[name].wait()
        await asyncio.sleep(0)
        self.now.discard(name)


async def test_one_that_hangs_holds_up_only_itself() -> None:
    looks = Looks("black hole")
    rounds = Rounds(looks, period_s=0.01, at_once=2)
    rounds.assign({"black hole": 1, "good": 1, "fine": 1})
    async with running(rounds):
        await until(lambda: looks.seen.count("good") > 5 and looks.seen.count("fine") > 5)
    assert looks.seen.count("black hole") == 1
    assert looks.most == 2


async def test_new_and_changed_things_are_looked_at_at_once_and_gone_ones_never_again() -> None:
    looks = Looks()
    rounds = Rounds(looks, period_s=1e6, at_once=8)
    rounds.assign({"old": 1, "moved": 1, "gone": 1})
    async with running(rounds):
        await until(lambda: len(looks.seen) == 3)
        rounds.assign({"old": 1, "moved": 2, "new": 1})
        await until(lambda: len(looks.seen) == 5)
        rounds.want_all()
        await until(lambda: len(looks.seen) == 8)
    assert sorted(looks.seen) == ["gone", *["moved"] * 3, *["new"] * 2, *["old"] * 2]


async def test_what_is_wanted_while_it_is_looked_at_is_looked_at_again_when_done() -> None:
    looks = Looks("slow")
    rounds = Rounds(looks, period_s=1e6, at_once=8)
    rounds.assign({"slow": 1, "quick": 1})
    async with running(rounds):
        await until(lambda: len(looks.seen) == 2)
        rounds.want_all()
        await until(lambda: looks.seen.count("quick") == 2)
        assert looks.seen.count("slow") == 1
        looks.gates["slow"].set()
        await until(lambda: looks.seen.count("slow") == 2)


async def test_a_slow_one_rests_as_long_as_it_took() -> None:
    now_s, seen = 0.0, []

    async def look(name: str) -> None:
        nonlocal now_s
        seen.append(now_s)
        now_s += 100

    rounds = Rounds(look, period_s=30, at_once=1, clock=lambda: now_s)
    rounds.assign({"slow": 1})
    async with running(rounds):
        await until(lambda: seen)
        now_s = 199
        rounds.assign({"slow": 1})  # wakes it
        rounds._woken.set()
        await asyncio.sleep(0.05)
        assert seen == [0.0]
        now_s = 200
        rounds._woken.set()
        await until(lambda: len(seen) == 2)


@pytest.fixture
def with_tree(tmp_path: Path) -> LoadedConfig:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x.iso").write_bytes(b"x" * 1000)
    config = tmp_path / "heliostat.toml"
    config.write_text('[[tree]]\nname = "isos"\nroot = "tree"\n')
    return load_config(config, {})


def scan(loaded: LoadedConfig) -> None:
    scan_tree(loaded, loaded.config.trees[0].to_tree())


def test_a_catalog_is_read_again_only_when_it_has_a_new_version(with_tree: LoadedConfig) -> None:
    kept = KeptCatalogs(with_tree)
    assert not kept.refresh("isos")
    assert not kept.tables
    scan(with_tree)
    assert kept.refresh("isos")
    first = kept.tables["isos"]
    assert [sample.path for sample in kept.newest["isos"]] == [b"x.iso"]
    scan(with_tree)
    assert not kept.refresh("isos")
    assert kept.tables["isos"] is first
    (with_tree.path.parent / "tree" / "y.iso").write_bytes(b"y")
    scan(with_tree)
    assert kept.refresh("isos")
    assert kept.tables["isos"].paths == load_catalogs(with_tree)["isos"].paths
    assert len(kept.tables["isos"]) == 2


def test_a_catalog_made_anew_or_removed_is_seen(with_tree: LoadedConfig) -> None:
    kept = KeptCatalogs(with_tree)
    scan(with_tree)
    kept.refresh("isos")
    identity = kept.tables["isos"].identity
    path = catalog_path(with_tree.data_dir, "isos")
    path.rename(path.with_suffix(".old"))  # keeps its inode taken
    assert kept.refresh("isos")
    assert (kept.tables, kept.newest) == ({}, {})
    scan(with_tree)
    assert kept.refresh("isos")
    assert kept.tables["isos"].identity != identity


async def test_whatever_routing_goes_by_changes_the_stamp(
    loaded: LoadedConfig,
) -> None:
    seen = [await in_database(change_stamp)]

    async def changed() -> bool:
        seen.append(await in_database(change_stamp))
        return seen[-1] != seen[-2]

    assert not await changed()
    await in_database(register, declare("a.example"))
    assert await changed()
    await in_database(set_enabled, "a.example", enabled=False)
    assert await changed()
    await in_database(set_enabled, "a.example", enabled=True)
    assert await changed()
    await run_liveness(loaded, names=["a.example"])  # its endpoint is found dead
    assert await changed()
    await run_liveness(loaded, names=["a.example"])  # still dead: nothing to publish
    assert not await changed()
    with pytest.raises(UnknownMirrorError):
        await run_scans(loaded, {}, ["b.example"])
    assert not await changed()


async def test_the_same_trouble_is_said_once_and_again_after_an_hour() -> None:
    now_s, reason = 0.0, "full"

    async def work() -> None:
        if reason:
            raise RefusedError(reason)

    boundary = Boundary(lambda: now_s)

    async def said() -> int:
        with capture_logs() as logs:
            await boundary.guarded("publish", work)
        return len(logs)

    assert [await said() for _ in range(3)] == [1, 0, 0]
    reason = "empty"
    assert [await said() for _ in range(3)] == [1, 0, 0]
    now_s += REMIND_S
    assert [await said() for _ in range(2)] == [1, 0]
    reason = ""
    await said()
    reason = "empty"
    assert await said() == 1, "it had gone well in between"


async def test_a_job_s_fault_is_logged_with_its_trace_and_ends_nothing() -> None:
    async def work() -> None:
        raise ZeroDivisionError

    with capture_logs() as logs:
        assert not await Boundary().guarded("odd", work)
    assert [(entry["log_level"], entry["job"]) for entry in logs] == [("error", "odd")]


RANGES = "198.51.100.0,198.51.100.255,{country}\n"


@pytest.fixture
def with_geo(loaded: LoadedConfig, config_path: Path, tmp_path: Path) -> LoadedConfig:
    """`loaded` with a tree that was scanned and a geo source of its own."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "x.iso").write_bytes(b"x" * 1000)
    write_ranges(tmp_path, "DE")
    config_path.write_text(config_path.read_text() + '[[geo]]\npath = "own.csv"\n')
    database = loaded.config.manager.database
    configuration = load_config(config_path, {"HELIOSTAT_MANAGER__DATABASE": database})
    scan(configuration)
    return configuration


def write_ranges(folder: Path, country: str) -> None:
    new = folder / "new.csv"
    new.write_text(RANGES.format(country=country))
    new.replace(folder / "own.csv")


def test_a_replaced_source_of_places_is_in_the_next_publication(
    with_geo: LoadedConfig, tmp_path: Path
) -> None:
    publisher = Publisher(with_geo)
    now = datetime.now(UTC)
    assert publisher.publish(now).changed
    assert not publisher.publish(now).changed
    stamp = publisher.places_stamp()
    write_ranges(tmp_path, "JP")
    assert publisher.places_stamp() != stamp
    assert publisher.publish(now).changed


def test_a_source_of_places_that_breaks_later_stops_no_publication(
    with_geo: LoadedConfig, tmp_path: Path
) -> None:
    publisher = Publisher(with_geo)
    publisher.publish(datetime.now(UTC))
    (tmp_path / "own.csv").write_bytes(b"")
    with capture_logs() as logs:
        for _ in range(2):
            assert not publisher.publish(datetime.now(UTC)).changed
    assert [entry["event"] for entry in logs] == ["the places of before stay"]
    with pytest.raises(GeoError):
        Publisher(with_geo).publish(datetime.now(UTC))


async def test_jobs_end_when_they_are_cancelled(loaded: LoadedConfig) -> None:
    task = asyncio.create_task(Jobs(loaded).run())
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(task, PATIENCE_S)
