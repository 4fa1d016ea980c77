"""A mirror's own machine tells that a pull is done: it is scanned now, not at the next round.

Promises: a mirror's token speaks for that mirror alone, and what it says is never believed: it only
brings the look forward, within the mirror's hours and after the rest that every scan is given, so
that who tells a hundred times a second has one scan waiting.
"""

from __future__ import annotations

import hmac

from pydantic import BaseModel, ConfigDict, Field

from heliostat.manager.registry.mirrors import get_mirror
from heliostat.manager.registry.models import Mirror
from heliostat.manager.work import leases
from heliostat.manager.work.tasks import rest_of, scan_mirror
from heliostat.probe.hours import next_allowed


class Pulled(BaseModel):
    """What is sent."""

    model_config = ConfigDict(extra="forbid", strict=True)

    mirror: str = Field(max_length=254)


def record_pulled(pulled: Pulled, digest: str, scan_s: float) -> bool:
    """Whether `digest`, the SHA-256 of the token sent, is that mirror's; its scan is due then.

    A mirror that doesn't exist and a token that isn't its own are the same answer.
    """
    row = Mirror.objects.filter(name=pulled.mirror).only("token_sha256").first()
    known = row.token_sha256 if row is not None else ""
    if not hmac.compare_digest((known or "-" * 64).encode(), digest.encode()):
        return False
    now = leases.database_now()
    allowed = next_allowed(get_mirror(pulled.mirror), now + rest_of(pulled.mirror, scan_s))
    task = scan_mirror if allowed <= now else scan_mirror.using(run_after=allowed)
    task.enqueue(pulled.mirror)
    return True
