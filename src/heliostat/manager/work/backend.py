"""The standard interface of Django tasks over our table of jobs (see docs/decisions/0011-jobs.md).

`scan_mirror.enqueue("ftp.example.edu")` makes a job, unless the same one waits already: then that
one is it, earlier if this one would have been.
"""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError, transaction
from django.utils.module_loading import import_string
from django_tasks.backends.base import BaseTaskBackend
from django_tasks.base import Task, TaskError, TaskResult, TaskResultStatus
from django_tasks.exceptions import TaskResultDoesNotExist

from heliostat.manager.work.leases import database_now


class JobBackend(BaseTaskBackend):
    """Keeps tasks as rows of `Job`; `heliostat.manager.work.worker` runs them."""

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def enqueue(self, task: Task[Any, Any], args: Any, kwargs: Any) -> TaskResult[Any]:
        """Its first argument is what it is about; one waits for each."""
        from heliostat.manager.work.models import READY, Job

        self.validate_task(task)
        subject = str(args[0]) if args else ""
        key = {"task": task.module_path, "subject": subject, "state": READY}
        values = {
            "args": list(args),
            "kwargs": dict(kwargs),
            "queue": task.queue_name,
            "priority": task.priority,
            "run_after": task.run_after,
            "enqueued_at": database_now(),
        }
        try:
            with transaction.atomic():
                job, is_new = Job.objects.get_or_create(**key, defaults=values)
        except IntegrityError:  # another process was faster
            job, is_new = Job.objects.get(**key), False
        if not is_new and job.run_after is not None:
            is_earlier = task.run_after is None or task.run_after < job.run_after
            if is_earlier:
                Job.objects.filter(pk=job.pk, state=READY).update(run_after=task.run_after)
        return self._result(job, task)

    def get_result(self, result_id: str) -> TaskResult[Any]:
        """Raises: TaskResultDoesNotExist: no such job, or it was long ago."""
        from heliostat.manager.work.models import Job

        job = Job.objects.filter(pk=int(result_id)).first() if result_id.isdecimal() else None
        if job is None:
            raise TaskResultDoesNotExist(result_id)
        return self._result(job, import_string(job.task))

    def _result(self, job: Any, task: Task[Any, Any]) -> TaskResult[Any]:
        errors = []
        if job.error:
            errors.append(
                TaskError(exception_class_path=job.error["class"], traceback=job.error["traceback"])
            )
        return TaskResult(
            task=task,
            id=str(job.pk),
            status=TaskResultStatus(job.state),
            enqueued_at=job.enqueued_at,
            started_at=job.started_at,
            last_attempted_at=job.started_at,
            finished_at=job.finished_at,
            args=list(job.args),
            kwargs=dict(job.kwargs),
            backend=self.alias,
            errors=errors,
            worker_ids=list(job.workers),
        )
