"""What all looks together mean, and when looks are made: a watch over several real mirrors."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

from heliostat.edge.watch import WatchTarget
from tests.edge.watch.stage import FAST, Served, head, names, served, target, watching

DEAD = "http://127.0.0.9:9/"
"""Nobody listens there (RFC 863's port, and no machine does discard any more)."""


async def mirrors(stack: AsyncExitStack, count: int) -> tuple[list[Served], list[WatchTarget]]:
    servers = [
        await stack.enter_async_context(served(lambda *_: head(), f"127.0.1.{number + 1}"))
        for number in range(count)
    ]
    return servers, [target(f"m{i}", server.base) for i, server in enumerate(servers)]


def fail(servers: list[Served]) -> None:
    for server in servers:
        server.reply = lambda *_: b""


def mend(servers: list[Served]) -> None:
    for server in servers:
        server.reply = lambda *_: head()


def lines(*numbers: int) -> set[tuple[str, str, int]]:
    return {(f"m{number}", "http", 4) for number in numbers}


async def test_without_references_a_mirror_that_answers_proves_the_network() -> None:
    async with AsyncExitStack() as stack:
        servers, targets = await mirrors(stack, 4)
        running = await stack.enter_async_context(watching(*targets))
        fail(servers[:3])
        await running.down_is(*lines(0, 1, 2))
        assert not running.watch.report.suspects_itself
        mend(servers)
        await running.down_is()


async def test_without_references_it_suspects_itself_when_nobody_answers() -> None:
    async with AsyncExitStack() as stack:
        servers, targets = await mirrors(stack, 3)
        running = await stack.enter_async_context(watching(*targets))
        await running.until(lambda: all(running.looks(t.mirror) for t in targets))
        fail(servers)
        said = (
            "the watch suspects this machine's own network: 3 of 3 mirrors don't answer; serving"
            " goes by the state alone"
        )
        await running.until(lambda: running.watch.report.detail == (said,))
        assert running.watch.report.suspects_itself
        assert running.down == set()
        mend(servers)
        await running.until(lambda: running.watch.report.detail == ())
        # what it saw then was its own fault: no mirror has to earn its way back; whichever was
        # looked at last never went, as by then the watch suspected itself
        assert all(len(change.down) < len(servers) for change in running.changes)
        await asyncio.gather(*(running.looked(t.mirror, 4) for t in targets))
        assert running.down == set()


async def test_a_reference_that_answers_anything_means_that_the_mirrors_are_dead() -> None:
    async with AsyncExitStack() as stack:
        servers, targets = await mirrors(stack, 3)
        reference = await stack.enter_async_context(served(lambda *_: head(404), "127.0.2.1"))
        settings = replace(FAST, references=(DEAD, reference.base))
        running = await stack.enter_async_context(watching(*targets, settings=settings))
        await asyncio.gather(*(running.looked(t.mirror, 1) for t in targets))
        assert reference.asked == []
        fail(servers)
        await running.down_is(*lines(0, 1, 2))
        assert reference.asked
        assert not any(change.suspects_itself for change in running.changes)


async def test_it_suspects_itself_when_most_mirrors_and_all_references_are_silent() -> None:
    async with AsyncExitStack() as stack:
        servers, targets = await mirrors(stack, 4)
        reference = await stack.enter_async_context(served(lambda *_: b"", "127.0.2.1"))
        settings = replace(FAST, references=(DEAD, reference.base))
        running = await stack.enter_async_context(watching(*targets, settings=settings))
        fail(servers[:3])
        await running.until(lambda: running.watch.report.suspects_itself)
        assert running.down == set()
        (sentence,) = running.watch.report.detail
        assert "3 of 4 mirrors don't answer and none of 2 reference addresses does" in sentence
        reference.reply = lambda *_: head(500)
        await running.down_is(*lines(0, 1, 2))
        assert running.watch.report.detail == ()


async def test_half_of_the_mirrors_dead_is_believed_without_asking() -> None:
    async with AsyncExitStack() as stack:
        servers, targets = await mirrors(stack, 2)
        reference = await stack.enter_async_context(served(lambda *_: head(), "127.0.2.1"))
        settings = replace(FAST, references=(reference.base,))
        running = await stack.enter_async_context(watching(*targets, settings=settings))
        fail(servers[:1])
        await running.down_is(*lines(0))
        await running.looked("m1", 3)
        assert reference.asked == []


async def test_a_single_dead_mirror_is_down() -> None:
    async with watching(target("m0", DEAD)) as running:
        await running.down_is(*lines(0))


async def test_a_machine_without_a_family_takes_nobody_out_for_it_and_finds_it_again() -> None:
    async with AsyncExitStack() as stack:
        fours = [
            await stack.enter_async_context(served(lambda *_: head(), f"127.0.1.{n}"))
            for n in (1, 2, 3)
        ]
        ports = [int(server.base.split(":")[2].strip("/")) for server in fours]
        addresses = {f"x{n}": [f"127.0.1.{n + 1}", "::1"] for n in range(3)}
        targets = [
            target(f"m{n}", f"http://x{n}.example:{port}/", families=(4, 6))
            for n, port in enumerate(ports)
        ]
        running = await stack.enter_async_context(watching(*targets, lookup=names(**addresses)))
        await running.until(lambda: running.watch.report.lacking == {6})
        await running.down_is()
        assert "this machine seems to have no IPv6" in running.watch.report.detail[0]
        assert not running.watch.report.suspects_itself
        connects, since = running.watch.report.failures["connect"], time.monotonic()
        await running.looked("m1", 8)
        # its lines are left alone, but for one scout in a while
        scouts = (time.monotonic() - since) / (FAST.hot_every_s * (1 - FAST.jitter)) + 2
        assert running.watch.report.failures["connect"] - connects <= scouts

        # a machine that is dead over IPv4 is dead over IPv6, too
        fours[0].reply = lambda *_: b""
        await running.down_is(("m0", "http", 4), ("m0", "http", 6))
        mend(fours)
        await running.down_is()

        for port in ports:
            await stack.enter_async_context(served(lambda *_: head(), "::1", port=port))
        await running.until(lambda: running.watch.report.detail == ())
        await running.until(lambda: _answering(running.watch.report.mirrors, 6) == 3)
        await running.down_is()  # news are told a moment later, a few times a second


def _answering(reports: object, family: int) -> int:
    assert isinstance(reports, tuple)
    return sum(
        line.answering for report in reports for line in report.lines if line.family == family
    )


async def test_a_mirror_never_has_two_connections_of_the_watch() -> None:
    async def slowly(*_: str) -> bytes:
        await asyncio.sleep(0.05)
        return head()

    async with served(slowly) as server:
        port = int(server.base.split(":")[2].strip("/"))
        bases = (server.base, f"https://127.0.0.1:{port}/")
        async with watching(target("m", *bases)) as running:
            for _ in range(60):
                running.watch.look_now("m")
                running.watch.redirected(["m"])
                await asyncio.sleep(0.02)
            await running.looked("m", 3)
            assert server.open_most == 1


async def test_a_clients_repeat_is_looked_into_at_once_and_cannot_be_used_to_hammer() -> None:
    settings = replace(FAST, hot_every_s=60, cold_every_s=60, asked_every_s=0.5)
    async with (
        served(lambda *_: head()) as server,
        watching(target("m", server.base), settings=settings) as running,
    ):
        running.watch.look_now("m")
        running.watch.look_now("nobody")
        await running.until(lambda: running.looks("m") == 1)
        loop = asyncio.get_running_loop()
        start = loop.time()
        while loop.time() < start + 1.2:
            running.watch.look_now("m")
            await asyncio.sleep(0)
        assert 2 <= running.looks("m") <= 2 + (loop.time() - start) / 0.5


async def test_what_is_known_of_lines_that_stay_is_kept_when_the_state_changes() -> None:
    async with served(lambda *_: head(), "127.0.0.2") as good:
        mirror, other = target("m0", DEAD), target("other", good.base)
        async with watching(mirror, other) as running:
            await running.down_is(*lines(0))
            running.watch.use([other, target("m0", DEAD, "https://127.0.0.9:9/")])
            await running.down_is(*lines(0), ("m0", "https", 4))
            assert running.changes[0].down == frozenset(lines(0))
            assert all(change.down for change in running.changes)
            running.watch.use([other])
            await running.down_is()
            await running.looked("other", 2)


async def test_mirrors_that_clients_are_sent_to_are_looked_at_more_often() -> None:
    settings = replace(FAST, hot_every_s=0.1, cold_every_s=60)
    async with AsyncExitStack() as stack:
        _, targets = await mirrors(stack, 2)
        running = await stack.enter_async_context(watching(*targets, settings=settings))
        await running.until(lambda: running.looks("m0") == running.looks("m1") == 1)
        running.watch.redirected(["m1", "nobody"])
        await running.looked("m1", 5)
        assert running.looks("m0") == 1


async def test_more_mirrors_than_looks_at_once_are_all_looked_at_again_and_again() -> None:
    async def slowly(*_: str) -> bytes:
        await asyncio.sleep(0.02)
        return head()

    settings = replace(FAST, looks_at_once=2)
    async with served(slowly) as server:
        targets = [target(f"m{n}", server.base) for n in range(10)]
        async with watching(*targets, settings=settings) as running:
            await asyncio.gather(*(running.looked(f"m{n}", 4) for n in range(10)))
            assert server.open_most == 2


async def test_a_watch_that_was_cancelled_runs_on_where_it_was() -> None:
    async def slowly(*_: str) -> bytes:
        await asyncio.sleep(0.05)
        return head()

    async with served(slowly) as server:
        async with watching(target("m", server.base)) as running:
            await running.until(lambda: server.open_now == 1)
        task = asyncio.create_task(running.watch.run())
        await running.looked("m", 2)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
