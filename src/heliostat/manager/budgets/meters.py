"""Reads providers' own figures, each at its pace, and keeps them.

A provider that fails, or says nothing new, holds up nothing: budgets then go by our own accounts.
Import only after `setup_django`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Final

import structlog

from heliostat.budget.providers import ProviderError, open_provider
from heliostat.manager.budgets.facts import BudgetFacts, Facts
from heliostat.manager.budgets.readings import store_reading
from heliostat.manager.setup import in_database

log = structlog.get_logger()

EVERY: Final = timedelta(minutes=10)
"""Between two questions to one provider: their figures come by the hour, or by the minute."""
AFTER_FAULT: Final = timedelta(minutes=30)
AT_ONCE: Final = 4


class Meters:
    """When each provider is to be asked again."""

    def __init__(self) -> None:
        self._due: dict[str, datetime] = {}

    async def read(self, facts: Facts, now: datetime) -> None:
        """Asks those that are due; stores what they say."""
        due = [
            one
            for name, one in facts.budgets.items()
            if one.budget.provider is not None
            and one.budget.provider.kind != "manual"
            and self._due.get(name, now) <= now
        ]
        turns = asyncio.Semaphore(AT_ONCE)

        async def ask(one: BudgetFacts) -> None:
            async with turns:
                await self._ask(one, now)

        await asyncio.gather(*(ask(one) for one in due))

    async def _ask(self, facts: BudgetFacts, now: datetime) -> None:
        name, source = facts.mirror.name, facts.budget.provider
        assert source is not None
        try:
            provider = open_provider(source, name)
            reading = await provider.usage(facts.period.start, now)
        except ProviderError as error:
            self._due[name] = now + AFTER_FAULT
            log.warning("a provider's figures can't be read", mirror=name, reason=str(error))
            return
        self._due[name] = now + EVERY
        await in_database(store_reading, name, facts.period.start, reading)
