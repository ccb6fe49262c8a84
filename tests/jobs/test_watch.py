"""A job as it is now, and as it goes on."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError
from tests.committed import a_result
from tests.jobs.desk import Desk, a_photo
from tests.jobs.test_listing import OLD, record
from tests.jobs.test_logs import told, write
from tests.ticking import TickingClock

from gpupipe.errors import AwsError, JobError
from gpupipe.jobs import watch
from gpupipe.jobs.cancel import cancel
from gpupipe.jobs.submit import SubmitProgress, submit
from gpupipe.jobs.watch import DISPATCH_MISSED_S, JobView, Watcher, follow, observe
from gpuworker.ledger import Intake, JobState, MachineRecord, MachineState, ShardRecord

JOB = OLD[0]


@pytest.fixture
def running(desk: Desk) -> Desk:
    """A job of three shards: one done, one running, one pending; one machine."""
    ledger, now = desk.ctx.ledger, time.time()
    shards = [ShardRecord(job=JOB, number=number, items=10, created_at=now) for number in range(3)]
    ledger.open_job(record(JOB, state=JobState.PENDING, items=30, shards=3, created_at=now - 3600), shards)
    ledger.start_shard(JOB, 0, 0, "i-1")
    ledger.count_result(a_result(JOB, 0, done=8, failed=2, counts={"annotations": 40}, seconds={"wall": 5.0}))
    ledger.start_shard(JOB, 1, 0, "i-1")
    ledger.heartbeat(JOB, 1, 0, "i-1", 4)
    ledger.put_machine(
        MachineRecord(
            machine="i-1",
            pipeline="segment",
            instance_type="g5.xlarge",
            zone="a",
            market="spot",
            launched_at=now - 1800,
            run_started_at=now - 1800,
            price_usd_per_hour=2.0,
        )
    )
    return desk


def finish(desk: Desk) -> None:
    for number in (1, 2):
        desk.ctx.ledger.start_shard(JOB, number, 0, "i-1")
        desk.ctx.ledger.count_result(a_result(JOB, number, done=10))
    assert desk.ctx.ledger.finish_if_complete(JOB)


def guard_says(desk: Desk, *waiting: Mapping[str, str], at: float | None = None) -> None:
    desk.ctx.ledger.put_guard_status("segment", {"at": at or time.time(), "waiting": list(waiting)})


def test_a_running_job_is_told_whole(running: Desk) -> None:
    write(running, "worker", "i-1", {5: told("shard_done", job=JOB), 4: told("other", job="another")})
    view = observe(running.ctx, JOB)
    totals = view.totals
    assert (totals.items, totals.done, totals.failed, totals.progressed, totals.running, totals.pending) == (
        (30, 8, 2, 4, 6, 10)
    )
    assert (view.job.state, view.is_over, view.failed, view.totals.counts) == ("running", False, 2, {"annotations": 40})
    assert [machine.machine for machine in view.machines] == ["i-1"]
    assert view.cost_usd == pytest.approx(1.0, rel=0.01)
    assert view.items_per_s is not None
    assert view.seconds_left == pytest.approx(16 / view.items_per_s)
    assert view.waiting == []
    assert [line.event for line in view.log] == ["shard_done"]


def test_a_finished_job_is_over_and_costs_no_more(running: Desk) -> None:
    finish(running)
    view = observe(running.ctx, JOB)
    assert (view.is_over, view.job.state, view.seconds_left, view.waiting) == (True, "finished", 0.0, ())
    assert view.totals.done == 28
    assert view.finished_at == pytest.approx(time.time(), abs=60)


def test_a_job_that_is_being_uploaded_or_not_dispatched_says_so(desk: Desk, tmp_path: Path) -> None:
    a_photo(tmp_path / "a.jpg")
    seen: list[JobView] = []

    def look(progress: SubmitProgress) -> None:
        if progress.step == "start":
            (name,) = [name for name in desk.ctx.folders("jobs/") if name != "drafts"]
            seen.append(observe(desk.ctx, name))

    job = submit(desk.ctx, [str(tmp_path)], project="field7", on_progress=look)
    assert (seen[0].job.state, seen[0].waiting[0][:10]) == ("uploading", "Its upload")
    view = observe(desk.ctx, job.job)
    assert (view.job.state, view.waiting) == ("submitted", ["Submitted, waiting for dispatch."])
    assert (view.totals.items, view.totals.pending, view.totals.shards_open, view.is_over) == (1, 1, 1, False)
    # once that lasts, whoever should take it up is looked for: here nobody is there, as after a `down` that was killed
    late = Watcher(desk.ctx, job.job, clock=lambda: time.time() + DISPATCH_MISSED_S).look()
    name = desk.ctx.aws.stack.dispatch_function(desk.ctx.pipeline)
    missing = f"Submitted, and nobody takes it up: function {name} is missing. `gpupipe up` makes the stack whole."
    assert late.waiting == [missing]
    cancel(desk.ctx, job.job)
    view = observe(desk.ctx, job.job)
    assert (view.job.state, view.totals.cancelled, view.totals.pending, view.is_over) == ("cancelled", 1, 0, True)


def test_an_unknown_job_is_an_error(desk: Desk) -> None:
    with pytest.raises(JobError, match="there is no job nothing"):
        observe(desk.ctx, "nothing")


# --- why it waits ---


@pytest.mark.parametrize(
    ("state", "waiting", "told_as"),
    [
        (JobState.PENDING, [], ["Waiting for a machine to take a shard."]),
        (JobState.PENDING, [{"code": "ok", "message": "All is well."}], ["Waiting for a machine to take a shard."]),
        (JobState.PENDING, [{"code": "quota", "message": "No quota."}], ["No quota."]),
        (JobState.PENDING, [{"code": "stalled", "message": "Job other is stalled."}], ["Waiting for a machine"]),
        (JobState.STALLED, [{"code": "stalled", "message": f"Job {JOB} is stalled: hard limit."}], ["Job 2026"]),
        (JobState.STALLED, [], ["It is stalled: hard limit."]),
    ],
)
def test_why_it_waits_is_told_in_the_guards_words(
    desk: Desk, state: JobState, waiting: list[dict[str, str]], told_as: list[str]
) -> None:
    shard = ShardRecord(job=JOB, number=0, items=5)
    desk.ctx.ledger.open_job(record(JOB, state=state, reason="hard limit", items=5), [shard])
    guard_says(desk, *waiting)
    reasons = observe(desk.ctx, JOB).waiting
    assert len(reasons) == len(told_as)
    assert all(reason.startswith(start) for reason, start in zip(reasons, told_as, strict=True))


MAIN = {"name": "main", "instance_type": "ml.m5.xlarge", "current": 0, "desired": 1, "weight": 1.0}


@pytest.mark.parametrize(
    ("endpoint", "told_as"),
    [
        ({"status": "InService", "variants": [MAIN]}, "Waiting for the endpoint's first instance; from zero"),
        ({"status": "InService", "variants": [{**MAIN, "current": 1}]}, "Waiting for the endpoint to take a shard."),
        ({"status": "Creating", "name": "x", "variants": []}, "Endpoint x is Creating; a new one takes"),
        ({"status": "Failed", "name": "x", "failure": "No quota."}, "Endpoint x is Failed: No quota."),
    ],
)
def test_why_an_endpoint_does_not_begin_is_told(served_desk: Desk, endpoint: dict[str, Any], told_as: str) -> None:
    served_desk.ctx.ledger.open_job(record(JOB, state=JobState.PENDING), [ShardRecord(job=JOB, number=0, items=5)])
    served_desk.ctx.ledger.put_guard_status("segment", {"at": time.time(), "waiting": [], "endpoint": endpoint})
    view = observe(served_desk.ctx, JOB)
    (reason,) = view.waiting
    assert reason.startswith(told_as)
    assert view.guard["endpoint"]["status"] == endpoint["status"]


def test_a_silent_guard_is_told(desk: Desk) -> None:
    desk.ctx.ledger.open_job(record(JOB, state=JobState.PENDING), [ShardRecord(job=JOB, number=0, items=5)])
    guard_says(desk, at=time.time() - 600)
    assert observe(desk.ctx, JOB).waiting == ["The guard last looked 10 minutes ago; see `gpupipe logs`."]


# --- following ---


def test_following_ends_with_the_last_look_at_a_finished_job(running: Desk) -> None:
    clock = running.ctx.aws.clock = TickingClock()

    def meanwhile() -> None:
        if len(clock.pauses) == 2:
            finish(running)

    clock.meanwhile = meanwhile
    views = list(follow(running.ctx, JOB, interval_s=1.5))
    assert [view.is_over for view in views] == [False, False, True]
    assert clock.pauses == [1.5, 1.5]


def test_following_ends_where_a_person_is_needed(desk: Desk) -> None:
    desk.ctx.ledger.open_job(
        record(JOB, state=JobState.STALLED, reason="no machine lives"), [ShardRecord(job=JOB, number=0, items=5)]
    )
    (view,) = follow(desk.ctx, JOB)
    assert (view.needs_person, view.is_over) == (True, False)


def test_a_few_failed_looks_are_borne_and_many_are_not(running: Desk) -> None:
    def unreachable(service: str, operation: str) -> None:
        raise EndpointConnectionError(endpoint_url=f"{service} {operation}")

    clock = running.ctx.aws.clock = TickingClock()

    def meanwhile() -> None:
        if len(clock.pauses) == 1 or len(clock.pauses) > 10:
            running.ctx.aws.gate = unreachable
        if len(clock.pauses) == 1 + watch.FAILED_LOOKS_MAX:
            running.ctx.aws.gate = None

    clock.meanwhile = meanwhile
    views = follow(running.ctx, JOB)
    assert [next(views).job.job for _ in range(5)] == [JOB] * 5
    with pytest.raises(AwsError, match="could not use the ledger"):
        list(views)
    assert len(clock.pauses) == 11 + watch.FAILED_LOOKS_MAX


def test_a_job_that_dispatch_does_not_see_is_announced_again(desk: Desk, tmp_path: Path) -> None:
    a_photo(tmp_path / "a.jpg")
    job = submit(desk.ctx, [str(tmp_path)], project="field7").job
    now = [time.time()]
    watcher = Watcher(desk.ctx, job, clock=lambda: now[0])

    def announced(after_s: float) -> list[Any]:
        now[0] += after_s
        watcher.announce_if_lost(watcher.look(with_log=False))
        return desk.received(desk.ctx.event_queue_url)

    assert announced(0) == []
    assert announced(watch.ANNOUNCE_AFTER_S - 1) == []
    assert announced(1) == [{"gpupipe": "manifest", "job": job, "generation": 0}]
    assert announced(1) == []
    desk.ctx.ledger.put_job(record(job, state=JobState.PENDING))
    assert announced(1000) == []


def test_the_log_tail_is_short_and_without_repeats(running: Desk) -> None:
    watcher = Watcher(running.ctx, JOB)
    write(running, "worker", "i-1", {30 - number: told(f"e{number}", job=JOB) for number in range(20)})
    assert [line.event for line in watcher.look().log] == [f"e{number}" for number in range(12, 20)]
    write(running, "guard", "g", {1: told("e20", job=JOB)})
    assert [line.event for line in watcher.look().log] == [f"e{number}" for number in range(13, 21)]


def test_a_machine_that_is_gone_is_not_shown_and_still_paid(running: Desk) -> None:
    ledger = running.ctx.ledger
    (machine,) = ledger.machines("segment")
    ledger.end_run(machine, MachineState.TERMINATED, stopped_at=machine.run_started_at + 900, reason="idle")
    view = observe(running.ctx, JOB)
    assert view.machines == []
    assert view.cost_usd == pytest.approx(0.5, rel=0.01)


class TestDroppedWorldFiles:
    """World files are of no use to what is dropped in, which has to be said where the job is watched."""

    @pytest.fixture
    def dropped(self, desk: Desk) -> Desk:
        opened = record(JOB, state=JobState.PENDING, kind="drop-in", intake=Intake.OPEN)
        desk.ctx.ledger.open_dropin_job(opened)
        return desk

    def test_are_told(self, dropped: Desk) -> None:
        project = observe(dropped.ctx, JOB, with_log=False).job.project
        dropped.ctx.ledger.count_ignored("segment", project, "not_an_input", 3, "k", world_files=2)
        (told,) = observe(dropped.ctx, JOB, with_log=False).warnings
        assert told.startswith(f"2 world files or .prj dropped into project {project} were left")
        assert "`gpupipe submit` uses them" in told

    def test_of_another_project_and_other_files_are_not(self, dropped: Desk) -> None:
        project = observe(dropped.ctx, JOB, with_log=False).job.project
        dropped.ctx.ledger.count_ignored("segment", "another", "not_an_input", 3, "k", world_files=2)
        dropped.ctx.ledger.count_ignored("segment", project, "not_an_input", 3, "k")
        assert observe(dropped.ctx, JOB, with_log=False).warnings == []

    def test_do_not_concern_a_job_that_was_submitted(self, running: Desk) -> None:
        project = observe(running.ctx, JOB, with_log=False).job.project
        running.ctx.ledger.count_ignored("segment", project, "not_an_input", 3, "k", world_files=2)
        assert observe(running.ctx, JOB, with_log=False).warnings == []
