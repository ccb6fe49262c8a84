"""A pipeline's bucket, queue and ledger in an emulator inside the test's process, for the functions to work in."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any
from urllib.parse import quote_plus

import pytest
from moto import mock_aws
from moto.ec2.models import ec2_backends
from tests import moto_in_process
from tests.account import shared_session

from gpupipe.functions.backend import AnyBackend
from gpupipe.functions.context import Clients, Context
from gpupipe.functions.guard import guard
from gpupipe.functions.queue_transport import QueueTransport
from gpupipe.functions.transport import Transport
from gpupipe.kinds.endpoint.backend.invocations import RequestTransport
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpupipe.kinds.queue.backend import machines
from gpupipe.kinds.queue.backend.fleet import Fleet
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpuworker.contract import JobSpec, Manifest, Message, Shard, job_key, manifest_key, parse_shard_key
from gpuworker.ledger import Ledger

NOW = 1_795_000_000.0
REGION = "us-east-1"
ACCOUNT = "123456789012"
BUCKET, TABLE = "demo-dev-segment", "demo-dev-ledger"


class Killed(BaseException):
    """The function's process ends here."""


class Mortal:
    """A client whose process is killed around its n-th call."""

    def __init__(self, client: Any, fate: Fate) -> None:
        self._client = client
        self._fate = fate

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._client, name)
        return self._fate.around(attribute) if callable(attribute) and name != "exceptions" else attribute


@dataclass
class Fate:
    """Strikes before call number `at` (counted from 0), which is after the one before: kills, or worse."""

    at: int
    calls: int = 0

    def strike(self) -> None:
        raise Killed

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def mortal(*args: Any, **kwargs: Any) -> Any:
            mine, self.calls = self.calls, self.calls + 1
            if mine == self.at:
                self.strike()
            return call(*args, **kwargs)

        return mortal


@dataclass
class Noting(Fate):
    """Kills nobody; notes what is called."""

    at: int = -1
    operations: list[str] = field(default_factory=list)

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def noting(*args: Any, **kwargs: Any) -> Any:
            self.operations.append(call.__name__)
            return call(*args, **kwargs)

        return noting


@dataclass
class Functions:
    """Lambda's client, as far as it is used: notes who was invoked."""

    invoked: list[str] = field(default_factory=list)

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        assert (InvocationType, json.loads(Payload)) == ("Event", {})
        self.invoked.append(FunctionName)


@dataclass
class Runtime:
    """SageMaker's runtime, as far as it is used: notes what was requested."""

    requests: list[dict[str, Any]] = field(default_factory=list)
    refusal: Exception | None = None
    """What it answers instead of taking a request."""
    takes: int = 0
    """Requests that it takes before it refuses."""
    answers: list[Exception | None] = field(default_factory=list)
    """To realtime invocations, in order; then all go well."""

    def invoke_endpoint_async(self, **request: Any) -> dict[str, Any]:
        if self.refusal is not None and len(self.requests) >= self.takes:
            raise self.refusal
        self.requests.append(request)
        return {"InferenceId": request["InferenceId"]}

    def invoke_endpoint(self, **request: Any) -> dict[str, Any]:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer
        return {"Body": None, "ContentType": "application/json"}

    def taken(self) -> list[tuple[str, int, int]]:
        """The shards requested since the last call, in order."""
        requests, self.requests = self.requests, []
        keys = [request["InputLocation"].removeprefix(f"s3://{BUCKET}/") for request in requests]
        return sorted(parse_shard_key(key) for key in keys)


