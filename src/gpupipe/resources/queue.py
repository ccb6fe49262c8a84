"""SQS queue: encrypted, TLS only, with the queue its failures go to. Its neighbour `queue_policy` says who may send."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, policy
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of
from gpupipe.resources.waiting import until


@dataclass(frozen=True, kw_only=True)
class Queue(Resource):
    """A standard queue."""

    kind: ClassVar[str] = "queue"
    phase: ClassVar[Phase] = Phase.DATA

    visibility_timeout_s: int = 30
    retention_s: int = 1_209_600
    """How long a message is kept; SQS's longest, 14 days."""
    receive_wait_s: int = 20
    dead_letter: Queue | None = None
    max_receives: int = 0
    """After so many receives a message goes to `dead_letter`."""

    @property
    def arn(self) -> str:
        return self.stack.arn("sqs", self.name)

    def url(self, aws: Aws) -> str:
        """Its URL; no call is made."""
        return self.stack.queue_url(self.name, aws.endpoint("sqs"))

    def requires(self) -> tuple[Resource, ...]:
        return (self.dead_letter,) if self.dead_letter else ()

    def desired(self) -> Fields:
        return {
            "tags": self.tags,
            "visibility_timeout_s": self.visibility_timeout_s,
            "retention_s": self.retention_s,
            "receive_wait_s": self.receive_wait_s,
            "encrypted": True,
            "dead_letter": self._redrive,
            "policy": policy.canonical_statement(self._tls_only),
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: the tags come by a call of their own."""
        sqs, url = aws.client("sqs"), self.url(aws)
        answer, tagging = together(
            partial(absent_ok, sqs.get_queue_attributes, QueueUrl=url, AttributeNames=["All"]),
            partial(absent_ok, sqs.list_queue_tags, QueueUrl=url),
        )
        if answer is None:
            return None
        tags = (tagging or {}).get("Tags", {})
        return Observed(
            owner=tags.get(TAG_STACK, ""), fields={"tags": self.tags_of(tags), **_fields(answer["Attributes"])}
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            aws.propagated(  # SQS blocks a deleted queue's name for 60 seconds
                aws.client("sqs").create_queue,
                QueueName=self.name,
                Attributes=self._attributes(aws, frozenset(self.desired()), existing_policy=None, new=True),
                tags=self.tags,
            )

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        sqs, url = aws.client("sqs"), self.url(aws)
        attributes = self._attributes(aws, changed, existing_policy=policy_of(aws, self))
        if attributes:
            sqs.set_queue_attributes(QueueUrl=url, Attributes=attributes)
        if "tags" in changed:
            sqs.tag_queue(QueueUrl=url, Tags=self.tags)

    def delete(self, aws: Aws) -> None:
        """Delete and wait: SQS goes on answering for a deleted queue for up to a minute."""
        if ours(self, aws) is None:
            return
        sqs, url = aws.client("sqs"), self.url(aws)
        absent_ok(sqs.delete_queue, QueueUrl=url)
        until(
            lambda: absent_ok(sqs.get_queue_attributes, QueueUrl=url) is None,
            clock=aws.clock,
            what=f"the deletion of queue {self.name}",
            within_s=90,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        sqs, stack = aws.client("sqs"), aws.stack
        pages = sqs.get_paginator("list_queues").paginate(
            QueueNamePrefix=f"{stack.id}-", PaginationConfig={"PageSize": 1000}
        )
        urls = [url for page in pages for url in page.get("QueueUrls", [])]
        reads = (partial(absent_ok, sqs.list_queue_tags, QueueUrl=url) for url in urls)
        for url, answer in zip(urls, together(*reads), strict=True):
            tags = (answer or {}).get("Tags", {})
            if is_stacks(tags, stack):
                name = url.rpartition("/")[2]
                yield found(cls(stack=stack, name=name, pipeline=pipeline_of(tags)), tags)

    @property
    def _tls_only(self) -> dict[str, Any]:
        return policy.tls_only("sqs:*", [self.arn])

    @property
    def _redrive(self) -> dict[str, Any]:
        if self.dead_letter is None:
            return {}
        return {"deadLetterTargetArn": self.dead_letter.arn, "maxReceiveCount": self.max_receives}

    def _attributes(
        self, aws: Aws, changed: frozenset[str], *, existing_policy: str | None, new: bool = False
    ) -> dict[str, str]:
        """SQS's attributes for the `changed` fields."""
        wanted = {
            "visibility_timeout_s": ("VisibilityTimeout", str(self.visibility_timeout_s)),
            "retention_s": ("MessageRetentionPeriod", str(self.retention_s)),
            "receive_wait_s": ("ReceiveMessageWaitTimeSeconds", str(self.receive_wait_s)),
            "encrypted": ("SqsManagedSseEnabled", "true"),
            # An empty text takes a redrive policy away, but a new queue does not take it.
            "dead_letter": ("RedrivePolicy", json.dumps(self._redrive) if self._redrive else ""),
            "policy": ("Policy", json.dumps(policy.with_statement(existing_policy, self._tls_only))),
        }
        chosen = [pair for field, pair in wanted.items() if field in changed]
        return {name: value for name, value in chosen if value or not new}


def policy_of(aws: Aws, queue: Queue) -> str | None:
    """The JSON text of the queue's policy; None without one, or without the queue."""
    answer = absent_ok(aws.client("sqs").get_queue_attributes, QueueUrl=queue.url(aws), AttributeNames=["Policy"])
    text = (answer or {}).get("Attributes", {}).get("Policy")
    return str(text) if text else None


def _fields(attributes: Mapping[str, str]) -> dict[str, Any]:
    redrive = policy.parse(attributes.get("RedrivePolicy"))
    if redrive:
        redrive["maxReceiveCount"] = int(redrive["maxReceiveCount"])  # written as text by some consoles
    return {
        "visibility_timeout_s": int(attributes["VisibilityTimeout"]),
        "retention_s": int(attributes["MessageRetentionPeriod"]),
        "receive_wait_s": int(attributes["ReceiveMessageWaitTimeSeconds"]),
        "encrypted": attributes.get("SqsManagedSseEnabled") == "true" or bool(attributes.get("KmsMasterKeyId")),
        "dead_letter": redrive,
        "policy": policy.statement(attributes.get("Policy"), policy.TLS_SID),
    }
