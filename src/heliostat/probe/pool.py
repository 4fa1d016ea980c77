"""Runs one coroutine an item, a bounded number at a time; the first exception ends them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

ItemT = TypeVar("ItemT")


async def run_bounded(
    items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], at_once: int
) -> None:
    """Awaits `work(item)` for every item. Raises: whatever `work` raises, after cleaning up."""
    waiting = iter(items)

    async def worker() -> None:
        for item in waiting:  # one iterator for all workers: each takes the next
            await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
