"""Shards: what each change does, and what it refuses when somebody else was first."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.committed import a_result
from tests.gpuworker.ledger.conftest import NOW, Clock, a_job, commit, some_shards

from gpuworker.ledger import (
    JobState,
    Ledger,
    ShardRecord,
    ShardState,
)


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
            ledger.mark_dead("j1", 0, 0, "poison")
        case "cancelled":
            ledger.cancel_job("j1", "")
        case "newer":
            ledger.reopen_job("j1", 1, some_shards(1, generation=1))
    before = ledger.shard("j1", 0)
    assert ledger.start_shard("j1", 0, 0, "i-1") is None
    assert ledger.shard("j1", 0) == before


def test_a_second_copy_of_a_message_takes_no_shard_from_a_living_worker(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards(1))
    ledger.start_shard("j1", 0, 0, "i-1", alive_s=10)
    clock.now += 9
    assert ledger.start_shard("j1", 0, 0, "i-2", alive_s=10) is None
    assert ledger.start_shard("j1", 0, 0, "i-1", alive_s=10) is not None  # the same machine, its worker restarted
    clock.now += 10
    row = ledger.start_shard("j1", 0, 0, "i-2", alive_s=10)
    assert row is not None
    assert (row.machine, row.started) == ("i-2", 3)


def test_start_of_an_unknown_shard_makes_no_row(ledger: Ledger) -> None:
    assert ledger.start_shard("j1", 5, 0, "i-1") is None
    assert ledger.shard("j1", 5) is None


def test_heartbeat_is_only_for_the_machine_that_runs_it(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    assert ledger.heartbeat("j1", 0, 0, "i-1", 1) is False
    ledger.start_shard("j1", 0, 0, "i-1")
    clock.now += 30
    assert ledger.heartbeat("j1", 0, 0, "i-1", 4, (7, 20)) is True
    shard = ledger.shard("j1", 0)
    assert shard is not None
    assert (shard.progress, shard.heartbeat_at) == (4, NOW + 30)
    totals = ledger.totals("j1")
    assert (totals.parts_done, totals.parts) == (7, 20)
    ledger.start_shard("j1", 0, 0, "i-2")
    assert ledger.totals("j1").parts == 0
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


def test_a_result_becomes_the_same_row_for_whoever_counts_it(ledger: Ledger, clock: Clock) -> None:
    # given a commit of two items that count different things, and one that failed
    ledger.open_job(a_job(), some_shards(1))
    counted = replace(
        a_result("j1", done=2, failed=1, seconds={"infer": 2.5, "wall": 3.0}, machine="i-7"),
        engine={"name": "nanodet", "chosen": "there is no GPU"},
    )
    first, second = counted.items
    items = (replace(first, counts={"annotations": 3}), replace(second, counts={"annotations": 4, "hidden": 1}))
    clock.now += 60
    # when worker, guard, retry or rebuild count it, which all make this one call
    assert ledger.count_result(replace(counted, items=items)) is True
    assert ledger.shard("j1", 0) == ShardRecord(
        job="j1",
        number=0,
        state=ShardState.DONE,
        items=10,
        done=2,
        failed=1,
        counts={"annotations": 7, "hidden": 1},
        machine="i-7",
        created_at=NOW,
        finished_at=NOW + 60,
        progress=3,
        seconds={"infer": 2.5, "wall": 3.0},
        engine="nanodet: there is no GPU",
    )


def test_what_made_the_results_is_told_once(ledger: Ledger) -> None:
    ledger.open_job(a_job(shards=4), some_shards(4))
    assert ledger.totals("j1").engines == ()
    for number, engine in enumerate(("sam3", "nanodet: there is no GPU", "sam3", "")):
        commit(ledger, number, engine=engine)
    assert ledger.totals("j1").engines == ("nanodet: there is no GPU", "sam3")


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


def test_marking_dead_counts_its_items_as_dead(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    assert ledger.mark_dead("j1", 0, 1, "") is False
    assert ledger.mark_dead("j1", 0, 0, "poison") is True
    assert ledger.mark_dead("j1", 0, 0, "poison") is False
    totals = ledger.totals("j1")
    assert (totals.dead, totals.failed, totals.pending) == (10, 0, 10)
    commit(ledger, 1)
    assert ledger.mark_dead("j1", 1, 0, "late") is False


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
    ledger.mark_dead("j1", 1, 0, "poison")
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
