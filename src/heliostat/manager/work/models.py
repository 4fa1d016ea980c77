"""The tables of jobs: what waits, runs and ran; the workers; copies of catalogs for them."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from heliostat.manager.registry.models import NAME_CHARS

READY, RUNNING, SUCCESSFUL, FAILED = "READY", "RUNNING", "SUCCESSFUL", "FAILED"
"""The states of `django_tasks.TaskResultStatus`."""
STATE_CHARS = 16


class Job(models.Model):
    """One task that was enqueued. One of a kind waits and one runs for each subject, at most.

    `token` grows each time a worker takes the job: who holds an older one may store nothing.
    """

    task = models.CharField(max_length=NAME_CHARS)
    """Dotted path of the task's function."""
    subject = models.CharField(max_length=NAME_CHARS)
    """What it is about: its first argument (a mirror's name)."""
    args = models.JSONField(default=list)
    kwargs = models.JSONField(default=dict)
    queue = models.CharField(max_length=63, default="default")
    priority = models.SmallIntegerField(default=0)
    state = models.CharField(max_length=STATE_CHARS, default=READY, db_index=True)
    enqueued_at = models.DateTimeField()
    run_after = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True, db_index=True)
    owner = models.CharField(max_length=NAME_CHARS, blank=True)
    workers = models.JSONField(default=list)
    """All that took it, in order."""
    token = models.PositiveIntegerField(default=0)
    losses = models.PositiveSmallIntegerField(default=0)
    """How often its worker stopped answering."""
    done_parts = models.JSONField(default=list)
    """Trees whose results are stored: who takes the job over goes on with the others."""
    heartbeat_at = models.DateTimeField(null=True)
    progress = models.JSONField(default=dict)
    stored = models.PositiveIntegerField(default=0)
    """Results that were stored under its leases."""
    reason = models.TextField(blank=True)
    """Why it failed, or went to another worker."""
    error = models.JSONField(default=dict)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["task", "subject"], condition=Q(state=READY), name="one_job_waits"
            ),
            models.UniqueConstraint(
                fields=["task", "subject"], condition=Q(state=RUNNING), name="one_job_runs"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} {self.subject}: {self.state}"


class Worker(models.Model):
    """A process that runs jobs, as it last said."""

    name = models.CharField(max_length=NAME_CHARS, unique=True)
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()
    wants_copies = models.BooleanField(default=False)
    """It has no catalogs of its own, and reads those in the database."""

    def __str__(self) -> str:
        return self.name


class CatalogCopy(models.Model):
    """A catalog as workers on other machines read it; `chunks` of them belong to it."""

    tree = models.CharField(max_length=63)
    identity = models.CharField(max_length=64)
    version = models.BigIntegerField()
    chunks = models.PositiveIntegerField()
    size_bytes = models.BigIntegerField()
    made_at = models.DateTimeField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tree", "identity", "version"], name="one_copy")
        ]

    def __str__(self) -> str:
        return f"{self.tree} {self.version}"


class CatalogChunk(models.Model):
    """A part of a copy, compressed with zstd."""

    copy = models.ForeignKey(CatalogCopy, on_delete=models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    data = models.BinaryField()

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["copy", "number"], name="one_chunk_a_number")
        ]

    def __str__(self) -> str:
        return f"{self.copy} {self.number}"


class PublisherLease(models.Model):
    """Which manager publishes: one row. `fence` grows when another one takes it."""

    holder = models.CharField(max_length=NAME_CHARS)
    fence = models.PositiveBigIntegerField()
    until = models.DateTimeField()
