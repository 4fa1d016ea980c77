"""The pace of requests to one server, by a clock of the test's own."""

from __future__ import annotations

import asyncio

from heliostat.listing.pace import BURST_S, Pace


class Clock:
    """Time that passes when somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


async def test_no_second_sees_more_requests_than_the_rate_and_a_short_burst() -> None:
    clock = Clock()
    pace = Pace(20, 4, clock=clock, sleep=clock.sleep)
    began: list[float] = []
    for _ in range(100):
        async with pace:
            began.append(clock())
    busiest = max(sum(1 for other in began if start <= other < start + 1) for start in began)
    assert busiest <= 20 * (1 + BURST_S) + 1
    assert began[-1] - began[0] >= 100 / 20 - 2 * BURST_S
    assert pace.requests == 100


async def test_a_pause_gives_no_right_to_more() -> None:
    clock = Clock()
    pace = Pace(10, 4, clock=clock, sleep=clock.sleep)
    async with pace:
        pass
    clock.now_s += 3600
    before = clock()
    for _ in range(20):
        async with pace:
            pass
    assert clock() - before >= 1.5


async def test_a_rest_is_kept_by_everybody() -> None:
    clock = Clock()
    pace = Pace(1000, 4, clock=clock, sleep=clock.sleep)
    pace.rest(30)
    async with pace:
        assert clock() >= 130


async def test_so_many_at_once_and_no_more() -> None:
    pace = Pace(1e6, 3)
    now, most = 0, 0

    async def request() -> None:
        nonlocal now, most
        async with pace:
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1

    await asyncio.gather(*(request() for _ in range(30)))
    assert most == 3
