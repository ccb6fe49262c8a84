"""Failed asynchronous requests: tried again, given up, or history."""

from __future__ import annotations

import pytest
from tests.functions.conftest import World
from tests.functions.hosted import CRASHED, TIME_IS_UP, asynchronous, row_of, submit, tell

from gpuworker.ledger import JobState, ShardState

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


@pytest.mark.parametrize("reason", ["", "Unable to get a response", '{"error": {"code": "failed"}}'])
def test_what_never_began_waits_for_the_guard(world: World, reason: str) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 3})
    runtime.taken()
    tell(world, reason)
    row = row_of(world)
    assert (row.is_unsent, row.failures) == (True, 1)
    assert runtime.taken() == []
