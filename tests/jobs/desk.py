"""One pipeline in the emulators, as a person's commands find it: bucket, queues and ledger, and nobody at work."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.account import shared_session

from gpupipe.aws import Aws
from gpupipe.config import Config
from gpupipe.jobs import JobsContext
from gpupipe.local.emulators import Emulators
from gpupipe.names import Stack
from gpuworker.contract import JobSpec, Manifest, Shard, job_key, manifest_key, shard_key

PIPELINE = "segment"
JPEG = b"\xff\xd8\xff\xe0"


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where a test sits."""

    ctx: JobsContext

    @property
    def s3(self) -> Any:
        return self.ctx.aws.client("s3")

    @property
    def sqs(self) -> Any:
        return self.ctx.aws.client("sqs")

    def put(self, key: str, data: bytes = b"x") -> None:
        self.s3.put_object(Bucket=self.ctx.bucket, Key=key, Body=data)

    def get(self, key: str, version_id: str = "") -> bytes:
        version = {"VersionId": version_id} if version_id else {}
        body: bytes = self.s3.get_object(Bucket=self.ctx.bucket, Key=key, **version)["Body"].read()
        return body

    def keys(self, prefix: str = "") -> list[str]:
        return list(self.ctx.keys(prefix))

    def versions(self, prefix: str = "") -> dict[str, int]:
        """How often each key was written."""
        counts: dict[str, int] = {}
        pages = self.s3.get_paginator("list_object_versions").paginate(Bucket=self.ctx.bucket, Prefix=prefix)
        for page in pages:
            for version in page.get("Versions", ()):
                counts[version["Key"]] = counts.get(version["Key"], 0) + 1
        return counts

    def spec(self, job: str) -> JobSpec:
        return JobSpec.from_json(self.get(job_key(job)))

    def manifest(self, job: str, generation: int = 0) -> Manifest:
        return Manifest.from_json(self.get(manifest_key(job, generation)))

    def shards(self, job: str, generation: int = 0) -> list[Shard]:
        """The shards of a manifest, in order."""
        numbers = sorted(int(number) for number in self.manifest(job, generation).shards)
        return [Shard.from_json(self.get(shard_key(job, number, generation))) for number in numbers]

    def received(self, url: str) -> list[Any]:
        """All messages of a queue, as JSON; takes them."""
        bodies = []
        while messages := self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                bodies.append(json.loads(message["Body"]))
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return bodies


def a_config(stack: Stack, **pipeline: Any) -> Config:
    """gpupipe.toml with one pipeline, `segment`."""
    table: Mapping[str, Any] = {"kind": "queue", "task": "segment", **pipeline}
    return Config(
        stack={"name": stack.name, "environment": stack.environment, "region": stack.region},
        pipelines={PIPELINE: table},
    )


def a_desk(emulated: Emulators, name: str, **pipeline: Any) -> Desk:
    """A new stack with what the commands of a job use."""
    own = emulated.account
    stack = Stack(name=name, environment="dev", account=own.account_id, region=own.region)
    keys = {"aws_access_key_id": own.access_key, "aws_secret_access_key": own.secret_key}
    aws = Aws(stack=stack, endpoints=emulated.endpoints, credentials=keys, session=shared_session(own))
    aws.client("sqs").meta.events.register("provide-client-params.sqs.ReceiveMessage", _ask_at_once)
    bucket = stack.data_bucket(PIPELINE)
    aws.client("s3").create_bucket(Bucket=bucket)
    aws.client("s3").put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    _make_queues(aws)
    aws.client("dynamodb").create_table(
        TableName=stack.table,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": part, "AttributeType": "S"} for part in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
    )
    return Desk(ctx=JobsContext.of(aws, a_config(stack, **pipeline)))


def _ask_at_once(params: dict[str, Any], **_: Any) -> None:
    """Long polling makes sure that SQS asks all its servers; the emulator is one."""
    params["WaitTimeSeconds"] = 0


def _make_queues(aws: Aws) -> None:
    sqs, stack = aws.client("sqs"), aws.stack
    sqs.create_queue(QueueName=stack.event_queue(PIPELINE))
    dead = sqs.create_queue(QueueName=stack.dead_letter_queue(PIPELINE))["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    redrive = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": "1"})
    attributes = {"RedrivePolicy": redrive, "VisibilityTimeout": "0"}
    sqs.create_queue(QueueName=stack.work_queue(PIPELINE), Attributes=attributes)


def a_photo(place: Path, content: bytes = b"") -> Path:
    """A file that begins like a JPEG; folders are made as needed."""
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(JPEG + (content or place.name.encode()))
    return place
