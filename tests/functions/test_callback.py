"""Failed asynchronous requests: tried again, given up, or history."""

from __future__ import annotations

from typing import Any

import pytest
from tests.functions.conftest import Killed, Noting, World
from tests.functions.hosted import CRASHED, TIME_IS_UP, asynchronous, failed, row_of, submit, tell
from tests.functions.looks import look
from tests.kill_points import KillPoints, at_kill_points

from gpupipe.kinds.endpoint.backend.callback import callback
from gpuworker.contract import Failure, ShardResult, result_key
from gpuworker.ledger import JobState, ShardRecord, ShardState

SHARD = ("j1", 0, 0)


def test_a_crash_is_blamed_and_tried_again_at_once(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    assert runtime.taken() == [SHARD]
    assert world.ledger.start_shard(*SHARD, "main/a") is not None
    tell(world, CRASHED)
    row = row_of(world)
    assert (row.state, row.started, row.is_unsent) == (ShardState.PENDING, 1, False)
    assert runtime.taken() == [SHARD]
    tell(world, CRASHED)  # the same notification once more
    assert runtime.taken() == []


def test_the_last_try_is_the_last(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    for times in range(1, 5):
        assert runtime.taken() == [SHARD]
        started = world.ledger.start_shard(*SHARD, "main/a")
        assert started is not None
        assert started.started == times
        world.now[0] += 5
        tell(world, "it went away", notice=f"n{times}")
    row, job = row_of(world), world.ledger.job("j1")
    assert (row.state, row.reason) == (ShardState.DEAD, "tried 4 times, last: it went away")
    assert job is not None
    assert job.state is JobState.FINISHED
    assert runtime.taken() == []


def test_a_shard_that_needs_more_time_goes_on_without_blame(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    for times in range(20):
        assert runtime.taken() == [SHARD]
        world.ledger.start_shard(*SHARD, "main/a")
        world.now[0] += 700
        world.ledger.release_shard(*SHARD, "main/a", blame=False)
        tell(world, TIME_IS_UP, notice=f"n{times}")
    row = row_of(world)
    assert (row.state, row.started) == (ShardState.PENDING, 0)


def test_what_goes_on_failing_is_given_up_after_an_hour(world: World) -> None:
    world, _ = asynchronous(world)
    submit(world, {0: 3})
    for times in range(9):
        world.now[0] += 60
        tell(world, "no answer", notice=f"n{times}")
        assert row_of(world).is_unsent
        world.ledger.mark_all_sent([row_of(world)], at=world.now[0])  # as the guard does
    world.now[0] += 60
    tell(world, "no answer", notice="last")
    assert (row_of(world).state, row_of(world).reason) == (
        ShardState.DEAD,
        "its request failed 10 times, last: no answer",
    )


def test_what_expired_in_the_queue_is_nobodys_fault(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    runtime.taken()
    world.now[0] += 21_600
    tell(world, "", status="Expired")
    row = row_of(world)
    assert (row.is_unsent, row.failures, row.started) == (True, 0, 0)
    world.now[0] += 60
    look(world)
    assert runtime.taken() == [SHARD]


@pytest.mark.parametrize("reason", ["", "Unable to get a response", '{"error": {"code": "failed"}}'])
def test_what_never_began_waits_for_the_guard(world: World, reason: str) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    runtime.taken()
    tell(world, reason)
    row = row_of(world)
    assert (row.is_unsent, row.failures) == (True, 1)
    assert runtime.taken() == []


# --- history ---


def committed(world: World) -> None:
    """All of it is written but the ledger's row."""
    times = {"started_at": 1.0, "finished_at": 2.0}
    failure = Failure(output="b", key="inputs/p/b.jpg", etag="e", code="timeout", message="")
    about = {"job": "j1", "number": 0, "generation": 0, "machine": "main/a", "engine": {}, "header": {}}
    result = ShardResult(**about, **times, items=[], failures=[failure])  # type: ignore[arg-type]
    place = {"Bucket": world.ctx.settings.bucket, "Key": result_key(*SHARD)}
    world.ctx.s3.put_object(**place, Body=result.to_gzip())


def test_a_container_that_died_after_its_commit_has_done_its_work(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 1})
    runtime.taken()
    world.ledger.start_shard(*SHARD, "main/a")
    committed(world)
    tell(world, CRASHED)
    row, job = row_of(world), world.ledger.job("j1")
    assert (row.state, row.failed) == (ShardState.DONE, 1)
    assert job is not None
    assert job.state is JobState.FINISHED
    assert runtime.taken() == []


def test_a_failure_of_a_cancelled_or_newer_shard_changes_nothing(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    runtime.taken()
    world.ledger.cancel_job("j1", "cancelled")
    before = row_of(world)
    tell(world, CRASHED)
    assert row_of(world) == before
    world.ledger.put_shards([ShardRecord(job="j1", number=0, generation=1, items=3, sent_at=world.now[0])])
    newer = row_of(world)
    tell(world, CRASHED)
    assert (row_of(world), runtime.taken()) == (newer, [])


def test_a_late_notification_of_an_earlier_request_changes_nothing(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    world.ledger.start_shard(*SHARD, "main/a")
    for notice in ("n1", "n2"):
        world.now[0] += 10
        tell(world, CRASHED, notice=notice)
    runtime.taken()
    before = row_of(world)
    tell(world, CRASHED, notice="n3", ago_s=10)  # of a second copy of the first request
    tell(world, CRASHED, notice="n1")
    assert (row_of(world), runtime.taken()) == (before, [])


def test_a_second_copys_failure_leaves_the_living_worker_alone(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    runtime.taken()
    world.ledger.start_shard(*SHARD, "main/a")
    world.now[0] += 30
    world.ledger.heartbeat(*SHARD, "main/a", 1)
    tell(world, CRASHED, ago_s=20)
    tell(world, TIME_IS_UP, notice="n2")  # the container that said so is not the one that has it now
    assert (row_of(world).machine, runtime.taken()) == ("main/a", [])


def test_a_third_partys_request_is_left(world: World) -> None:
    world, runtime = asynchronous(world)
    tell(world, CRASHED, key="requests/1/a.png")
    tell(world, CRASHED, job="nobody")
    assert runtime.taken() == []


@at_kill_points
def test_killed_anywhere_it_is_sent_again_in_the_end(world: World, kill_points: KillPoints) -> None:
    world, runtime = asynchronous(world)

    def crashed(job: str) -> dict[str, Any]:
        submit(world, {0: 3}, job=job)
        world.ledger.start_shard(job, 0, 0, "main/a")
        runtime.taken()
        return failed(world, CRASHED, job=job)

    def sent_again(job: str) -> int:
        world.now[0] += 60
        look(world)
        assert row_of(world, job=job).started == 1
        return sum(place[0] == job for place in runtime.taken())

    noting = Noting()
    callback(world.under(noting), crashed("whole"))
    assert sent_again("whole") == 1
    for calls in kill_points(noting.operations):
        event = crashed(f"k{calls}")
        with pytest.raises(Killed):
            callback(world.mortal(calls), event)
        callback(world.ctx, event)  # Lambda calls again, with the same event
        assert 1 <= sent_again(f"k{calls}") <= 2
