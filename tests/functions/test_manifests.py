"""Manifests become jobs, whatever happens on the way."""

from __future__ import annotations

from typing import Any

import pytest
from tests.committed import a_result
from tests.functions.conftest import NOW, Killed, Noting, World, asked, made
from tests.kill_points import KillPoints, at_kill_points

from gpupipe.functions.context import AnyContext
from gpupipe.functions.dispatch import dispatch
from gpuworker.contract import Item, Manifest, Message, Shard, cancelled_key, manifest_key, shard_key
from gpuworker.ledger import JobState, ShardState

MANIFEST = made("jobs/j1/manifest.json")


def run(ctx: AnyContext, *records: dict[str, Any]) -> set[str]:
    return dispatch(ctx, records, lambda: 900_000)


def test_a_manifest_becomes_rows_messages_and_a_job(world: World) -> None:
    world.put_job({0: 10, 1: 10, 2: 4})
    assert run(world.ctx, MANIFEST) == set()
    job = world.ledger.job("j1")
    assert job is not None
    assert (job.items, job.shards, job.state, job.created_at) == (24, 3, JobState.PENDING, NOW)
    assert [(row.number, row.items, row.sent_at) for row in world.ledger.shards("j1")] == [
        (0, 10, NOW),
        (1, 10, NOW),
        (2, 4, NOW),
    ]
    assert sorted(message.number for message in world.sent()) == [0, 1, 2]
    assert world.functions.invoked == ["demo-dev-segment-guard"]


def test_a_manifest_twice_sends_nothing_twice(world: World) -> None:
    world.put_job({0: 10, 1: 10})
    run(world.ctx, MANIFEST)
    world.sent()
    assert run(world.ctx, MANIFEST) == set()
    assert world.sent() == []


def test_many_shards_are_all_sent(world: World) -> None:
    world.put_job(dict.fromkeys(range(105), 256))
    run(world.ctx, MANIFEST)
    assert sorted(message.number for message in world.sent()) == list(range(105))
    totals = world.ledger.totals("j1")
    assert (totals.shards, totals.items) == (105, 105 * 256)


def test_a_held_job_is_queued_but_wakes_nobody(world: World) -> None:
    world.put_job({0: 10}, hold=True)
    run(world.ctx, MANIFEST)
    job = world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.HELD
    assert len(world.sent()) == 1
    assert world.functions.invoked == []


def test_a_job_cancelled_before_it_began_does_not_begin(world: World) -> None:
    world.put_job({0: 10})
    world.put(cancelled_key("j1"), "")
    run(world.ctx, MANIFEST)
    job = world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.CANCELLED
    assert world.ledger.totals("j1").cancelled == 10
    assert [world.ledger.start_shard("j1", message.number, 0, "i-1") for message in world.sent()] == [None]
    assert world.functions.invoked == []


def test_an_empty_job_is_finished_at_once(world: World) -> None:
    world.put_job({})
    run(world.ctx, MANIFEST)
    job = world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED


def test_shards_done_before_a_redelivery_are_not_sent_again(world: World) -> None:
    world.put_job({0: 10, 1: 10, 2: 10})
    with pytest.raises(Killed):
        run(world.mortal(6), MANIFEST)  # the messages are sent, the job row is not there yet
    assert world.ledger.job("j1") is None
    world.sent()
    world.ledger.start_shard("j1", 0, 0, "i-1")
    world.ledger.count_result(a_result("j1", 0, done=10))
    world.ledger.start_shard("j1", 1, 0, "i-1")
    run(world.ctx, MANIFEST)
    assert [message.number for message in world.sent()] == [2]
    assert world.ledger.job("j1") is not None


