"""What `heliostat jobs list` shows. Import only after `setup_django`; synchronous."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from heliostat.manager.probing.view import iso
from heliostat.manager.work.leases import database_now
from heliostat.manager.work.limits import LEASE
from heliostat.manager.work.models import FAILED, READY, RUNNING, SUCCESSFUL, Job, Worker

LISTED = 500
"""Jobs of each state that are listed at most."""
FAILURES_LISTED = 20


@dataclass(frozen=True, slots=True)
class JobView:
    """One job. `is_silent`: its worker was not heard of for longer than a lease."""

    task: str
    subject: str
    state: str
    worker: str
    enqueued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    run_after: datetime | None
    tree: str
    phase: str
    done: int
    total: int
    attempts: int
    reason: str
    is_silent: bool

    @property
    def how_far(self) -> str:
        """For people: "verify isos, 12 of 40"."""
        if not self.phase:
            return ""
        of = f" of {self.total:,}" if self.total else ""
        return f"{self.phase} {self.tree}, {self.done:,}{of}"

    def to_json(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "subject": self.subject,
            "state": self.state.lower(),
            "worker": self.worker,
            "enqueued": iso(self.enqueued_at),
            "started": iso(self.started_at),
            "finished": iso(self.finished_at),
            "not_before": iso(self.run_after),
            "progress": {
                "tree": self.tree,
                "phase": self.phase,
                "done": self.done,
                "total": self.total,
            },
            "attempts": self.attempts,
            "reason": self.reason,
            "silent": self.is_silent,
        }


@dataclass(frozen=True, slots=True)
class WorkView:
    """All that runs and waits, the newest failures, and the workers that live."""

    running: tuple[JobView, ...]
    waiting: tuple[JobView, ...]
    failed: tuple[JobView, ...]
    workers: tuple[str, ...]
    done: int
    """Jobs that went well lately (FINISHED_KEPT)."""

    def to_json(self) -> dict[str, Any]:
        return {
            "running": [job.to_json() for job in self.running],
            "waiting": [job.to_json() for job in self.waiting],
            "failed": [job.to_json() for job in self.failed],
            "workers": list(self.workers),
            "done": self.done,
        }


def work() -> WorkView:
    """What is going on now."""
    now = database_now()
    jobs = Job.objects.all()
    alive = Worker.objects.filter(heartbeat_at__gt=now - LEASE).order_by("name")
    return WorkView(
        tuple(_view(j, now) for j in jobs.filter(state=RUNNING).order_by("started_at")[:LISTED]),
        tuple(_view(j, now) for j in jobs.filter(state=READY).order_by("run_after", "id")[:LISTED]),
        tuple(
            _view(j, now)
            for j in jobs.filter(state=FAILED).order_by("-finished_at")[:FAILURES_LISTED]
        ),
        tuple(alive.values_list("name", flat=True)),
        jobs.filter(state=SUCCESSFUL).count(),
    )


def _view(job: Job, now: datetime) -> JobView:
    progress = job.progress
    silent = job.state == RUNNING and job.heartbeat_at is not None
    return JobView(
        task=job.task.rpartition(".")[2],
        subject=job.subject,
        state=job.state,
        worker=job.owner,
        enqueued_at=job.enqueued_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        run_after=job.run_after,
        tree=str(progress.get("tree", "")),
        phase=str(progress.get("phase", "")),
        done=int(progress.get("done", 0)),
        total=int(progress.get("total", 0)),
        attempts=len(job.workers),
        reason=job.reason,
        is_silent=bool(silent and job.heartbeat_at and job.heartbeat_at < now - LEASE),
    )
