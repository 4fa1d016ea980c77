"""Jobs and leases, on both databases: one runs at a time, a silent worker loses it, none twice."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction

from heliostat.config.load import LoadedConfig
from heliostat.manager.errors import LeaseLostError
from heliostat.manager.work import copies, leases, limits
from heliostat.manager.work.models import FAILED, READY, RUNNING, SUCCESSFUL, Job
from heliostat.manager.work.tasks import scan_mirror
from heliostat.manager.work.view import work

pytestmark = pytest.mark.usefixtures("loaded")


def silence(job_id: int) -> None:
    """As if the worker had not been heard of for longer than a lease."""
    long_ago = leases.database_now() - limits.LEASE - timedelta(seconds=1)
    Job.objects.filter(pk=job_id).update(heartbeat_at=long_ago)


def test_one_job_waits_and_one_runs_for_each_mirror() -> None:
    first, second = scan_mirror.enqueue("a.example"), scan_mirror.enqueue("a.example")
    assert first.id == second.id
    scan_mirror.enqueue("b.example")
    lease = leases.take("w1")
    assert lease is not None
    assert (lease.subject, lease.args) == ("a.example", ("a.example",))
    third = scan_mirror.enqueue("a.example")
    assert third.id != first.id, "it may have changed since that one began"
    other = leases.take("w2")
    assert other is not None
    assert other.subject == "b.example", "two never scan one mirror"
    assert leases.take("w2") is None
    leases.finish(lease)
    again = leases.take("w2")
    assert again is not None
    assert (again.subject, str(again.job_id)) == ("a.example", third.id)


def test_a_job_waits_for_its_time_and_an_earlier_wish_counts() -> None:
    later = leases.database_now() + timedelta(hours=1)
    scan_mirror.using(run_after=later).enqueue("a.example")
    assert leases.take("w") is None
    scan_mirror.using(run_after=later + timedelta(hours=1)).enqueue("a.example")
    assert Job.objects.get().run_after == later
    scan_mirror.enqueue("a.example")
    assert leases.take("w") is not None


def test_a_silent_worker_loses_its_job_and_may_store_nothing_more() -> None:
    scan_mirror.enqueue("a.example")
    lost = leases.take("killed")
    assert lost is not None
    assert leases.take("other") is None
    assert leases.keep(lost, {"tree": "isos", "phase": "list", "done": 1, "total": 2})
    silence(lost.job_id)
    mine = leases.take("other")
    assert mine is not None
    assert mine.job_id == lost.job_id
    assert mine.token > lost.token
    with transaction.atomic():
        leases.fence(mine)
    with pytest.raises(LeaseLostError, match="another worker has this job"), transaction.atomic():
        leases.fence(lost)
    assert not leases.keep(lost, {})
    assert not leases.finish(lost)
    assert leases.finish(mine)
    job = Job.objects.get()
    assert (job.state, job.stored, job.workers) == (SUCCESSFUL, 1, ["killed", "other"])


def test_a_lease_that_runs_out_while_nobody_takes_it_over_is_still_ours() -> None:
    scan_mirror.enqueue("a.example")
    lease = leases.take("slow")
    assert lease is not None
    silence(lease.job_id)
    with transaction.atomic():
        leases.fence(lease)
    assert leases.finish(lease)


def test_a_job_that_ends_every_worker_is_given_up_in_the_end() -> None:
    scan_mirror.enqueue("a.example")
    for turn in range(limits.MAX_LOSSES):
        lease = leases.take(f"w{turn}")
        assert lease is not None
        silence(lease.job_id)
    assert leases.take("one more") is None
    job = Job.objects.get()
    assert job.state == FAILED
    assert "stopped answering" in job.reason


def test_a_worker_that_stops_gives_its_jobs_back_at_once() -> None:
    scan_mirror.enqueue("a.example")
    lease = leases.take("going")
    assert lease is not None
    leases.fence(lease, "isos")
    leases.give_back_all("going")
    assert Job.objects.get().state == READY
    other = leases.take("staying")
    assert other is not None
    assert other.token > lease.token
    assert other.done_parts == {"isos"}, "what is stored is not done again"


def test_orderly_stops_are_no_losses() -> None:
    scan_mirror.enqueue("a.example")
    for turn in range(3 * limits.MAX_LOSSES):
        assert leases.take(f"w{turn}") is not None
        leases.give_back_all(f"w{turn}")
    assert leases.take("the last") is not None


def test_the_standard_interface_tells_how_a_task_went() -> None:
    result = scan_mirror.enqueue("a.example")
    assert result.status == READY
    lease = leases.take("w")
    assert lease is not None
    result.refresh()
    assert (result.status, result.worker_ids) == (RUNNING, ["w"])
    leases.finish(lease, "ValueError: no", {"class": "builtins.ValueError", "traceback": "…"})
    result.refresh()
    assert result.status == FAILED
    assert result.errors[0].exception_class is ValueError
    assert scan_mirror.get_result(result.id).is_finished


def test_the_list_says_who_does_what_and_how_far() -> None:
    leases.greet("host/1/aa")
    scan_mirror.enqueue("a.example")
    scan_mirror.enqueue("b.example")
    lease = leases.take("host/1/aa")
    assert lease is not None
    leases.keep(lease, {"tree": "isos", "phase": "verify", "done": 1200, "total": 4000})
    seen = work()
    (running,), (waiting,) = seen.running, seen.waiting
    assert (running.task, running.subject, running.worker) == (
        "scan_mirror",
        "a.example",
        "host/1/aa",
    )
    assert running.how_far == "verify isos, 1,200 of 4,000"
    assert not running.is_silent
    assert waiting.subject == "b.example"
    assert seen.workers == ("host/1/aa",)
    silence(lease.job_id)
    assert work().running[0].is_silent


def test_finished_jobs_are_kept_for_a_while(loaded: LoadedConfig) -> None:
    scan_mirror.enqueue("a.example")
    lease = leases.take("w")
    assert lease is not None
    leases.finish(lease)
    assert leases.prune() == 0
    long_ago = leases.database_now() - limits.FINISHED_KEPT - timedelta(seconds=1)
    Job.objects.update(finished_at=long_ago)
    assert leases.prune() == 1


def test_what_a_killed_copy_left_is_removed_and_one_on_its_way_is_not(tmp_path: Path) -> None:
    folder = tmp_path / "catalog"
    old, young, other = folder / ".copy-old", folder / ".copy-young", folder / "isos.sqlite"
    old.mkdir(parents=True)
    (old / "copy.sqlite").write_text("half")
    young.write_text("half")
    other.write_text("whole")
    for path in (old, other):
        os.utime(path, (0, 0))
    copies.sweep(folder)
    assert sorted(path.name for path in folder.iterdir()) == [".copy-young", "isos.sqlite"]