@pytest.mark.parametrize(("shards", "registered"), [(101, 100), pytest.param(250, 200, marks=pytest.mark.exhaustive)])
def test_a_job_too_large_for_one_invocation_goes_on_where_it_was_killed(
    world: World, shards: int, registered: int
) -> None:
    # given the registration of many shards, a hundred a write, killed before the last of these writes
    world.put_job(dict.fromkeys(range(shards), 5))
    with pytest.raises(Killed):
        run(world.mortal(4 + registered // 100), MANIFEST)
    assert world.ledger.totals("j1").shards == registered
    # when the message comes again
    again = Noting()
    run(world.under(again), MANIFEST)
    # then only what is missing is written, and all is sent
    assert again.operations.count("transact_write_items") == 2, "the last rows, and the job"
    assert {message.number for message in world.sent()} == set(range(shards))


@at_kill_points
def test_killed_anywhere_the_next_delivery_completes_it(world: World, kill_points: KillPoints) -> None:
    world.put_job(dict.fromkeys(range(12), 5))
    noting = Noting()
    run(world.under(noting), MANIFEST)
    assert {"transact_write_items", "send_message_batch", "invoke"} <= {*noting.operations}
    world.sent()
    for calls in kill_points(noting.operations):
        world.forget()
        with pytest.raises(Killed):
            run(world.mortal(calls), MANIFEST)
        run(world.ctx, MANIFEST)
        assert {message.number for message in world.sent()} == set(range(12))
        assert world.ledger.totals("j1").pending == 60
        assert world.ledger.job("j1") is not None


def test_an_unusable_manifest_is_said_and_not_tried_for_ever(world: World) -> None:
    world.put("jobs/j1/manifest.json", "{}")
    world.put("jobs/j1/job.json", "{}")
    assert run(world.ctx, MANIFEST, made("jobs/j2/manifest.json")) == set()
    (ignored,) = world.ledger.ignored("segment")
    assert (ignored.reason, ignored.count) == ("unusable_manifest", 2)


def test_a_failure_of_aws_leaves_only_its_message(world: World) -> None:
    world.put_job({0: 10})
    world.put_job({0: 10}, job="j2")
    url = world.ctx.settings.work_queue_url
    world.ctx.client("sqs").delete_queue(QueueUrl=url)
    assert run(world.ctx, MANIFEST, asked({"Event": "s3:TestEvent"}, "test")) == {"jobs/j1/manifest.json"}
    world.ctx.client("sqs").create_queue(QueueName="demo-dev-segment-work")
    assert run(world.ctx, MANIFEST, made("jobs/j2/manifest.json")) == set()
    assert {message.job for message in world.sent()} == {"j1", "j2"}


def test_without_time_nothing_is_begun(world: World) -> None:
    world.put_job({0: 10})
    assert dispatch(world.ctx, [MANIFEST], lambda: 5_000) == {"jobs/j1/manifest.json"}
    assert world.sent() == []


# --- retries ---


def put_retry(world: World, generation: int, carried: dict[str, int]) -> dict[str, Any]:
    items = [Item(key=f"inputs/field7/{n}.jpg", etag="e", size=1, output=str(n)) for n in range(3)]
    shard = Shard(
        job="j1",
        pipeline="segment",
        project="field7",
        number=1,
        generation=generation,
        task="segment",
        options={},
        items=items,
        carried=carried,
    )
    manifest = Manifest(job="j1", pipeline="segment", project="field7", generation=generation, shards={"1": 3})
    world.put(shard_key("j1", 1, generation), shard.to_json())
    world.put(manifest_key("j1", generation), manifest.to_json())
    return made(manifest_key("j1", generation))


def test_a_retry_sends_its_shards_and_keeps_what_was_finished(world: World) -> None:
    world.put_job({0: 10, 1: 10})
    run(world.ctx, MANIFEST)
    world.sent()
    for number, failed in ((0, 0), (1, 3)):
        world.ledger.count_result(a_result("j1", number, done=10 - failed, failed=failed, counts={"annotations": 7}))
    world.ledger.finish_if_complete("j1")
    event = put_retry(world, 1, {"done": 7, "failed": 0, "annotations": 7})
    for _ in range(2):
        run(world.ctx, event)
    assert world.sent() == [Message(job="j1", number=1, generation=1)]
    totals, job = world.ledger.totals("j1"), world.ledger.job("j1")
    assert (totals.items, totals.done, totals.pending, totals.counts) == (20, 17, 3, {"annotations": 14})
    assert job is not None
    assert (job.state, job.generation) == (JobState.PENDING, 1)


@at_kill_points
def test_a_retry_killed_anywhere_is_completed(world: World, kill_points: KillPoints) -> None:
    world.put_job({0: 10, 1: 10})
    run(world.ctx, MANIFEST)
    noting = Noting()
    run(world.under(noting), put_retry(world, 1, {"done": 7}))
    world.sent()
    for generation, calls in enumerate(kill_points(noting.operations), 2):
        event = put_retry(world, generation, {"done": 7})
        with pytest.raises(Killed):
            run(world.mortal(calls), event)
        run(world.ctx, event)
        row, job = world.ledger.shard("j1", 1), world.ledger.job("j1")
        assert row is not None
        assert job is not None
        assert (row.generation, row.state, row.done, job.generation) == (generation, ShardState.PENDING, 7, generation)
        assert Message(job="j1", number=1, generation=generation) in world.sent()


def test_a_retry_whose_first_manifest_was_never_heard_of(world: World) -> None:
    world.put_job({0: 10, 1: 10})
    run(world.ctx, put_retry(world, 1, {"done": 7}))
    job, totals = world.ledger.job("j1"), world.ledger.totals("j1")
    assert job is not None
    assert (job.generation, totals.items, totals.pending) == (1, 20, 13)
    assert {(message.number, message.generation) for message in world.sent()} >= {(0, 0), (1, 1)}
