"""Jobs: opened once, finished when all is accounted for, cancelled, woken."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.gpuworker.ledger.conftest import NOW, Clock, a_job, commit, some_shards

from gpuworker.contract import JobSpec
from gpuworker.ledger import Intake, JobState, Ledger, ShardState, Totals, job_of


def test_open_job_registers_shards_and_job(ledger: Ledger) -> None:
    assert ledger.open_job(a_job(), some_shards()) is True
    assert ledger.job("j1") == a_job()
    assert list(ledger.shards("j1")) == some_shards()
    assert ledger.active_jobs("segment") == [a_job()]
    assert ledger.active_jobs("other") == []


def test_open_job_twice_keeps_what_workers_did(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    ledger.start_shard("j1", 0, 0, "i-1")
    commit(ledger, 1)
    before = list(ledger.shards("j1"))
    assert ledger.open_job(a_job(), some_shards()) is False
    assert list(ledger.shards("j1")) == before


def test_open_job_after_a_crash_adds_only_the_missing_rows(ledger: Ledger) -> None:
    ledger.put_shards(some_shards(1))
    ledger.start_shard("j1", 0, 0, "i-1")
    assert ledger.put_shards(some_shards(3)) == 2
    states = [shard.state for shard in ledger.shards("j1")]
    assert states == [ShardState.RUNNING, ShardState.PENDING, ShardState.PENDING]


def test_rows_past_one_transaction_and_one_page_are_all_there(ledger: Ledger) -> None:
    assert ledger.put_shards(some_shards(120, reason="x" * 12_000)) == 120
    for number in (0, 119):
        commit(ledger, number)
    totals = ledger.totals("j1")
    assert (totals.shards, totals.done, totals.pending) == (120, 20, 1180)
    assert [shard.number for shard in ledger.shards("j1")] == list(range(120))


def test_jobs_by_age_project_and_pipeline(ledger: Ledger) -> None:
    for number, project in enumerate(["field7", "field8", "field7"]):
        ledger.open_job(a_job(f"2026{number}", project=project), [])
    assert [job.job for job in ledger.jobs()] == ["20262", "20261", "20260"]
    assert [job.job for job in ledger.jobs(newest_first=False, limit=2)] == ["20260", "20261"]
    assert [job.job for job in ledger.jobs(project="field7", limit=1)] == ["20262"]
    assert [job.job for job in ledger.jobs(pipeline="rooms")] == []
    assert list(ledger.jobs(limit=0)) == []


def test_unknown_job_is_none_and_cannot_change(ledger: Ledger) -> None:
    assert ledger.job("j9") is None
    assert ledger.shard("j9", 0) is None
    assert ledger.set_job_state("j9", JobState.STALLED) is False
    assert ledger.finish_if_complete("j9") is False
    assert ledger.cancel_job("j9", "") == 0
    assert ledger.reopen_job("j9", 1, []) is False
    assert ledger.totals("j9") == Totals()


def test_set_job_state_only_from(ledger: Ledger) -> None:
    ledger.open_job(a_job(), [])
    assert ledger.set_job_state("j1", JobState.STALLED, only_from={JobState.RUNNING}) is False
    assert ledger.set_job_state("j1", JobState.STALLED, reason="no GPU", only_from={JobState.PENDING}) is True
    job = ledger.job("j1")
    assert job is not None
    assert (job.state, job.reason) == (JobState.STALLED, "no GPU")


def test_the_last_shard_marked_dead_finishes_its_job(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards(2))
    commit(ledger, 0)
    assert ledger.mark_dead("j1", 1, 0, "killed four workers") is True
    shard, job = ledger.shard("j1", 1), ledger.job("j1")
    assert shard is not None
    assert job is not None
    assert (shard.state, shard.reason, job.state) == (ShardState.DEAD, "killed four workers", JobState.FINISHED)


def test_who_was_killed_between_shard_and_job_does_the_rest_by_the_same_call(ledger: Ledger) -> None:
    # given a job row that came only after its last shard was marked
    ledger.put_shards(some_shards(1))
    assert ledger.mark_dead("j1", 0, 0, "poison") is True
    ledger.put_job(a_job())
    # when the same is said again
    assert ledger.mark_dead("j1", 0, 0, "poison") is False
    job = ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED


@pytest.mark.parametrize(
    ("hold", "generation", "state"),
    [(False, 0, JobState.PENDING), (True, 0, JobState.HELD), (True, 1, JobState.PENDING)],
)
def test_a_jobs_first_row_says_what_was_asked_for(hold: bool, generation: int, state: JobState) -> None:
    spec = JobSpec(
        job="j1", pipeline="segment", project="field7", task="segment", options={}, created_at=NOW, hold=hold
    )
    row = job_of(spec, items=20, shards=2, generation=generation)
    assert row == a_job(state=state, hold=hold, generation=generation)
    drop_in = job_of(replace(spec, kind="drop-in"), intake=Intake.CLOSED)
    assert (drop_in.kind, drop_in.items, drop_in.shards, drop_in.intake) == ("drop-in", 0, 0, Intake.CLOSED)


def test_finish_waits_for_every_shard(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards(3))
    commit(ledger, 0)
    ledger.mark_dead("j1", 1, 0, "killed four workers")
    assert ledger.finish_if_complete("j1") is False
    commit(ledger, 2)
    clock.now += 5
    assert ledger.finish_if_complete("j1") is True
    job = ledger.job("j1")
    assert job is not None
    assert (job.state, job.finished_at) == (JobState.FINISHED, NOW + 5)
    assert ledger.active_jobs("segment") == []
    assert ledger.finish_if_complete("j1") is False


def test_finish_before_the_job_row_is_there_does_nothing(ledger: Ledger) -> None:
    ledger.put_shards(some_shards(1))
    commit(ledger, 0)
    assert ledger.finish_if_complete("j1") is False
    assert ledger.put_job(a_job()) is True
    assert ledger.finish_if_complete("j1") is True


def test_cancel_takes_pending_and_running_and_leaves_done(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards(4))
    commit(ledger, 0)
    ledger.start_shard("j1", 1, 0, "i-1")
    assert ledger.cancel_job("j1", "by a person") == 3
    totals = ledger.totals("j1")
    assert (totals.done, totals.cancelled, totals.outstanding, totals.is_complete) == (10, 30, 0, True)
    assert ledger.heartbeat("j1", 1, 0, "i-1", 4) is False
    assert ledger.start_shard("j1", 2, 0, "i-1") is None
    job = ledger.job("j1")
    assert job is not None
    assert (job.state, job.reason) == (JobState.CANCELLED, "by a person")
    assert ledger.cancel_job("j1", "again") == 0


def test_a_commit_that_was_visible_before_the_cancel_counts(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards(1))
    ledger.start_shard("j1", 0, 0, "i-1")
    ledger.cancel_job("j1", "")
    assert commit(ledger, 0) is True
    assert ledger.totals("j1").done == 10


def test_a_dead_shard_is_revived_with_its_job(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    commit(ledger, 1)
    ledger.start_shard("j1", 0, 0, "i-1")
    ledger.mark_dead("j1", 0, 0, "poison")
    ledger.finish_if_complete("j1")
    assert ledger.revive_shard("j1", 1, 0) is False
    assert ledger.revive_shard("j1", 0, 1) is False
    assert ledger.revive_shard("j9", 0, 0) is False
    assert ledger.revive_shard("j1", 0, 0) is True
    shard, job = ledger.shard("j1", 0), ledger.job("j1")
    assert shard is not None
    assert job is not None
    assert (shard.state, shard.started, shard.reason, shard.finished_at) == (ShardState.PENDING, 0, "", None)
    assert (job.state, job.finished_at, ledger.active_jobs("segment")) == (JobState.PENDING, None, [job])
    assert ledger.revive_shard("j1", 0, 0) is False
