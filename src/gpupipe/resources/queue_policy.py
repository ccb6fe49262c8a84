"""Queue policy: lets S3 send one bucket's events to a queue, on behalf of this account and of no other."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, policy
from gpupipe.resources.bucket import Bucket
from gpupipe.resources.ownership import ours
from gpupipe.resources.queue import Queue, policy_of

SID = "EventsFromBucket"


@dataclass(frozen=True, kw_only=True)
class QueuePolicy(Resource):
    """One statement of its queue's policy; the others there are left alone. Its `name` is the queue's."""

    kind: ClassVar[str] = "queue policy"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    queue: Queue
    bucket: Bucket

    def requires(self) -> tuple[Resource, ...]:
        return (self.queue,)

    def desired(self) -> Fields:
        return {"allow": policy.canonical_statement(self._statement)}

    def observe(self, aws: Aws) -> Observed | None:
        statement = policy.statement(policy_of(aws, self.queue), SID)
        return Observed(owner=self.stack.id, fields={"allow": statement}) if statement else None

    def create(self, aws: Aws) -> None:
        ours(self.queue, aws)
        self._put(aws, policy.with_statement(policy_of(aws, self.queue), self._statement))

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        self.create(aws)

    def delete(self, aws: Aws) -> None:
        text = policy_of(aws, self.queue)
        if policy.statement(text, SID):
            ours(self.queue, aws)
            self._put(aws, policy.without_statement(text, SID))

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for one in Queue.find(aws):
            queue = Queue(stack=aws.stack, name=one.name, pipeline=one.resource.pipeline)
            part = cls(
                stack=aws.stack,
                name=queue.name,
                pipeline=queue.pipeline,
                queue=queue,
                bucket=Bucket(stack=aws.stack, name=""),
            )
            if part.observe(aws) is not None:
                yield Found(kind=cls.kind, key=part.key, name=part.aws_name, resource=part)

    @property
    def _statement(self) -> dict[str, Any]:
        # Without source account and bucket, anybody's bucket could have S3 write here (the confused deputy).
        return {
            "Sid": SID,
            "Effect": "Allow",
            "Principal": {"Service": "s3.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": self.queue.arn,
            "Condition": {
                "ArnEquals": {"aws:SourceArn": self.bucket.arn},
                "StringEquals": {"aws:SourceAccount": self.stack.account},
            },
        }

    def _put(self, aws: Aws, document: policy.Document) -> None:
        text = json.dumps(document) if document else ""
        aws.client("sqs").set_queue_attributes(QueueUrl=self.queue.url(aws), Attributes={"Policy": text})
