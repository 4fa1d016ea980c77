"""A cheap stamp of what routing goes by in the database, to see changes of other processes.

Promises: after any change that routing goes by, the stamp differs from the one read before it. It
is two small queries, fit to be read each second.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from typing import Final

from django.db import transaction
from django.db.models import F

from heliostat.manager.probing import models as rows
from heliostat.manager.registry.models import Event

EVENTS_SEEN: Final = 32
"""Several, because on PostgreSQL an event can appear after one with a higher id."""

COUNTER_ID: Final = 1

Stamp = tuple[int, tuple[int, ...]]


def change_stamp() -> Stamp:
    """The number of changes that probes have counted, and the newest events' ids."""
    counted = rows.ChangeCount.objects.filter(pk=COUNTER_ID).values_list("changes", flat=True)
    events = Event.objects.order_by("-id").values_list("id", flat=True)[:EVENTS_SEEN]
    return sum(counted), tuple(events)


def count_change() -> None:
    """Counts a change that makes no event (an endpoint's, a family's, the files held)."""
    with transaction.atomic():
        rows.ChangeCount.objects.get_or_create(pk=COUNTER_ID)
        rows.ChangeCount.objects.filter(pk=COUNTER_ID).update(changes=F("changes") + 1)
