"""An asynchronous pipeline in the tests' world: SageMaker's notifications, and what containers do with shards."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from tests.functions.conftest import BUCKET, Runtime, World, made, settings

from gpupipe.functions.callback import callback
from gpupipe.functions.dispatch import dispatch
from gpuworker.contract import manifest_key, shard_key
from gpuworker.ledger import ShardRecord

ENDPOINT = "demo-dev-segment"
ASYNC: dict[str, Any] = {
    "kind": "endpoint",
    "mode": "async",
    "endpoint": ENDPOINT,
    "variants": {"main": "ml.m5.xlarge"},
    "max_instances": 2,
    "prices_usd_per_hour": {"ml.m5.xlarge": 0.23},
    "launch_template": "",
    "instance_types": [],
    "work_queue_url": "",
}
TIME_IS_UP = 'Received server error (503) from primary with message "{"error": {"code": "time_is_up"}}". See https://x'
CRASHED = 'Received server error (500) from primary with message "". The container closed the connection.'


def asynchronous(world: World, **changes: Any) -> tuple[World, Runtime]:
    """The world of an asynchronous endpoint, and what takes its requests."""
    runtime = Runtime()
    return replace(world, around=replace(world.around, settings=settings(**ASYNC, **changes), runtime=runtime)), runtime


def submit(world: World, shards: dict[int, int], job: str = "j1", **changes: Any) -> None:
    world.put_job(shards, job=job, **changes)
    assert dispatch(world.around, [made(manifest_key(job))], lambda: 900_000) == set()


def failed(
    world: World,
    reason: str = CRASHED,
    *,
    notice: str = "n1",
    key: str = "",
    status: str = "Failed",
    ago_s: float = 0.0,
    **shard: Any,
) -> dict[str, Any]:
    """SNS's event about a shard's request."""
    place = {"job": "j1", "number": 0, "generation": 0, **shard}
    at = datetime.fromtimestamp(world.now[0] - ago_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    location = f"s3://{BUCKET}/{key or shard_key(**place)}"
    told = {
        "eventTime": at,
        "invocationStatus": status,
        "failureReason": reason,
        "requestParameters": {"endpointName": ENDPOINT, "inputLocation": location},
        "inferenceId": "{job}.{number}.{generation}".format(**place),
        "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
    }
    return {"Records": [{"Sns": {"MessageId": notice, "Timestamp": at, "Message": json.dumps(told)}}]}


def tell(world: World, reason: str = CRASHED, **about: Any) -> None:
    callback(world.around, failed(world, reason, **about))


def row_of(world: World, number: int = 0, job: str = "j1") -> ShardRecord:
    row = world.ledger.shard(job, number)
    assert row is not None
    return row


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "InvokeEndpointAsync")
