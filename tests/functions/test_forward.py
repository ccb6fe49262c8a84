"""Shards of the work queue on their way to a realtime endpoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError
from tests.functions.conftest import World
from tests.functions.hosted import Service, realtime, refused, row_of, submit

from gpupipe.kinds.endpoint.backend.forward import forward
from gpuworker.contract import Message, Shard, shard_key
from gpuworker.ledger import JobState, ShardState

SHARD = ("j1", 0, 0)


def model_error(code: str = "", status: int = 500) -> ClientError:
    said = f'{{"error": {{"code": "{code}"}}}}' if code else ""
    told = {"Error": {"Code": "ModelError", "Message": f"Received server error ({status}) from primary"}}
    response: Any = {**told, "OriginalStatusCode": status, "OriginalMessage": said}
    return ClientError(response, "InvokeEndpoint")


def little_time() -> float:
    return 70.0


@pytest.fixture
def hosted(world: World) -> tuple[World, Service]:
    """One shard of one item waits."""
    world, service = realtime(world)
    submit(world, {0: 1})
    fields: dict[str, Any] = {"pipeline": "segment", "project": "field7", "task": "segment", "options": {}}
    item = {"key": "inputs/field7/a.png", "etag": "e", "size": 1, "output": "a"}
    shard = Shard.from_dict({"job": "j1", "number": 0, "items": [item], **fields})
    world.put(shard_key(*SHARD), shard.to_json())
    return world, service


def received(world: World, receives: int = 1) -> dict[str, Any]:
    """The next message, as Lambda gets it."""
    url = world.ctx.settings.work_queue_url
    (message,) = world.ctx.client("sqs").receive_message(QueueUrl=url)["Messages"]
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": {"ApproximateReceiveCount": str(receives)},
    }


def go(world: World, receives: int = 1, left_s: Callable[[], float] = little_time) -> bool:
    return forward(world.ctx, received(world, receives), left_s)


def test_a_shard_is_the_body_of_a_request(hosted: tuple[World, Service]) -> None:
    world, service = hosted
    assert go(world) is True
    (request,) = service.runtime.requests
    assert Shard.from_json(request["Body"]).job == "j1"
    assert (request["InferenceId"], request["ContentType"]) == ("j1.0.0", "application/json")


def test_a_busy_endpoint_is_asked_again_while_there_is_time(hosted: tuple[World, Service]) -> None:
    world, service = hosted
    service.runtime.answers = [refused("ThrottlingException"), model_error("starting", 503)]
    assert go(world, left_s=lambda: 600.0) is True
    assert len(service.runtime.requests) == 3


@pytest.mark.parametrize(
    "error",
    [
        refused("ValidationError", "Endpoint demo-dev-segment of account 1 not found."),
        model_error("draining", 503),
        ReadTimeoutError(endpoint_url="https://x"),
    ],
)
def test_what_is_not_the_shards_fault_begins_anew_after_the_last_receive(
    hosted: tuple[World, Service], error: Exception
) -> None:
    world, service = hosted
    service.runtime.answers = [error, error]
    assert go(world, receives=3) is False
    url = world.ctx.settings.work_queue_url
    world.ctx.client("sqs").purge_queue(QueueUrl=url)
    world.ctx.client("sqs").send_message(QueueUrl=url, MessageBody=Message(job="j1", number=0, generation=0).to_json())
    assert go(world, receives=4) is True
    counts = world.ctx.client("sqs").get_queue_attributes(
        QueueUrl=url, AttributeNames=["ApproximateNumberOfMessagesDelayed"]
    )
    assert counts["Attributes"]["ApproximateNumberOfMessagesDelayed"] == "1"
    assert row_of(world).state is ShardState.PENDING


def test_what_kills_the_container_is_blamed_and_marked_dead_at_last(hosted: tuple[World, Service]) -> None:
    world, service = hosted
    service.runtime.answers = [model_error()]
    world.ledger.start_shard(*SHARD, "main/i")
    assert go(world) is False
    assert (row_of(world).state, row_of(world).started) == (ShardState.PENDING, 1)
    service.runtime.answers = [model_error()]
    for _ in range(3):
        world.ledger.start_shard(*SHARD, "main/i")
    again = Message(job="j1", number=0, generation=0).to_json()
    world.ctx.client("sqs").send_message(QueueUrl=world.ctx.settings.work_queue_url, MessageBody=again)
    assert go(world, receives=2) is False
    row, job = row_of(world), world.ledger.job("j1")
    assert (row.state, row.reason.startswith("tried 4 times")) == (ShardState.DEAD, True)
    assert job is not None
    assert job.state is JobState.FINISHED


def test_a_shard_that_the_container_marked_dead_is_done_with(hosted: tuple[World, Service]) -> None:
    world, service = hosted
    service.runtime.answers = [model_error("unusable_shard", 422)]
    world.ledger.mark_dead(*SHARD, "no shard")
    assert go(world) is True


def test_the_message_of_a_cancelled_shard_is_done_with(hosted: tuple[World, Service]) -> None:
    world, service = hosted
    service.runtime.answers = [model_error("failed")]
    world.ledger.cancel_job("j1", "cancelled")
    assert go(world) is True


def test_a_message_that_is_none_of_ours_ends_in_the_dead_letter_queue(hosted: tuple[World, Service]) -> None:
    world, service = hosted
    for body in ("x", Message(job="nobody", number=7, generation=0).to_json()):
        record = {"messageId": "m", "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
        assert forward(world.ctx, record, little_time) is False
    assert service.runtime.requests == []
