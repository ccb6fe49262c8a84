"""A shard's commit by a function that did the work itself."""

from __future__ import annotations

from tests.committed import a_result
from tests.functions.conftest import World

from gpupipe.functions.commits import commit
from gpuworker.contract import JobSpec, result_key
from gpuworker.ledger import JobState, ShardRecord, ShardState, job_of

PLACE = ("j1", 0, 0)


def registered(world: World, generation: int = 0) -> None:
    """A job of one shard."""
    spec = JobSpec(job="j1", pipeline="segment", project="field7", task="segment", options={}, created_at=0.0)
    world.ledger.put_shards([ShardRecord(job="j1", number=0, generation=generation, items=2)])
    world.ledger.put_job(job_of(spec, items=2, shards=1))


def row_of(world: World) -> ShardRecord:
    row = world.ledger.shard("j1", 0)
    assert row is not None
    return row


def test_results_are_visible_and_counted_and_the_job_is_over(world: World) -> None:
    registered(world)
    assert commit(world.ctx, a_result("j1", done=2)) is True
    assert world.keys("jobs/j1/") == [result_key(*PLACE)]
    assert (row_of(world).state, row_of(world).done) == (ShardState.DONE, 2)
    job = world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED


def test_of_two_commits_the_first_counts(world: World) -> None:
    registered(world)
    commit(world.ctx, a_result("j1", done=2, machine="first"))
    before = world.ctx.s3.get_object(**world.ctx.in_bucket, Key=result_key(*PLACE))["Body"].read()
    assert commit(world.ctx, a_result("j1", done=1, failed=1, machine="second")) is True
    assert world.ctx.s3.get_object(**world.ctx.in_bucket, Key=result_key(*PLACE))["Body"].read() == before
    assert (row_of(world).machine, row_of(world).done) == ("first", 2)


def test_a_shard_that_was_sent_anew_is_not_done_by_an_old_commit(world: World) -> None:
    registered(world, generation=1)
    assert commit(world.ctx, a_result("j1", done=2)) is False
    assert row_of(world).state is ShardState.PENDING
