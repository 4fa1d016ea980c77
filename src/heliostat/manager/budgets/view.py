"""Budgets as people ask for them: period, spent, forecast, price, curve.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from heliostat.budget.periods import Period, period_of
from heliostat.budget.picture import Curve
from heliostat.budget.providers import Reading
from heliostat.manager.budgets import models as rows
from heliostat.manager.budgets.accounts import budgeted_mirrors, load_ledger
from heliostat.manager.budgets.ratios import completion_ratios, ratios_of
from heliostat.manager.budgets.readings import readings_of, store_reading
from heliostat.manager.errors import ManagerError, UnknownMirrorError
from heliostat.model.budget import Budget
from heliostat.model.mirror import Mirror


class BudgetError(ManagerError):
    """A budget can't be shown or set as it was asked for."""


@dataclass(frozen=True, slots=True)
class BudgetView:
    """One budget now. Bytes are of the period; None where nothing is known yet."""

    mirror: Mirror
    budget: Budget
    period: Period
    spent_bytes: int
    own_bytes: int
    provider_bytes: int | None
    provider_until: datetime | None
    ratio: float | None
    given_bytes: int
    """In nodes' hands and not reported as taken."""
    forecast_bytes: int | None
    price_ms: float
    capacity_ms: float
    saved_ms_per_gb: float | None
    """Milliseconds times gigabytes of demand that each gigabyte of it saved."""
    completion: tuple[float, ...]
    notes: tuple[str, ...]
    updated_at: datetime | None
    curve: Curve

    def to_json(self) -> dict[str, Any]:
        def time(at: datetime | None) -> str | None:
            return at.astimezone(UTC).isoformat() if at else None

        return {
            "mirror": self.mirror.name,
            "period": {"start": time(self.period.start), "end": time(self.period.end)},
            "budget_bytes": self.budget.bytes_per_month,
            "stop_bytes": self.budget.stop_bytes,
            "reserve_bytes": self.budget.reserve_bytes,
            "spent_bytes": self.spent_bytes,
            "own_bytes": self.own_bytes,
            "provider_bytes": self.provider_bytes,
            "provider_until": time(self.provider_until),
            "provider_ratio": self.ratio,
            "given_bytes": self.given_bytes,
            "forecast_bytes": self.forecast_bytes,
            "price_ms": {"budget": self.price_ms, "capacity": self.capacity_ms},
            "saved_ms_per_gb": self.saved_ms_per_gb,
            "completion": list(self.completion),
            "notes": list(self.notes),
            "updated_at": time(self.updated_at),
            "curve": [{"at": time(at), "spent_bytes": spent} for at, spent in self.curve.spent],
        }


def budget_views(now: datetime) -> list[BudgetView]:
    """All budgets by mirror's name."""
    learned = completion_ratios()
    prices = {row.mirror: row for row in rows.Price.objects.all()}
    return [
        _view(mirror, prices.get(name), ratios_of(mirror, learned), now)
        for name, mirror in sorted(budgeted_mirrors().items())
    ]


def budget_view(mirror: str, now: datetime) -> BudgetView:
    """Raises: UnknownMirrorError; BudgetError: it has no budget."""
    found = budgeted_mirrors()
    if mirror not in found:
        from heliostat.manager.registry.mirrors import get_mirror

        get_mirror(mirror)
        raise BudgetError(
            f"{mirror} has no budget; write [budget] bytes_per_month into its mirror file"
        )
    return next(view for view in budget_views(now) if view.mirror.name == mirror)


def set_figure(mirror: str, total: int, until: datetime, now: datetime) -> None:
    """Notes what the provider counted until then, as a person read it.

    Raises: UnknownMirrorError; BudgetError: no budget, or a time outside the period.
    """
    found = budgeted_mirrors()
    if mirror not in found:
        raise (
            UnknownMirrorError(mirror, None)
            if not found
            else BudgetError(f"{mirror} has no budget; those that have: {', '.join(sorted(found))}")
        )
    budget = found[mirror].budget
    assert budget is not None
    period = period_of(budget.reset_day, now)
    if not period.start <= until <= now:
        raise BudgetError(
            f"{until:%Y-%m-%d %H:%M} UTC is not within the period that began on"
            f" {period.start:%Y-%m-%d}; give the time that the figure is of"
        )
    store_reading(mirror, period.start, Reading(total, until, now, detail="by hand"), by_hand=True)


def _view(
    mirror: Mirror, price: rows.Price | None, ratios: tuple[float, ...], now: datetime
) -> BudgetView:
    budget = mirror.budget
    assert budget is not None
    period = period_of(budget.reset_day, now)
    account = rows.Account.objects.filter(mirror=mirror.name).first()
    if account is None or account.period_start.astimezone(UTC) != period.start:
        account = rows.Account(mirror=mirror.name, period_start=period.start)
    ledger = load_ledger(account)
    samples = rows.Sample.objects.filter(mirror=mirror.name, period_start=period.start)
    spent = [
        (at.astimezone(UTC), value)
        for at, value in samples.order_by("at").values_list("at", "spent_bytes")
    ]
    taken = max(ledger.taken_bytes(), account.own_bytes)
    total = max(account.spent_bytes, taken if account.provider_bytes is None else 0)
    spent.append((now, total))
    forecast = [(now, total)]
    if account.forecast_bytes is not None:
        forecast.append((period.end, max(total, account.forecast_bytes)))
    readings = readings_of(mirror.name, period.start)
    gigabytes = total / 1e9
    return BudgetView(
        mirror=mirror,
        budget=budget,
        period=period,
        spent_bytes=total,
        own_bytes=taken,
        provider_bytes=account.provider_bytes,
        provider_until=account.provider_until,
        ratio=account.ratio,
        given_bytes=ledger.committed_bytes() - ledger.taken_bytes(),
        forecast_bytes=account.forecast_bytes,
        price_ms=price.budget_ms if price else 0.0,
        capacity_ms=price.capacity_ms if price else 0.0,
        saved_ms_per_gb=account.saved_ms_bytes / 1e9 / gigabytes if gigabytes > 0.001 else None,
        completion=ratios,
        notes=tuple(account.notes),
        updated_at=account.updated_at,
        curve=Curve(
            period.start,
            period.end,
            budget.bytes_per_month,
            budget.reserve_bytes,
            spent,
            [(one.until, one.bytes) for one in readings if one.bytes >= 0],
            forecast,
        ),
    )
