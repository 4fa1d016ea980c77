"""The publisher's lease: of two managers one publishes, and edges know whom to believe.

A row of the database, with a number (the fence) that grows whenever another manager takes it. The
number stands in each state, signed: whoever has a lower one, because he was thought dead or was
restored from a backup beside the one that lives, is refused by edges and buckets that have seen the
higher. (M. Kleppmann, "How to do distributed locking", 2016.)

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

import secrets
from datetime import timedelta
from pathlib import Path
from typing import Final

from django.db import IntegrityError, transaction

from heliostat.manager.errors import OtherPublisherError
from heliostat.manager.work.leases import database_now
from heliostat.manager.work.models import PublisherLease
from heliostat.state.durable import replace_file

LEASE: Final = timedelta(seconds=120)
"""A manager that hasn't published or looked for so long may be replaced."""
HOLDER_NAME: Final = "manager-id"
"""In data_dir: who we are. No part of a backup: what is restored from it is another manager."""
MAX_HOLDER_BYTES: Final = 64


def holder_of(data_dir: Path) -> str:
    """The identity of the manager that works on this data_dir, made at the first call.

    Raises: OSError: it can't be written.
    """
    path = data_dir / HOLDER_NAME
    for _ in range(2):
        try:
            with path.open("rb") as handle:
                if held := handle.read(MAX_HOLDER_BYTES).decode("ascii", "replace").strip():
                    return held
        except FileNotFoundError:
            pass
        data_dir.mkdir(parents=True, exist_ok=True)
        replace_file(path, secrets.token_hex(16).encode() + b"\n")
    raise OSError(f"{path}: can't be read back")


def hold(holder: str, floor: int = 0) -> int:
    """Takes or keeps the lease; its number.

    `floor` is the number of the state that this manager published last: a database that was lost
    and made anew begins no lower, or else edges would refuse what comes from it.

    Raises:
        OtherPublisherError: another manager has it.
    """
    now = database_now()
    with transaction.atomic():
        row = PublisherLease.objects.select_for_update().filter(pk=1).first()
        if row is None:
            try:
                with transaction.atomic():
                    row = PublisherLease.objects.create(pk=1, holder=holder, fence=1, until=now)
            except IntegrityError:  # another one began at this moment
                row = PublisherLease.objects.select_for_update().get(pk=1)
        if row.holder != holder:
            if row.until > now:
                raise OtherPublisherError(row.holder, (row.until - now).total_seconds())
            row.holder = holder
            row.fence += 1
        row.fence = max(row.fence, floor)
        row.until = now + LEASE
        row.save()
        return int(row.fence)


def give_back(holder: str) -> None:
    """Lets another manager publish at once: this one ends in order."""
    PublisherLease.objects.filter(pk=1, holder=holder).update(until=database_now())
