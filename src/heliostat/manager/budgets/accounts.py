"""The allowances of all budgets, in the database: what a node reports, and what it gets.

Promises: a report and the answer to it are one transaction that locks the account, so two reports
at once, or two managers, never give the same bytes twice; a report that is repeated changes
nothing. Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction

from heliostat.budget.ledger import LEAST_GRANT_BYTES, Grant, Ledger, Part
from heliostat.budget.periods import Period, period_of
from heliostat.budget.sharing import RESERVE_PART, limits, top_up
from heliostat.manager.budgets import models as rows
from heliostat.manager.budgets.form import AllowanceAnswer, Taken
from heliostat.manager.nodes.models import NodeState
from heliostat.manager.registry.mirrors import list_mirrors
from heliostat.model.budget import Budget
from heliostat.model.mirror import Mirror

NODE_FRESH_FOR: Final = timedelta(minutes=10)
"""Nodes that reported within this share what is given out."""
PERIODS_KEPT: Final = timedelta(days=800)


def budgeted_mirrors() -> dict[str, Mirror]:
    """The mirrors that have a budget, enabled or not, by name."""
    return {mirror.name: mirror for mirror in list_mirrors() if mirror.budget is not None}


def exchange(
    node: str, purse: str, taken: Sequence[Taken], now: datetime | None = None
) -> list[AllowanceAnswer]:
    """Notes what a node's purse took, and tells what it may take now, of every budget."""
    now = now or datetime.now(UTC)
    if not purse:
        return []
    answers = []
    for name, mirror in budgeted_mirrors().items():
        assert mirror.budget is not None
        of_mirror = [one for one in taken if one.mirror == name]
        with transaction.atomic():
            account = current_account(name, mirror.budget, now)
            answer = _exchanged(account, mirror, node, purse, of_mirror, now)
        if answer is not None:
            answers.append(answer)
    return answers


def current_account(mirror: str, budget: Budget, now: datetime) -> rows.Account:
    """The account of the period that `now` is in, locked; made or rolled over as needed.

    A clock that steps back doesn't roll back: the later period goes on.
    """
    period = period_of(budget.reset_day, now)
    first = limits(budget, 0.0, excess_bytes=0, general_committed=0, reserve_committed=0)
    rows.Account.objects.get_or_create(
        mirror=mirror,
        defaults={
            "period_start": period.start,
            "general_limit_bytes": first.general_bytes,
            "reserve_limit_bytes": first.reserve_bytes,
        },
    )
    account = rows.Account.objects.select_for_update().get(mirror=mirror)
    if account.period_start < period.start:
        account.period_start = period.start
        account.general_limit_bytes = first.general_bytes
        account.reserve_limit_bytes = first.reserve_bytes
        account.spent_bytes = account.own_bytes = 0
        account.provider_bytes = account.provider_until = account.forecast_bytes = None
        account.saved_ms_bytes = 0.0
        account.notes = []
        account.save()
    return account


def period_of_account(account: rows.Account, budget: Budget) -> Period:
    return period_of(budget.reset_day, account.period_start.astimezone(UTC))


def load_ledger(account: rows.Account) -> Ledger:
    """The ledger of the account's period."""
    found = rows.Allowance.objects.filter(mirror=account.mirror, period_start=account.period_start)
    return Ledger([_grant(row) for row in found], last_epoch=account.last_epoch)


def save_ledger(account: rows.Account, ledger: Ledger) -> None:
    """Writes what changed of the account's ledger."""
    known = {
        row.epoch: row
        for row in rows.Allowance.objects.filter(
            mirror=account.mirror, period_start=account.period_start
        )
    }
    for grant in ledger.grants:
        row = known.get(grant.epoch) or rows.Allowance(
            mirror=account.mirror,
            period_start=account.period_start,
            node=grant.node,
            purse=grant.purse,
            epoch=grant.epoch,
        )
        if row.pk is None or _grant(row) != grant:
            row.given_general = grant.given[Part.GENERAL]
            row.given_reserve = grant.given[Part.RESERVE]
            row.taken_general = grant.taken[Part.GENERAL]
            row.taken_reserve = grant.taken[Part.RESERVE]
            row.is_closed = grant.is_closed
            row.save()
    if account.last_epoch != ledger.last_epoch:
        account.last_epoch = ledger.last_epoch
        account.save(update_fields=["last_epoch"])


def _grant(row: rows.Allowance) -> Grant:
    return Grant(
        row.node,
        row.purse,
        row.epoch,
        {Part.GENERAL: row.given_general, Part.RESERVE: row.given_reserve},
        {Part.GENERAL: row.taken_general, Part.RESERVE: row.taken_reserve},
        row.is_closed,
    )


def _exchanged(
    account: rows.Account,
    mirror: Mirror,
    node: str,
    purse: str,
    taken: Sequence[Taken],
    now: datetime,
) -> AllowanceAnswer | None:
    assert mirror.budget is not None
    period = period_of_account(account, mirror.budget)
    _note_former(account, node, purse, taken)
    ledger = load_ledger(account)
    for one in taken:
        ledger.reported(node, purse, one.epoch, {Part(one.part): one.taken})
    for epoch in sorted({one.epoch for one in taken}):
        ledger.acknowledged(node, purse, epoch)
    if not mirror.enabled:  # what it has it may spend; edges don't, as the state says "disabled"
        save_ledger(account, ledger)
        return None
    try:
        grant = ledger.begin(node, purse)
    except OverflowError:
        save_ledger(account, ledger)
        return None
    nodes = max(1, _fresh_nodes(now))
    general_left = account.general_limit_bytes - ledger.committed_bytes(Part.GENERAL)
    more = top_up(
        grant.free(Part.GENERAL),
        general_left,
        account.planned_bytes_per_s / nodes,
        nodes,
        period.left_s(now),
    )
    if more >= LEAST_GRANT_BYTES:
        grant = ledger.give(grant, Part.GENERAL, more, account.general_limit_bytes)
    reserve_left = account.reserve_limit_bytes - ledger.committed_bytes(Part.RESERVE)
    part = 1.0 if nodes == 1 else RESERVE_PART / nodes
    wanted = int(max(0, reserve_left) * part)
    if wanted >= LEAST_GRANT_BYTES and grant.free(Part.RESERVE) < wanted / 2:
        grant = ledger.give(grant, Part.RESERVE, wanted, account.reserve_limit_bytes)
    save_ledger(account, ledger)
    return AllowanceAnswer(
        mirror=mirror.name,
        epoch=grant.epoch,
        purse=purse,
        general=grant.given[Part.GENERAL],
        reserve=grant.given[Part.RESERVE],
        ends_s=period.end.timestamp(),
    )


def _note_former(account: rows.Account, node: str, purse: str, taken: Sequence[Taken]) -> None:
    """What was taken of epochs of former periods is noted there."""
    for one in taken:
        former = rows.Allowance.objects.filter(
            mirror=account.mirror,
            node=node,
            purse=purse,
            epoch=one.epoch,
            period_start__lt=account.period_start,
        )
        column = f"taken_{one.part}"
        former.filter(**{f"{column}__lt": one.taken}).update(**{column: one.taken})


def _fresh_nodes(now: datetime) -> int:
    return NodeState.objects.filter(reported_at__gte=now - NODE_FRESH_FOR).count()


def forget_old(now: datetime) -> None:
    """Drops what is of long ago."""
    before = now - PERIODS_KEPT
    rows.Allowance.objects.filter(period_start__lt=before).delete()
    rows.Reading.objects.filter(period_start__lt=before).delete()
    rows.Sample.objects.filter(at__lt=before).delete()