@dataclass
class World:
    """What a test sees: the context of a pipeline's functions, and what they left behind."""

    ctx: Context[Any]
    functions: Functions
    now: list[float]
    backend: Callable[[Any], AnyBackend] = Fleet
    """What works on the pipeline's shards."""

    @property
    def ledger(self) -> Ledger:
        return self.ctx.ledger

    def mortal(self, at: int) -> Context[Any]:
        """The context of an invocation that is killed before call number `at`."""
        return self.under(Fate(at))

    def under(self, fate: Fate) -> Context[Any]:
        """The context with a fate."""
        ctx = self.ctx

        def mortal(service: str, **config: Any) -> Any:
            return Mortal(ctx.client(service, **config), fate)

        ledger = Ledger(Mortal(ctx.ledger._client, fate), TABLE, ctx.clock)
        return replace(
            ctx, client=mortal, ledger=ledger, leases=ledger, transport=transport(ctx.settings, mortal, ctx.clock)
        )

    def with_client(self, service: str, client: Any) -> Context[Any]:
        """The context in which the client of one service is another."""
        ctx = self.ctx
        return replace(ctx, client=lambda name, **_: client if name == service else ctx.client(name))

    def with_settings(self, **changes: Any) -> World:
        """The world of a pipeline that differs in these."""
        told = replace(self.ctx.settings, **changes)
        way = transport(told, self.ctx.client, self.ctx.clock)
        return replace(self, ctx=replace(self.ctx, settings=told, transport=way))

    def guard(self, event: dict[str, Any], *, ctx: Context[Any] | None = None, left_s: float = 60) -> dict[str, Any]:
        """One invocation of the guard."""
        used = ctx or self.ctx
        return guard(used, self.backend(used), event, holder="me", left_s=left_s)

    def put_job(self, shards: dict[int, int], *, job: str = "j1", **changes: Any) -> None:
        """As `submit` does, without the inputs."""
        fields: dict[str, Any] = {"pipeline": "segment", "project": "field7", "task": "segment", "options": {}}
        spec = JobSpec(job=job, created_at=NOW, **{**fields, **changes})
        numbered = {str(number): items for number, items in shards.items()}
        manifest = Manifest(job=job, pipeline="segment", project="field7", shards=numbered)
        self.put(job_key(job), spec.to_json())
        self.put(manifest_key(job), manifest.to_json())

    def put(self, key: str, text: str = "x") -> None:
        self.ctx.s3.put_object(Bucket=BUCKET, Key=key, Body=text.encode())

    def get(self, key: str) -> bytes:
        body: bytes = self.ctx.s3.get_object(Bucket=BUCKET, Key=key)["Body"].read()
        return body

    def keys(self, prefix: str = "") -> list[str]:
        answer = self.ctx.s3.list_objects_v2(Bucket=BUCKET, Prefix=prefix)
        return [thing["Key"] for thing in answer.get("Contents", ())]

    def forget(self) -> None:
        """Begin again without ledger and machines: the emulator gets slow by all that it remembers."""
        ec2_backends[ACCOUNT][REGION].reservations.clear()
        dynamodb = self.ctx.ledger._client
        dynamodb.delete_table(TableName=TABLE)
        make_table(dynamodb)

    def sent(self) -> list[Message]:
        """All messages of the work queue; takes them."""
        messages: list[Message] = []
        url = self.ctx.settings.work_queue_url
        while batch := self.ctx.client("sqs").receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            messages += [Message.from_json(message["Body"]) for message in batch]
            entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(batch)]
            self.ctx.client("sqs").delete_message_batch(QueueUrl=url, Entries=entries)
        return messages

    def shard_document(self, job: str, number: int, generation: int = 0) -> Shard:
        return Shard.from_json(self.get(Message(job=job, number=number, generation=generation).key))


def made(key: str, message: str = "", *, sequencer: str = "0A", **changes: Any) -> dict[str, Any]:
    """An SQS record that tells of a new object."""
    thing = {"key": quote_plus(key, safe="/"), "size": 5, "eTag": "e1", "versionId": "v1", "sequencer": sequencer}
    body = {"Records": [{"eventName": "ObjectCreated:Put", "s3": {"bucket": {"name": BUCKET}, "object": thing}}]}
    thing |= changes
    return {"messageId": message or key, "body": json.dumps(body)}


def asked(request: dict[str, Any], message: str = "cli") -> dict[str, Any]:
    """An SQS record with a request of the CLI."""
    return {"messageId": message, "body": json.dumps(request)}


client = cache(lambda service: shared_session(moto_in_process.ACCOUNT).client(service))


