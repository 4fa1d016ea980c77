"""What a step reads from the database, and what it writes there; each in one go.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import Sum

from heliostat.budget.ledger import Part
from heliostat.budget.periods import Period
from heliostat.budget.reconcile import Spent
from heliostat.budget.sharing import limits
from heliostat.manager.budgets import models as rows
from heliostat.manager.budgets.accounts import (
    budgeted_mirrors,
    current_account,
    load_ledger,
    period_of_account,
)
from heliostat.manager.budgets.ratios import completion_ratios
from heliostat.manager.budgets.spent import learn_completion, reconciled
from heliostat.manager.probing.changes import count_change
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.model.budget import Budget
from heliostat.model.mirror import Mirror

SAMPLE_EVERY: Final = timedelta(minutes=30)
"""Of a budget's curve."""
NEW_FOR: Final = timedelta(hours=2)
"""Counts of hours before that are whole: spools are sent every few minutes."""


@dataclass(frozen=True, slots=True)
class BudgetFacts:
    """One budget now. Bytes are charged ones, of the current period."""

    mirror: Mirror
    budget: Budget
    period: Period
    spent: Spent
    taken_bytes: int
    """By what purses reported."""
    committed_bytes: int
    """Given out, or spent."""
    general_committed: int
    reserve_committed: int

    @property
    def left_bytes(self) -> int:
        """What may be spent until the period's end without touching the reserve as it is now."""
        return max(0, self.budget.stop_bytes - self.spent.bytes)


@dataclass(frozen=True, slots=True)
class Facts:
    """What one step goes by."""

    mirrors: Sequence[Mirror]
    budgets: Mapping[str, BudgetFacts]
    recent: Mapping[str, int]
    """Country → bytes of the last hours, cumulative over them: differences are rates."""
    releases: Sequence[tuple[datetime, datetime]]
    """(announced, at)."""
    prices: Mapping[str, float]
    """As they were told to edges last."""
    completion: Mapping[str, tuple[float, ...]]
    """By mirror: what redirects come to, as learned."""


def read_facts(now: datetime) -> Facts:
    """Everything a step needs, but for the history of demand."""
    budgets = {}
    for name, mirror in budgeted_mirrors().items():
        assert mirror.budget is not None
        if not mirror.enabled:
            continue
        with transaction.atomic():
            account = current_account(name, mirror.budget, now)
            ledger = load_ledger(account)
        taken = ledger.taken_bytes()
        budgets[name] = BudgetFacts(
            mirror,
            mirror.budget,
            period_of_account(account, mirror.budget),
            reconciled(account, taken, now),
            taken,
            ledger.committed_bytes(),
            ledger.committed_bytes(Part.GENERAL),
            ledger.committed_bytes(Part.RESERVE),
        )
    since = _hour(now - NEW_FOR)
    found = rows.Demand.objects.filter(at__gte=since, is_day=False).values_list("country")
    return Facts(
        list_mirrors(),
        budgets,
        {country: int(total) for country, total in found.annotate(total=Sum("bytes"))},
        list(rows.Release.objects.order_by("at").values_list("announced_at", "at")),
        current_prices(),
        completion_ratios(),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one step comes to for one mirror."""

    budget_ms: float
    capacity_ms: float
    planned_bytes_per_s: float = 0.0
    """Charged bytes that it is foreseen to send in the next hours."""
    forecast_bytes: int | None = None
    """Charged bytes at the period's end."""
    saved_ms_bytes: float = 0.0
    """Since the step before."""


def write_step(
    facts: Facts, outcomes: Mapping[str, Outcome], told: Mapping[str, float], now: datetime
) -> bool:
    """Stores a step; `told` are the prices that edges are to go by from now on.

    Returns whether a new state has to be published for them.
    """
    with transaction.atomic():
        for name, of_budget in facts.budgets.items():
            _write_account(of_budget, outcomes.get(name, Outcome(0.0, 0.0)), now)
        return _write_prices(outcomes, told, now)


def _write_account(facts: BudgetFacts, outcome: Outcome, now: datetime) -> None:
    name, spent = facts.mirror.name, facts.spent
    account = rows.Account.objects.select_for_update().get(mirror=name)
    if account.period_start != facts.period.start:
        return  # it rolled over meanwhile
    found = limits(
        facts.budget,
        facts.period.gone_share(now),
        excess_bytes=spent.bytes - facts.taken_bytes,
        general_committed=facts.general_committed,
        reserve_committed=facts.reserve_committed,
    )
    account.general_limit_bytes = found.general_bytes
    account.reserve_limit_bytes = found.reserve_bytes
    account.planned_bytes_per_s = outcome.planned_bytes_per_s
    account.spent_bytes, account.own_bytes = spent.bytes, facts.taken_bytes
    account.provider_bytes, account.provider_until = spent.provider_bytes, spent.until
    account.ratio = spent.ratio
    account.notes = list(spent.notes)
    account.forecast_bytes = outcome.forecast_bytes
    account.saved_ms_bytes += outcome.saved_ms_bytes
    account.updated_at = now
    account.save()
    if learn_completion(name, facts.period.start, now) is not None:
        count_change()
    last = rows.Sample.objects.filter(mirror=name).order_by("-at").first()
    if last is None or now - last.at >= SAMPLE_EVERY or last.period_start != facts.period.start:
        rows.Sample.objects.get_or_create(
            mirror=name,
            at=now,
            defaults={
                "period_start": facts.period.start,
                "own_bytes": facts.taken_bytes,
                "spent_bytes": spent.bytes,
                "price_ms": outcome.budget_ms + outcome.capacity_ms,
            },
        )


def _write_prices(
    outcomes: Mapping[str, Outcome], told: Mapping[str, float], now: datetime
) -> bool:
    known = {row.mirror: row for row in rows.Price.objects.select_for_update()}
    changed = False
    for name in known.keys() | told.keys():
        outcome = outcomes.get(name, Outcome(0.0, 0.0))
        row = known.get(name)
        before = row.budget_ms + row.capacity_ms if row else 0.0
        if told.get(name, 0.0) == before:
            continue
        changed = True
        if not told.get(name):
            rows.Price.objects.filter(mirror=name).delete()
            continue
        rows.Price.objects.update_or_create(
            mirror=name,
            defaults={
                "budget_ms": outcome.budget_ms,
                "capacity_ms": told[name] - outcome.budget_ms,
                "since": now,
            },
        )
    if changed:
        count_change()
    return changed


def current_prices() -> dict[str, float]:
    """By mirror, what goes into the state."""
    return {row.mirror: row.budget_ms + row.capacity_ms for row in rows.Price.objects.all()}


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
