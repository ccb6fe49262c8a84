"""The ledger over an emulated table: what each change does, and what it refuses when somebody else was first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

from gpuworker.ledger import (
    Intake,
    JobRecord,
    JobState,
    KeyRecord,
    Ledger,
    MachineRecord,
    MachineState,
    ShardRecord,
    ShardState,
    Totals,
)
from gpuworker.ledger.records import from_row, padded, seconds_by_month, to_row
from gpuworker.ledger.table import row_from_wire, to_wire

NOW = 1_795_000_000.0
TABLE = "demo-dev-ledger"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="module")
def dynamodb() -> Iterator[Any]:
    with mock_aws():
        yield boto3.client(
            "dynamodb", region_name="us-east-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )


@pytest.fixture
def ledger(dynamodb: Any, clock: Clock) -> Iterator[Ledger]:
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    yield Ledger(dynamodb, TABLE, clock)
    dynamodb.delete_table(TableName=TABLE)


def a_job(job: str = "j1", **changes: Any) -> JobRecord:
    fields: dict[str, Any] = {
        "job": job,
        "pipeline": "segment",
        "project": "field7",
        "task": "segment",
        "kind": "submitted",
        "state": JobState.PENDING,
        "created_at": NOW,
        "items": 20,
        "shards": 2,
    }
    return JobRecord(**{**fields, **changes})


def some_shards(count: int = 2, job: str = "j1", **changes: Any) -> list[ShardRecord]:
    return [ShardRecord(job=job, number=n, items=10, created_at=NOW, **changes) for n in range(count)]


def commit(ledger: Ledger, number: int, generation: int = 0, **changes: Any) -> bool:
    fields: dict[str, Any] = {"done": 10, "failed": 0, "counts": {"annotations": 30}, "seconds": {"infer": 2.5}}
    return ledger.commit_shard("j1", number, generation, machine="i-1", **{**fields, **changes})


# --- jobs ---


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


def test_finish_waits_for_every_shard(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards(3))
    commit(ledger, 0)
    ledger.bury_shard("j1", 1, 0, "killed four workers")
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


# --- shards ---


def test_start_counts_and_moves_the_job(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(hold=True, state=JobState.HELD), some_shards())
    clock.now += 7
    shard = ledger.start_shard("j1", 0, 0, "i-1")
    assert shard is not None
    assert (shard.state, shard.started, shard.machine) == (ShardState.RUNNING, 1, "i-1")
    assert (shard.started_at, shard.heartbeat_at) == (NOW + 7, NOW + 7)
    job = ledger.job("j1")
    assert job is not None
    assert job.state is JobState.RUNNING
    again = ledger.start_shard("j1", 0, 0, "i-2")
    assert again is not None
    assert again.started == 2


@pytest.mark.parametrize("end", ["done", "dead", "cancelled", "newer"])
def test_start_refuses_what_is_over(ledger: Ledger, end: str) -> None:
    ledger.open_job(a_job(), some_shards())
    match end:
        case "done":
            commit(ledger, 0)
        case "dead":
            ledger.bury_shard("j1", 0, 0, "poison")
        case "cancelled":
            ledger.cancel_job("j1", "")
        case "newer":
            ledger.reopen_job("j1", 1, some_shards(1, generation=1))
    before = ledger.shard("j1", 0)
    assert ledger.start_shard("j1", 0, 0, "i-1") is None
    assert ledger.shard("j1", 0) == before


def test_start_of_an_unknown_shard_makes_no_row(ledger: Ledger) -> None:
    assert ledger.start_shard("j1", 5, 0, "i-1") is None
    assert ledger.shard("j1", 5) is None


def test_heartbeat_is_only_for_the_machine_that_runs_it(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    assert ledger.heartbeat("j1", 0, 0, "i-1", 1) is False
    ledger.start_shard("j1", 0, 0, "i-1")
    clock.now += 30
    assert ledger.heartbeat("j1", 0, 0, "i-1", 4) is True
    shard = ledger.shard("j1", 0)
    assert shard is not None
    assert (shard.progress, shard.heartbeat_at) == (4, NOW + 30)
    ledger.start_shard("j1", 0, 0, "i-2")
    assert ledger.heartbeat("j1", 0, 0, "i-1", 5) is False
    assert ledger.heartbeat("j1", 0, 0, "i-2", 1) is True


@pytest.mark.parametrize(("blame", "started"), [(True, 1), (False, 0)])
def test_release_gives_back_with_or_without_blame(ledger: Ledger, blame: bool, started: int) -> None:
    ledger.open_job(a_job(), some_shards())
    ledger.start_shard("j1", 0, 0, "i-1")
    assert ledger.release_shard("j1", 0, 0, "i-9", blame=blame) is False
    assert ledger.release_shard("j1", 0, 0, "i-1", blame=blame) is True
    assert ledger.release_shard("j1", 0, 0, "i-1", blame=blame) is False
    shard = ledger.shard("j1", 0)
    assert shard is not None
    assert (shard.state, shard.started, shard.machine) == (ShardState.PENDING, started, "")


def test_commit_twice_counts_once(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    ledger.start_shard("j1", 0, 0, "i-1")
    assert commit(ledger, 0) is True
    first = ledger.shard("j1", 0)
    clock.now += 60
    assert commit(ledger, 0) is True
    assert ledger.shard("j1", 0) == first
    totals = ledger.totals("j1")
    assert (totals.done, totals.pending, totals.counts, totals.seconds) == (10, 10, {"annotations": 30}, {"infer": 2.5})


def test_commit_of_an_older_generation_is_refused(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    commit(ledger, 0, done=7, failed=3)
    carried = {"done": 7, "failed": 0, "annotations": 21}
    ledger.reopen_job("j1", 1, some_shards(1, generation=1, carried=carried))
    assert commit(ledger, 0, 0) is False
    shard = ledger.shard("j1", 0)
    assert shard is not None
    assert (shard.generation, shard.state, shard.done, shard.counts) == (1, ShardState.PENDING, 7, {"annotations": 21})


def test_commit_of_a_retry_adds_what_it_carries(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards(1))
    commit(ledger, 0, done=7, failed=3)
    carried = {"done": 7, "failed": 1, "annotations": 21}
    ledger.reopen_job("j1", 1, some_shards(1, generation=1, carried=carried))
    assert ledger.totals("j1").pending == 2
    for _ in range(2):
        assert commit(ledger, 0, 1, done=2, failed=0, counts={"annotations": 4, "hidden": 1}) is True
    totals = ledger.totals("j1")
    assert (totals.items, totals.done, totals.failed, totals.pending) == (10, 9, 1, 0)
    assert totals.counts == {"annotations": 25, "hidden": 1}


def test_commit_of_a_missing_row_is_refused(ledger: Ledger) -> None:
    assert commit(ledger, 3) is False
    assert ledger.shard("j1", 3) is None


def test_bury_counts_its_items_as_dead(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    assert ledger.bury_shard("j1", 0, 1, "") is False
    assert ledger.bury_shard("j1", 0, 0, "poison") is True
    assert ledger.bury_shard("j1", 0, 0, "poison") is False
    totals = ledger.totals("j1")
    assert (totals.dead, totals.failed, totals.pending) == (10, 0, 10)
    commit(ledger, 1)
    assert ledger.bury_shard("j1", 1, 0, "late") is False


def test_requeue_only_what_still_shows_no_life(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    ledger.start_shard("j1", 0, 0, "i-1")
    seen = ledger.shard("j1", 0)
    assert seen is not None
    clock.now += 700
    ledger.heartbeat("j1", 0, 0, "i-1", 3)
    assert ledger.requeue_shard(seen) is False
    seen = ledger.shard("j1", 0)
    assert seen is not None
    assert ledger.requeue_shard(seen) is True
    shard = ledger.shard("j1", 0)
    assert shard is not None
    assert (shard.state, shard.started, shard.sent_at) == (ShardState.PENDING, 1, NOW + 700)
    assert ledger.requeue_shard(seen) is False


def test_mark_sent_does_not_touch_what_is_over(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    commit(ledger, 1)
    assert ledger.mark_sent("j1", 0, 0) is True
    assert ledger.mark_sent("j1", 1, 0) is False


def test_reopen_twice_and_out_of_order(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    commit(ledger, 0)
    ledger.bury_shard("j1", 1, 0, "poison")
    ledger.finish_if_complete("j1")
    second = ShardRecord(job="j1", number=1, generation=2, items=10)
    first = ShardRecord(job="j1", number=1, generation=1, items=10)
    assert ledger.reopen_job("j1", 2, [second]) is True
    assert ledger.reopen_job("j1", 2, [second]) is False
    assert ledger.reopen_job("j1", 1, [first]) is False
    shard, job = ledger.shard("j1", 1), ledger.job("j1")
    assert shard is not None
    assert job is not None
    assert (shard.generation, shard.state) == (2, ShardState.PENDING)
    assert (job.generation, job.state, job.finished_at) == (2, JobState.PENDING, None)
    assert ledger.active_jobs("segment") == [job]


def test_wake_job_only_from_held_and_stalled(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(state=JobState.HELD, hold=True), [])
    clock.now += 9
    assert ledger.wake_job("j1") is True
    assert ledger.wake_job("j1") is False
    job = ledger.job("j1")
    assert job is not None
    assert (job.state, job.hold, job.woken_at) == (JobState.PENDING, False, NOW + 9)


# --- drop-ins ---


def open_dropin(ledger: Ledger, job: str = "j1") -> str:
    return ledger.open_dropin_job(a_job(job, kind="drop-in"))


def test_one_dropin_job_a_project(ledger: Ledger) -> None:
    assert ledger.dropin_job("segment", "field7") is None
    assert open_dropin(ledger, "j1") == "j1"
    assert open_dropin(ledger, "j2") == "j1"
    assert ledger.job("j2") is None
    assert [job.job for job in ledger.active_jobs("segment")] == ["j1"]
    job = ledger.job("j1")
    assert job is not None
    assert (job.intake, job.shards, job.items) == (Intake.OPEN, 0, 0)


def test_dropin_shards_are_numbered_and_close_stops_them(ledger: Ledger) -> None:
    open_dropin(ledger)
    assert [ledger.allocate_shard("j1", 3), ledger.allocate_shard("j1", 4)] == [0, 1]
    assert ledger.close_dropin_job("segment", "field7", "j1", 1) is False
    assert ledger.close_dropin_job("segment", "other", "j1", 2) is False
    assert ledger.close_dropin_job("segment", "field7", "j1", 2) is True
    assert ledger.close_dropin_job("segment", "field7", "j1", 2) is False
    assert ledger.allocate_shard("j1") is None
    assert ledger.allocate_shard("j9") is None
    assert open_dropin(ledger, "j2") == "j2"


def test_dropin_finishes_only_when_sealed(ledger: Ledger) -> None:
    open_dropin(ledger)
    ledger.allocate_shard("j1")
    ledger.put_shards(some_shards(1))
    commit(ledger, 0)
    assert ledger.finish_if_complete("j1") is False
    assert ledger.seal_job("j1") is False
    ledger.close_dropin_job("segment", "field7", "j1", 1)
    assert ledger.finish_if_complete("j1") is False
    assert ledger.seal_job("j1") is True
    assert ledger.finish_if_complete("j1") is True


def test_cancel_of_an_open_dropin_frees_the_project(ledger: Ledger) -> None:
    open_dropin(ledger)
    ledger.allocate_shard("j1")
    ledger.put_shards(some_shards(1))
    assert ledger.cancel_job("j1", "") == 1
    assert ledger.dropin_job("segment", "field7") is None
    assert ledger.allocate_shard("j1") is None


def test_void_or_put_whoever_is_first(ledger: Ledger) -> None:
    open_dropin(ledger)
    shards = some_shards(2)
    assert ledger.void_shard("j1", 0) is True
    assert ledger.void_shard("j1", 0) is True
    assert ledger.put_shards(shards) == 1
    assert ledger.void_shard("j1", 1) is False
    totals = ledger.totals("j1")
    assert (totals.items, totals.pending, totals.shards_open) == (10, 10, 1)


def a_key(**changes: Any) -> KeyRecord:
    fields = {"key": "incoming/field7/a.jpg", "etag": "e1", "sequencer": padded("0A"), "job": "j1", "shard": 0}
    return KeyRecord(**{**fields, **changes})


def test_record_key_only_over_what_was_seen(ledger: Ledger) -> None:
    first, second = a_key(), a_key(etag="e2", shard=1)
    assert ledger.record_key("segment", "field7", first) is True
    assert ledger.record_key("segment", "field7", second) is False
    assert ledger.record_key("segment", "field7", second, known=first) is True
    assert ledger.record_key("segment", "field7", a_key(shard=2), known=first) is False
    assert ledger.keys("segment", "field7", [first.key, "incoming/field7/b.jpg"]) == {first.key: second}
    assert ledger.keys("segment", "field8", [first.key]) == {}


def test_keys_in_bulk_and_longer_than_a_sort_key(ledger: Ledger) -> None:
    long = ["incoming/field7/" + "ä" * 500 + f"{n}.jpg" for n in range(2)]
    keys = [*long, *(f"incoming/field7/{n}.jpg" for n in range(120))]
    records = [(a_key(key=key), None) for key in keys]
    assert ledger.record_keys("segment", "field7", records) == set()
    assert set(ledger.keys("segment", "field7", keys)) == set(keys)
    assert ledger.record_keys("segment", "field7", [*records[:3], (a_key(key="incoming/field7/new.jpg"), None)]) == {
        *keys[:3]
    }


def test_an_output_name_belongs_to_one_key(ledger: Ledger) -> None:
    assert ledger.claim_output("j1", "a", "incoming/field7/a.jpg") is True
    assert ledger.claim_output("j1", "a", "incoming/field7/a.jpg") is True
    assert ledger.claim_output("j1", "a", "incoming/field7/a.png") is False
    assert ledger.claim_output("j2", "a", "incoming/field7/a.png") is True


def test_ignored_objects_are_counted(ledger: Ledger) -> None:
    ledger.count_ignored("segment", "field7", "suffix", 2, "incoming/field7/b.tfw")
    ledger.count_ignored("segment", "field7", "suffix", 1, "incoming/field7/c.prj")
    (ignored,) = ledger.ignored("segment")
    assert (ignored.count, ignored.last_key, ignored.at) == (3, "incoming/field7/c.prj", NOW)
    assert ledger.guard_status("segment") == {}


@given(st.text("0123456789ABCDEF", min_size=1, max_size=40), st.text("0123456789abcdef", min_size=1, max_size=40))
def test_padded_sequencers_sort_as_numbers(left: str, right: str) -> None:
    assert (padded(left) < padded(right)) == (int(left, 16) < int(right, 16))


# --- guard and machines ---


def test_lease_is_held_by_one_until_it_ends(ledger: Ledger, clock: Clock) -> None:
    assert ledger.acquire_lease("segment", "a", 60) is True
    assert ledger.acquire_lease("segment", "b", 60) is False
    assert ledger.acquire_lease("segment", "a", 60) is True
    assert ledger.release_lease("segment", "b") is False
    assert ledger.release_lease("segment", "a") is True
    assert ledger.acquire_lease("segment", "b", 60) is True
    clock.now += 61
    assert ledger.acquire_lease("segment", "a", 60) is True


def test_status_and_control_come_back(ledger: Ledger) -> None:
    status = {"at": NOW + 0.25, "wanted": 1, "waiting": [{"code": "quota", "message": "no vCPUs"}], "refusals": []}
    ledger.put_guard_status("segment", status)
    assert ledger.guard_status("segment") == status
    assert ledger.control("segment") == {}
    ledger.set_control("segment", paused=True)
    assert ledger.control("segment") == {"paused": True}


def a_machine(**changes: Any) -> MachineRecord:
    fields: dict[str, Any] = {
        "machine": "i-1",
        "pipeline": "segment",
        "instance_type": "g4dn.xlarge",
        "zone": "us-east-1a",
        "market": "on-demand",
        "launched_at": NOW,
        "run_started_at": NOW,
        "price_usd_per_hour": 0.526,
    }
    return MachineRecord(**{**fields, **changes})


def test_machine_runs_are_billed_once_each(ledger: Ledger, clock: Clock) -> None:
    ledger.put_machine(a_machine())
    clock.now += 100
    assert ledger.machine_seen("segment", "i-1", shards_committed=2) is True
    seen = ledger.machine("segment", "i-1")
    assert seen is not None
    assert (seen.state, seen.run_shards, seen.last_seen_at) == (MachineState.RUNNING, 2, NOW + 100)
    assert ledger.end_run(seen, MachineState.STOPPED, stopped_at=NOW + 3600, reason="idle") is True
    assert ledger.end_run(seen, MachineState.STOPPED, stopped_at=NOW + 3600, reason="idle") is False
    assert ledger.machine_seen("segment", "i-1") is False
    stopped = ledger.machine("segment", "i-1")
    assert stopped is not None
    assert (stopped.seconds_billed, stopped.runs[-1].shards) == (3600, 2)
    assert ledger.begin_run(stopped, NOW + 7200) is True
    assert ledger.begin_run(stopped, NOW + 7200) is False
    (again,) = ledger.machines("segment")
    assert (again.run_shards, again.last_seen_at, again.stopped_at) == (0, None, None)
    assert again.cost_usd(NOW + 7200 + 1800) == pytest.approx(1.5 * 0.526)


def test_unknown_machine_is_not_invented(ledger: Ledger) -> None:
    assert ledger.machine_seen("segment", "i-9") is False
    assert ledger.change_machine("segment", "i-9", alarmed=True) is False
    assert ledger.machines("segment") == []


def test_a_spot_loss_is_no_blame(ledger: Ledger) -> None:
    ledger.put_machine(a_machine(market="spot"))
    ledger.machine_seen("segment", "i-1", state="interrupted")
    ledger.end_run(a_machine(), MachineState.TERMINATED, stopped_at=NOW + 500, reason="spot")
    (record,) = ledger.machines("segment")
    assert record.runs[-1].interrupted is True
    assert record.is_up is False


def test_a_run_over_the_end_of_a_month_is_split() -> None:
    midnight = 1_793_491_200.0  # 2026-11-01 00:00 UTC
    assert seconds_by_month(midnight - 600, midnight + 300) == {"2026-10": 600.0, "2026-11": 300.0}
    assert seconds_by_month(midnight, midnight + 1) == {"2026-11": 60.0}


# --- rows ---

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9).filter(lambda x: abs(x) > 1e-6)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=5))
def test_rows_survive_the_wire(row: dict[str, Any]) -> None:
    wire = json.loads(json.dumps({name: to_wire(value) for name, value in row.items()}))
    assert row_from_wire(wire) == row


@given(
    st.lists(
        st.tuples(st.sampled_from(ShardState), st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)), max_size=30
    )
)
def test_totals_always_add_up(rows: list[tuple[ShardState, int, int, int]]) -> None:
    shards = [
        ShardRecord(job="j", number=n, state=state, items=20, done=done, failed=failed, progress=progress)
        for n, (state, done, failed, progress) in enumerate(rows)
    ]
    totals = Totals.of(shards)
    parts = [totals.done, totals.failed, totals.dead, totals.cancelled]
    assert totals.items == sum(parts) + totals.outstanding
    assert totals.is_complete == all(not shard.is_open for shard in shards)


def test_a_row_of_a_later_version_is_read() -> None:
    row = {**to_row(a_machine()), "pk": "machines#segment", "colour": "red", "price_usd_per_hour": 1}
    record = from_row(MachineRecord, row)
    assert record == a_machine(price_usd_per_hour=1.0)
    assert isinstance(record.price_usd_per_hour, float)


def test_importing_the_ledger_imports_no_boto3() -> None:
    code = "import sys, gpuworker.ledger; sys.exit(any(name in sys.modules for name in ('boto3', 'botocore')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