@pytest.fixture(scope="module")
def emulated(mended_moto: None) -> Iterator[Callable[[str], Any]]:
    with mock_aws():
        yield client


def make_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName=TABLE,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )


def make_template(ec2: Any, fingerprint: str = "t1") -> None:
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "gpupipe:template", "Value": fingerprint}]}]
    data = {"ImageId": "ami-12345678", "TagSpecifications": tags}
    ec2.create_launch_template(LaunchTemplateName=settings().launch_template, LaunchTemplateData=data)


def empty(s3: Any) -> None:
    for version in s3.list_object_versions(Bucket=BUCKET).get("Versions", ()):
        s3.delete_object(Bucket=BUCKET, Key=version["Key"], VersionId=version["VersionId"])
    s3.delete_bucket(Bucket=BUCKET)


def settings(**changes: Any) -> QueueSettings:
    fields: dict[str, Any] = {
        "stack": "demo-dev",
        "pipeline": "segment",
        "kind": "queue",
        "account": ACCOUNT,
        "region": REGION,
        "bucket": BUCKET,
        "table": TABLE,
        "work_queue_url": f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/demo-dev-segment-work",
        "task": "segment",
        "task_options": {"prompts": []},
        "input_suffixes": [".jpg", ".png"],
        "shard_items": 4,
        "guard_function": "demo-dev-segment-guard",
        "launch_template": "demo-dev-segment-machine",
        "instance_types": ["g4dn.xlarge", "g5.xlarge"],
        "prices_usd_per_hour": {"g4dn.xlarge": 0.526, "g5.xlarge": 1.006},
        "tags": {"gpupipe:stack": "demo-dev", "gpupipe:pipeline": "segment"},
    }
    return QueueSettings(**{**fields, **changes})


@dataclass(frozen=True)
class Fakes:
    """Clients by their service."""

    clients: Mapping[str, Any]

    def __call__(self, service: str, **config: Any) -> Any:
        return self.clients[service]


def context(told: Any, client: Clients, dynamodb: Any, clock: Callable[[], float]) -> Context[Any]:
    """Of a pipeline that is told this."""
    ledger = Ledger(dynamodb, TABLE, clock)
    way = transport(told, client, clock)
    return Context(settings=told, ledger=ledger, leases=ledger, client=client, transport=way, clock=clock)


def transport(told: Any, client: Clients, clock: Callable[[], float]) -> Transport:
    """As the pipeline's kind has it."""
    if isinstance(told, EndpointSettings) and not told.is_realtime:
        return RequestTransport(told, client, clock)
    return QueueTransport(told, client)


@pytest.fixture
def world(emulated: Callable[[str], Any]) -> Iterator[World]:
    s3, sqs, dynamodb = emulated("s3"), emulated("sqs"), emulated("dynamodb")
    s3.create_bucket(Bucket=BUCKET)
    url = sqs.create_queue(QueueName="demo-dev-segment-work")["QueueUrl"]
    make_table(dynamodb)
    now = [NOW]
    functions = Functions()
    clients = {"s3": s3, "sqs": sqs, "lambda": functions, "ec2": emulated("ec2"), "cloudwatch": emulated("cloudwatch")}
    ctx = context(settings(work_queue_url=url), Fakes(clients), dynamodb, lambda: now[0])
    yield World(ctx=ctx, functions=functions, now=now)
    dynamodb.delete_table(TableName=TABLE)
    sqs.delete_queue(QueueUrl=url)
    empty(s3)


@pytest.fixture
def room(world: World) -> Iterator[World]:
    """The world with a launch template, at the emulator's own time."""
    ec2 = world.ctx.client("ec2")
    make_template(ec2)
    world.now[0] = float(int(time.time()))
    yield world
    there = machines.instances(world.ctx)
    if there:
        ec2.terminate_instances(InstanceIds=[one.machine for one in there])
    ec2.delete_launch_template(LaunchTemplateName=settings().launch_template)
    alarms = world.ctx.client("cloudwatch").describe_alarms()["MetricAlarms"]
    world.ctx.client("cloudwatch").delete_alarms(AlarmNames=[alarm["AlarmName"] for alarm in alarms])
