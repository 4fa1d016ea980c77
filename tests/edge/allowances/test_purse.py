"""Purses of many workers over one ledger, in any order of grants, charges, kills and restarts."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from heliostat.edge.allowances import purse as module
from heliostat.edge.allowances.accounts import GENERAL, RESERVE
from heliostat.edge.allowances.ledger import LEDGER_NAME, Ledger
from heliostat.edge.allowances.purse import LEAST_LEFT_BYTES, Purse
from tests.edge.allowances.test_accounts import given_to
from tests.edge.allowances.test_ledger import Clock

WORKERS = 3
ENDS_S = 5_000.0


async def filled(purse: Purse) -> None:
    """What `run` does, without its pauses."""
    assert purse._ledger is not None
    purse._look(purse._ledger)
    await purse._fill(purse._ledger)


class Node(RuleBasedStateMachine):
    """One node whose manager gives, whose workers charge, and which anything may happen to."""

    @initialize()
    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.clock = Clock()
        self.loop = asyncio.new_event_loop()
        self.steward = self.clock.ledger(self.folder)
        self.given: dict[tuple[str, int, str], int] = {}
        self.charged: dict[str, int] = {GENERAL: 0, RESERVE: 0}
        self.charged_late = 0
        self.epoch = 0
        self.reported: dict[tuple[str, int, str], int] = {}
        self.workers = [self.worker() for _ in range(WORKERS)]

    def worker(self) -> Purse:
        purse = Purse(self.clock.ledger(self.folder), WORKERS)
        purse.use(["cdn"])
        return purse

    def give(self, general: int, reserve: int) -> None:
        purse = self.steward.read().purse
        for part, given in ((GENERAL, general), (RESERVE, reserve)):
            key = purse, self.epoch, part
            self.given[key] = self.given.get(key, 0) + given
        sums = [self.given[purse, self.epoch, part] for part in (GENERAL, RESERVE)]
        allowance = given_to("cdn", self.epoch, *sums, purse=purse, ends_s=ENDS_S)
        self.steward.accept([allowance])
        if general % 3 == 0:  # an answer that comes twice
            self.steward.accept([allowance])

    @rule(general=st.integers(0, 5_000), reserve=st.integers(0, 500), is_new=st.booleans())
    def manager_gives(self, general: int, reserve: int, is_new: bool) -> None:
        if is_new or not self.epoch:
            self.epoch += 1
        self.give(general, reserve)

    @rule(which=st.integers(0, WORKERS - 1))
    def worker_fills(self, which: int) -> None:
        self.loop.run_until_complete(filled(self.workers[which]))

    @rule(
        which=st.integers(0, WORKERS - 1),
        sizes=st.lists(st.integers(1, 900), min_size=1, max_size=20),
        is_reserve=st.booleans(),
    )
    def worker_charges(self, which: int, sizes: list[int], is_reserve: bool) -> None:
        purse = self.workers[which]
        for size_bytes in sizes:
            charge = purse.charge_reserve if is_reserve else purse.charge
            if charge("cdn", size_bytes):
                self.charged[RESERVE if is_reserve else GENERAL] += size_bytes
            else:
                is_spent = purse.is_reserve_spent if is_reserve else purse.is_spent
                assert is_spent("cdn")

    @rule(which=st.integers(0, WORKERS - 1))
    def worker_is_killed(self, which: int) -> None:
        self.workers[which] = self.worker()

    @rule(which=st.integers(0, WORKERS - 1))
    def worker_ends_cleanly(self, which: int) -> None:
        self.loop.run_until_complete(self.workers[which].close())
        assert not self.workers[which].charge("cdn", 1)
        self.workers[which] = self.worker()

    @rule()
    def disk_is_lost(self) -> None:
        (self.folder / LEDGER_NAME).unlink(missing_ok=True)
        self.workers = [self.worker() for _ in self.workers]

    @rule(seconds=st.floats(0, 100), step=st.floats(-1e6, 1e6))
    def time_goes_on(self, seconds: float, step: float) -> None:
        self.clock.go(seconds)
        if self.clock.wall_s + step > 0:
            self.clock.wall_s += step

    @rule()
    def node_reports(self) -> None:
        accounts = self.steward.read()
        for one in accounts.told():
            key = accounts.purse, one["epoch"], one["part"]
            self.reported[key] = max(self.reported.get(key, 0), one["taken"])

    @invariant()
    def never_more_than_was_given(self) -> None:
        if not hasattr(self, "given"):
            return
        for part in (GENERAL, RESERVE):
            total = sum(given for (_, _, of), given in self.given.items() if of == part)
            assert self.charged[part] <= total
        for key, reported in self.reported.items():
            assert reported <= self.given.get(key, 0)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.run_until_complete(self.loop.shutdown_default_executor())
            self.loop.close()
            self._folder.cleanup()


TestNode = Node.TestCase
TestNode.settings = settings(
    max_examples=40,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)


# one by one


def setting(tmp_path: Path, general: int, reserve: int = 0, workers: int = 1) -> Purse:
    ledger = Ledger(tmp_path, "fra")
    ledger.accept([given_to("cdn", 1, general, reserve, purse=ledger.read().purse)])
    purse = Purse(ledger, workers)
    purse.use(["cdn"])
    return purse


async def until(what: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not what():
            await asyncio.sleep(0.005)


async def test_without_an_allowance_everything_is_spent(tmp_path: Path) -> None:
    for purse in (Purse(), Purse(Ledger(tmp_path, "fra"), 1)):
        purse.use(["cdn"])
        assert purse.is_spent("cdn")
        assert not purse.charge("cdn", 1)
        assert not purse.charge_reserve("cdn", 1)


async def test_what_was_given_is_spent_to_the_last_file_and_no_further(tmp_path: Path) -> None:
    purse, charged = setting(tmp_path, 1_000_000), 0
    task = asyncio.create_task(purse.run())
    while charged < 1_000_000:
        await until(lambda: not purse.is_spent("cdn"))
        while purse.charge("cdn", 1_000):
            charged += 1_000
    assert charged == 1_000_000
    await asyncio.sleep(3 * module.PAUSE_S)
    assert purse.is_spent("cdn")
    task.cancel()


async def test_what_comes_later_is_taken_up(tmp_path: Path) -> None:
    purse = setting(tmp_path, 0)
    task = asyncio.create_task(purse.run())
    await asyncio.sleep(0.1)
    assert purse.is_spent("cdn")
    steward = Ledger(tmp_path, "fra")
    steward.accept([given_to("cdn", 1, 5_000, purse=steward.read().purse)])
    await until(lambda: not purse.is_spent("cdn"))
    task.cancel()


async def test_who_listens_hears_at_once_that_it_is_used_up(tmp_path: Path) -> None:
    purse, heard = setting(tmp_path, 1_000), []
    purse.on_change = lambda: heard.append(purse.is_spent("cdn"))
    await filled(purse)
    assert heard == [False]
    while purse.charge("cdn", 50):
        pass
    assert heard == [False, True]


async def test_a_file_too_large_for_the_rest_leaves_it_to_smaller_ones(tmp_path: Path) -> None:
    purse = setting(tmp_path, 10 * LEAST_LEFT_BYTES)
    await filled(purse)
    assert not purse.charge("cdn", 20 * LEAST_LEFT_BYTES)
    assert purse.is_spent("cdn")
    await filled(purse)
    assert not purse.is_spent("cdn")
    assert purse.charge("cdn", 1_000)


async def test_a_refused_file_is_paid_once_there_is_enough_for_it(tmp_path: Path) -> None:
    purse = setting(tmp_path, 1_000_000, workers=100)
    await filled(purse)
    assert not purse.charge("cdn", 900_000)
    await filled(purse)
    assert purse.charge("cdn", 900_000)


async def test_the_reserve_is_apart(tmp_path: Path) -> None:
    purse = setting(tmp_path, 0, reserve=1_000)
    await filled(purse)
    assert purse.is_spent("cdn")
    assert not purse.is_reserve_spent("cdn")
    assert not purse.charge("cdn", 1)
    assert purse.charge_reserve("cdn", 1)


async def test_what_ends_with_the_period_is_not_spent_after_it(tmp_path: Path) -> None:
    clock = Clock()
    ledger = clock.ledger(tmp_path)
    ledger.accept([given_to("cdn", 1, 1_000, purse=ledger.read().purse, ends_s=1_010.0)])
    purse = Purse(ledger, 1)
    purse.use(["cdn"])
    await filled(purse)
    assert purse.charge("cdn", 10)
    clock.go(10.0)
    await filled(purse)
    assert not purse.charge("cdn", 10)


async def test_a_period_ends_for_one_mirror_however_busy_another_is(tmp_path: Path) -> None:
    clock = Clock()
    ledger = clock.ledger(tmp_path)
    mine = ledger.read().purse
    ledger.accept([given_to("ends", 1, 1_000, purse=mine, ends_s=1_010.0)])
    ledger.accept([given_to("busy", 1, 1 << 60, purse=mine)])
    purse = Purse(ledger, 1)
    purse.use(["ends", "busy"])
    task = asyncio.create_task(purse.run())
    await until(lambda: purse.charge("ends", 1))
    clock.go(10.0)

    def is_over() -> bool:
        for _ in range(100):  # it wants more all the time
            purse.charge("busy", purse.pocket("busy").left_bytes // 100)
        return purse.is_spent("ends")

    await until(is_over)
    assert not purse.charge("ends", 1)
    busy = ledger.read().current("busy")
    assert busy is not None
    assert busy.left(GENERAL) > 1 << 40, "it was still wanted then"
    task.cancel()


async def test_a_clean_end_gives_back_what_is_left(tmp_path: Path) -> None:
    purse = setting(tmp_path, 1_000_000)
    await filled(purse)
    assert purse.charge("cdn", 100)
    await purse.close()
    epoch = Ledger(tmp_path, "fra").read().current("cdn")
    assert epoch is not None
    assert epoch.taken[GENERAL] == 100


async def test_a_disk_that_fails_and_comes_back_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.05)
    purse = setting(tmp_path, 1_000)
    held = tmp_path / LEDGER_NAME
    held.rename(tmp_path / "aside")
    held.mkdir()
    task = asyncio.create_task(purse.run())
    await asyncio.sleep(0.2)
    assert purse.is_spent("cdn")
    held.rmdir()
    (tmp_path / "aside").rename(held)
    await until(lambda: not purse.is_spent("cdn"))
    task.cancel()
