"""Jobs sent to an asynchronous endpoint: all of it, some of it, or later."""

from __future__ import annotations

import pytest
from tests.committed import a_result
from tests.functions.conftest import Killed, Noting, World, made
from tests.functions.hosted import ENDPOINT, asynchronous, hosted, refused, row_of, submit
from tests.functions.looks import codes, look
from tests.kill_points import KillPoints, at_kill_points

from gpupipe.functions.context import AnyContext
from gpupipe.functions.dispatch import dispatch
from gpuworker.contract import Message, manifest_key
from gpuworker.ledger import ShardState


def unsent(world: World, job: str = "j1") -> list[int]:
    return [row.number for row in world.ledger.shards(job) if row.is_unsent]


def test_a_shard_is_a_request(world: World) -> None:
    world, runtime = asynchronous(world)
    submit(world, {0: 2})
    assert runtime.requests == [
        {
            "EndpointName": ENDPOINT,
            "ContentType": "application/json",
            "Accept": "application/json",
            "InputLocation": "s3://demo-dev-segment/jobs/j1/shards/00000.json",
            "InferenceId": "j1.0.0",
            "InvocationTimeoutSeconds": 900,
            "RequestTTLSeconds": 21600,
        }
    ]
    assert row_of(world).sent_at == world.now[0]


def test_thousands_are_requested_at_once(world: World) -> None:
    world, runtime = asynchronous(world, max_instances=10)
    messages = [Message(job="j1", number=number, generation=0) for number in range(4000)]
    assert world.ctx.transport.send(messages) == messages
    assert len(runtime.taken()) == 4000


def test_what_is_too_much_at_once_is_left_to_the_guard(world: World) -> None:
    world, runtime = asynchronous(world, max_instances=1, max_concurrency=1)
    submit(world, dict.fromkeys(range(122), 2))
    assert len(runtime.taken()) == 120
    for number in range(5):
        world.ledger.start_shard("j1", number, 0, "main/i")
        world.ledger.count_result(a_result("j1", number, done=2, machine="main/i"))
    look(world)
    assert [number for _, number, _ in runtime.taken()] == [120, 121]


def test_throttling_half_way_loses_nothing_and_repeats_nothing(world: World) -> None:
    world, runtime = asynchronous(world)
    runtime.refusal, runtime.takes = refused("ThrottlingException", "Rate exceeded"), 3
    submit(world, dict.fromkeys(range(40), 2))
    first = runtime.taken()
    assert 3 <= len(first) < 40
    assert len(unsent(world)) == 40 - len(first)
    runtime.refusal = None
    look(world)
    assert sorted([*first, *runtime.taken()]) == [("j1", number, 0) for number in range(40)]
    assert unsent(world) == []


def test_a_job_waits_for_an_endpoint_that_is_not_there_yet(world: World) -> None:
    world, service = hosted(world)
    service.hosting.status = None
    service.runtime.refusal = refused("ValidationError", "Endpoint demo-dev-segment of account 1 not found.")
    submit(world, {0: 2})
    assert unsent(world) == [0]
    status = look(world)
    assert (codes(status), "gpupipe up" in status["waiting"][0]["message"]) == (["error"], True)
    service.hosting.status = "Creating"
    world.now[0] += 60
    assert codes(look(world)) == ["launching"]
    assert service.runtime.taken() == []
    service.hosting.status, service.runtime.refusal = "InService", None
    world.now[0] += 60
    look(world)
    assert service.runtime.taken() == [("j1", 0, 0)]


@at_kill_points
def test_killed_anywhere_a_redelivered_manifest_sends_the_rest(world: World, kill_points: KillPoints) -> None:
    world, runtime = asynchronous(world)

    def submitted(job: str, ctx: AnyContext) -> set[str]:
        world.put_job({0: 2, 1: 2}, job=job)
        return dispatch(ctx, [made(manifest_key(job))], lambda: 900_000)

    noting = Noting()
    submitted("whole", world.under(noting))
    assert "invoke_endpoint_async" in noting.operations
    runtime.taken()
    for calls in kill_points(noting.operations):
        job = f"j{calls}"
        with pytest.raises(Killed):
            submitted(job, world.mortal(calls))
        assert dispatch(world.ctx, [made(manifest_key(job))], lambda: 900_000) == set()
        assert set(runtime.taken()) == {(job, 0, 0), (job, 1, 0)}
        assert unsent(world, job) == []


def test_dropins_are_sent_at_once_and_need_no_threshold(world: World) -> None:
    world, service = hosted(world)
    dispatch(world.ctx, [made("incoming/field7/a.jpg")], lambda: 900_000)
    assert len(service.runtime.taken()) == 1
    assert codes(look(world)) == ["launching"]
    assert service.hosting.desired == {"main": 1}


def test_nothing_is_sent_while_paused(world: World) -> None:
    world, runtime = asynchronous(world)
    look(world, "stop")
    submit(world, {0: 2})
    assert runtime.taken() == []
    world.now[0] += 60
    look(world)
    assert runtime.taken() == []
    look(world, "start")
    assert runtime.taken() == [("j1", 0, 0)]
    assert row_of(world).state is ShardState.PENDING
