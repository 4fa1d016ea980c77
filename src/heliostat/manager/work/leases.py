"""Leases of jobs: taking one, keeping it, giving it back, and proving that it is still ours.

Promises: at most one worker at a time may store results of a job; a worker that stopped answering
is known by the database's clock, not by anybody's own, and its job goes to another. Who lost a
lease learns so from the transaction in which it wants to store, which then stores nothing.

Import only after `setup_django`; synchronous.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from heliostat.manager.errors import LeaseLostError
from heliostat.manager.work import limits
from heliostat.manager.work.models import FAILED, READY, RUNNING, SUCCESSFUL, Job, Worker

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Lease:
    """A job that a worker holds."""

    job_id: int
    token: int
    task: str
    subject: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    done_parts: frozenset[str] = frozenset()
    """What an earlier worker has stored already."""


def database_now() -> datetime:
    """The one clock that all workers share; of SQLite, whose workers are all here, it is ours."""
    if connection.vendor != "postgresql":
        return datetime.now(UTC)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        at: datetime = cursor.fetchone()[0]
        return at.astimezone(UTC)


def take(worker: str) -> Lease | None:
    """The next job that is due, now this worker's; None when there is none."""
    now = database_now()
    _expire(now)
    running = Job.objects.filter(task=OuterRef("task"), subject=OuterRef("subject"), state=RUNNING)
    due = Q(run_after__isnull=True) | Q(run_after__lte=now)
    try:
        with transaction.atomic():
            waiting = Job.objects.filter(due, ~Exists(running), state=READY)
            if connection.vendor == "postgresql":
                waiting = waiting.select_for_update(skip_locked=True, of=("self",))
            job = waiting.order_by("-priority", "enqueued_at", "id").first()
            if job is None:
                return None
            job.state, job.owner, job.started_at, job.heartbeat_at = RUNNING, worker, now, now
            job.token += 1
            job.workers = [*job.workers, worker]
            job.progress = {}
            job.save()
    except IntegrityError:  # another worker began one for the same subject at this moment
        return None
    done = frozenset(job.done_parts)
    return Lease(job.pk, job.token, job.task, job.subject, tuple(job.args), job.kwargs, done)


def keep(lease: Lease, progress: Mapping[str, Any]) -> bool:
    """A heartbeat. Returns: whether the lease is still ours."""
    return bool(_held(lease).update(heartbeat_at=database_now(), progress=dict(progress)))


def fence(lease: Lease, part: str = "") -> None:
    """Counts the result of a part as stored; call it in the transaction that stores it, first.

    Raises: LeaseLostError: another worker has the job.
    """
    # The update locks the job's row: nobody can take it over before this transaction has ended.
    if not _held(lease).update(stored=F("stored") + 1):
        raise LeaseLostError(lease.subject)
    job = _held(lease).get()
    job.done_parts = [*job.done_parts, part]
    job.save(update_fields=["done_parts"])


def finish(lease: Lease, reason: str = "", error: Mapping[str, Any] | None = None) -> bool:
    """Ends the job, as failed when there is a `reason`. Returns: whether it was still ours."""
    return bool(
        _held(lease).update(
            state=FAILED if reason else SUCCESSFUL,
            finished_at=database_now(),
            reason=reason[: limits.MAX_REASON_CHARS],
            error=dict(error or {}),
        )
    )


def give_back_all(worker: str) -> None:
    """The jobs of a worker that is going wait again for any other."""
    with transaction.atomic():
        for job in Job.objects.select_for_update().filter(owner=worker, state=RUNNING):
            _wait_again(job, database_now(), f"{worker} was stopped")


def greet(worker: str, *, wants_copies: bool = False) -> None:
    """A worker says that it is there."""
    now = database_now()
    Worker.objects.update_or_create(
        name=worker,
        defaults={"heartbeat_at": now, "wants_copies": wants_copies},
        create_defaults={"heartbeat_at": now, "wants_copies": wants_copies, "started_at": now},
    )


def leave(worker: str) -> None:
    """A worker ends in order."""
    Worker.objects.filter(name=worker).delete()


def prune() -> int:
    """Forgets jobs and workers of long ago; returns how many."""
    now = database_now()
    old = Job.objects.filter(
        state__in=[SUCCESSFUL, FAILED], finished_at__lt=now - limits.FINISHED_KEPT
    )
    gone = Worker.objects.filter(heartbeat_at__lt=now - limits.WORKERS_KEPT)
    return old.delete()[0] + gone.delete()[0]


def _held(lease: Lease) -> QuerySet[Job]:
    return Job.objects.filter(pk=lease.job_id, token=lease.token, state=RUNNING)


def _expire(now: datetime) -> None:
    """Jobs whose worker stopped answering wait again, or have failed too often."""
    silent = Q(state=RUNNING, heartbeat_at__lt=now - limits.LEASE)
    if not Job.objects.filter(silent).exists():
        return
    with transaction.atomic():
        jobs = Job.objects.filter(silent)
        if connection.vendor == "postgresql":
            jobs = jobs.select_for_update(skip_locked=True)
        for job in jobs:
            reason = f"{job.owner} stopped answering"
            log.warning("a job is taken from a silent worker", job=job.subject, worker=job.owner)
            job.losses += 1
            _wait_again(job, now, reason)


def _wait_again(job: Job, now: datetime, reason: str) -> None:
    waits = Job.objects.filter(task=job.task, subject=job.subject, state=READY).exists()
    if waits or job.losses >= limits.MAX_LOSSES:
        job.state, job.finished_at = FAILED, now
    else:
        job.state, job.run_after = READY, None
    job.owner, job.reason, job.progress = "", reason, {}
    job.token += 1  # whoever had it may store nothing any more
    job.save()
