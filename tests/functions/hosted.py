"""An asynchronous pipeline in the tests' world: SageMaker's notifications, and what containers do with shards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from tests.functions.conftest import BUCKET, NOW, Fakes, Runtime, World, made, settings, transport

from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.queue_transport import QueuedSettings
from gpupipe.kinds.endpoint.backend.callback import callback
from gpupipe.kinds.endpoint.backend.hosted import Hosted
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
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
}
TIME_IS_UP = 'Received server error (503) from primary with message "{"error": {"code": "time_is_up"}}". See https://x'
CRASHED = 'Received server error (500) from primary with message "". The container closed the connection.'


@dataclass
class Hosting:
    """SageMaker's control plane, as far as it is used: one endpoint."""

    desired: dict[str, int] = field(default_factory=lambda: {"main": 0})
    current: dict[str, int] = field(default_factory=dict)
    status: str | None = "InService"
    """None: there is no endpoint."""
    failure: str = ""
    refusal: Exception | None = None
    busy_after_update: bool = False
    asked: int = 0
    """How often it was told to scale, and did."""
    at: float = NOW

    def describe_endpoint(self, *, EndpointName: str) -> dict[str, Any]:  # noqa: N803
        if self.status is None:
            raise refused("ValidationException", f'Could not find endpoint "{EndpointName}".')
        variants = [
            {
                "VariantName": name,
                "CurrentInstanceCount": self.current.get(name, 0),
                "DesiredInstanceCount": count,
                "CurrentWeight": 1.0,
            }
            for name, count in self.desired.items()
        ]
        moment = datetime.fromtimestamp(self.at, UTC)
        told = {"EndpointName": EndpointName, "EndpointStatus": self.status, "EndpointConfigName": "c1"}
        failure = {"FailureReason": self.failure} if self.failure else {}
        return {**told, **failure, "CreationTime": moment, "LastModifiedTime": moment, "ProductionVariants": variants}

    def update_endpoint_weights_and_capacities(
        self,
        *,
        EndpointName: str,  # noqa: N803
        DesiredWeightsAndCapacities: list[dict[str, Any]],  # noqa: N803
    ) -> None:
        assert EndpointName == ENDPOINT
        if self.status != "InService":
            raise refused("ValidationException", "Cannot update in-progress endpoint")
        if self.refusal is not None:
            raise self.refusal
        self.asked += 1
        self.desired |= {one["VariantName"]: one["DesiredInstanceCount"] for one in DesiredWeightsAndCapacities}
        self.status = "Updating" if self.busy_after_update else self.status

    def arrive(self) -> None:
        """What was asked for is there."""
        self.current = dict(self.desired)


@dataclass
class Autoscaling:
    """Application Auto Scaling's scalable targets, as far as they are used."""

    suspended: bool = False
    least: list[int] = field(default_factory=list)

    def describe_scalable_targets(self, **request: Any) -> dict[str, Any]:
        assert request["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
        state = {"DynamicScalingOutSuspended": self.suspended}
        return {"ScalableTargets": [{"ResourceId": one, "SuspendedState": state} for one in request["ResourceIds"]]}

    def register_scalable_target(self, **request: Any) -> None:
        assert request["ResourceId"].startswith(f"endpoint/{ENDPOINT}/variant/")
        assert request["ScalableDimension"] == "sagemaker:variant:DesiredInstanceCount"
        self.suspended = request["SuspendedState"]["DynamicScalingOutSuspended"]
        self.least += [request["MinCapacity"]] if "MinCapacity" in request else []


@dataclass
class Metrics:
    """CloudWatch, as far as it is used: the backlog."""

    backlog: int | None = None

    def get_metric_statistics(self, **request: Any) -> dict[str, Any]:
        assert request["Dimensions"] == [{"Name": "EndpointName", "Value": ENDPOINT}]
        return {"Datapoints": [] if self.backlog is None else [{"Maximum": float(self.backlog)}, {"Maximum": 0.0}]}


@dataclass
class Service:
    """Everything of SageMaker that an endpoint's functions see."""

    runtime: Runtime = field(default_factory=Runtime)
    hosting: Hosting = field(default_factory=Hosting)
    autoscaling: Autoscaling = field(default_factory=Autoscaling)
    metrics: Metrics = field(default_factory=Metrics)


def realtime(world: World) -> tuple[World, Service]:
    """The world of a realtime endpoint, whose shards wait in the work queue."""
    url = world.ctx.settings.work_queue_url
    return hosted(world, mode="realtime", work_queue_url=url, min_instances=1, invocation_timeout_s=60.0)


def asynchronous(world: World, **changes: Any) -> tuple[World, Runtime]:
    """The world of an asynchronous endpoint, and what takes its requests."""
    world, service = hosted(world, **changes)
    return world, service.runtime


def hosted(world: World, **changes: Any) -> tuple[World, Service]:
    """The world of an endpoint, and its SageMaker."""
    service = Service()
    told = endpoint_settings(**{"work_queue_url": "", **changes})
    client = Fakes(
        {
            **{name: world.ctx.client(name) for name in ("s3", "sqs", "lambda")},
            "sagemaker-runtime": service.runtime,
            "sagemaker": service.hosting,
            "application-autoscaling": service.autoscaling,
            "cloudwatch": service.metrics,
        }
    )
    way = transport(told, client, world.ctx.clock)
    ctx = replace(world.ctx, settings=told, client=client, transport=way)
    return replace(world, ctx=ctx, backend=Hosted), service


def endpoint_settings(**changes: Any) -> EndpointSettings:
    """As those of the tests' queue, as far as both have them."""
    shared = {one.name: getattr(settings(), one.name) for one in fields(QueuedSettings)}
    return EndpointSettings(**{**shared, **ASYNC, **changes})


def submit(world: World, shards: dict[int, int], job: str = "j1", **changes: Any) -> None:
    world.put_job(shards, job=job, **changes)
    assert dispatch(world.ctx, [made(manifest_key(job))], lambda: 900_000) == set()


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
    callback(world.ctx, failed(world, reason, **about))


def row_of(world: World, number: int = 0, job: str = "j1") -> ShardRecord:
    row = world.ledger.shard(job, number)
    assert row is not None
    return row


def refused(code: str, message: str = "no") -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "InvokeEndpointAsync")
