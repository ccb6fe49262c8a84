"""Messages that anybody may have put by hand: each fails or is passed over alone, and its neighbours are dispatched."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.functions.conftest import BUCKET, World, asked, made
from tests.functions.hosted import asynchronous, realtime
from tests.hostile_messages import HOSTILE

from gpupipe.functions.context import Context
from gpupipe.functions.dispatch import dispatch
from gpupipe.kinds.endpoint.backend.callback import callback
from gpupipe.kinds.endpoint.backend.forward import forward
from gpuworker.contract import shard_key
from gpuworker.ledger import ShardRecord


def run(ctx: Context, *records: dict[str, Any]) -> set[str]:
    return dispatch(ctx, records, lambda: 900_000)


def dropped(world: World, project: str = "field7") -> list[str]:
    """Keys of the items that became part of the project's open job."""
    job = world.ledger.dropin_job("segment", project)
    rows = world.ledger.shards(job) if job else []
    return sorted(i.key for row in rows if row.items for i in world.shard_document(row.job, row.number).items)


EACH = [pytest.param({kind: HOSTILE[kind]}, id=kind, marks=pytest.mark.exhaustive) for kind in HOSTILE]


@pytest.mark.parametrize("hostile", [pytest.param(HOSTILE, id="all at once"), *EACH])
def test_neighbours_of_a_message_are_dispatched(world: World, hostile: dict[str, str]) -> None:
    # given three drop-ins and a submitted job around messages that nobody should have sent
    world.put_job({0: 1})
    world.put(shard_key("j1", 0), "{}")
    good = [made(f"incoming/field7/{name}.jpg", sequencer="0B") for name in ("a", "b", "c")]
    bad = [{"messageId": kind, "body": body} for kind, body in hostile.items()]
    # when they come in one batch
    failed = run(world.ctx, good[0], *bad, *good[1:], made("jobs/j1/manifest.json", "manifest"))
    # then each fails alone, or is passed over, and the others are done
    assert failed <= hostile.keys()
    assert {f"incoming/field7/{name}.jpg" for name in ("a", "b", "c")} <= {*dropped(world)}
    assert "j1" in {message.job for message in world.sent()}


def test_every_key_that_was_passed_over_is_named(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    # given more files that are no images than a line of the log may hold
    keys = [f"incoming/field7/{number:03}.txt" for number in range(250)]
    run(world.ctx, *(made(key) for key in keys))
    # then the log has all of their names, in lines that CloudWatch keeps whole
    lines = [line for line in capsys.readouterr().out.splitlines() if '"not_taken"' in line]
    assert [key for line in lines for key in json.loads(line)["keys"]] == keys
    assert all(len(line) < 256_000 for line in lines)
    assert sum(json.loads(line)["count"] for line in lines) == len(keys)


def test_an_object_that_cannot_be_taken_leaves_its_project_alone(world: World) -> None:
    # given one whose key no service takes, among others of the same project
    odd = asked(
        {"gpupipe": "rescan", "objects": [{"key": "incoming/field7/\ud800.jpg", "etag": "e", "size": 1}]}, "odd"
    )
    assert run(world.ctx, made("incoming/field7/a.jpg"), odd, made("incoming/field7/b.jpg")) == {"odd"}
    assert dropped(world) == ["incoming/field7/a.jpg", "incoming/field7/b.jpg"]


def test_a_notification_of_anything_does_not_stop_the_next(world: World) -> None:
    # given an asynchronous pipeline whose shard has failed
    ctx = asynchronous(world)[0].ctx
    ctx.ledger.put_shards([ShardRecord(job="j1", number=0, items=1)])
    told = {
        "invocationStatus": "Failed",
        "failureReason": "it broke",
        "requestParameters": {"inputLocation": f"s3://{BUCKET}/{shard_key('j1', 0)}"},
    }
    good = {"Sns": {"MessageId": "good", "Message": json.dumps(told)}}
    bad = [{"Sns": {"MessageId": "bad", "Message": body}} for body in HOSTILE.values()]
    # when it is told among others in one event, then it is noted
    callback(ctx, {"Records": [*bad, *({"Sns": body} for body in HOSTILE.values()), {}, good]})
    row = ctx.ledger.shard("j1", 0)
    assert row is not None
    assert "good" in row.returned_by


def test_no_message_makes_forward_fail_otherwise_than_alone(world: World) -> None:
    realtime_world, service = realtime(world)
    for body in HOSTILE.values():
        record = {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
        assert forward(realtime_world.ctx, record, lambda: 100.0) is False
    assert service.runtime.requests == []
