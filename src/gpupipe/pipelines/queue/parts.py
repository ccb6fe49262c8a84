"""The parts of a `queue` pipeline that all others refer to: the bucket, and the queues that things wait in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.config import Retention
from gpupipe.names import Stack
from gpupipe.pipelines.queue import QueuePipeline
from gpupipe.resources import Resource
from gpupipe.resources.bucket import Bucket, LifecycleRule
from gpupipe.resources.bucket_notification import BucketNotification, NotificationRule
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.queue import Queue
from gpupipe.resources.queue_policy import QueuePolicy
from gpupipe.resources.table import Table
from gpuworker import contract

DISPATCH_TIMEOUT_S = 300
"""It stops beginning anything a minute before; a manifest of a million images takes about that."""
EVENTS_VISIBILITY_S = DISPATCH_TIMEOUT_S + 60
"""SQS must not hand a message out again while dispatch may still be at it."""
EVENT_RECEIVES = 20
UNFINISHED_UPLOAD_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the other parts refer to."""

    stack: Stack
    pipeline: str
    settings: QueuePipeline
    table: Table
    bucket: Bucket
    events: Queue
    work: Queue
    endpoints: Mapping[str, str]

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Both queues, each after the one its failures go to."""
        both = (self.events, self.work)
        return (*(queue.dead_letter for queue in both if queue.dead_letter), *both)

    def log_group(self, name: str) -> LogGroup:
        """The log group `name`, kept as long as the pipeline's logs are."""
        days = self.settings.retention.logs_days
        return LogGroup(stack=self.stack, pipeline=self.pipeline, name=name, retention_days=days)

    @property
    def work_url(self) -> str:
        """The work queue's URL, for those who are told it."""
        endpoint = self.endpoints.get("sqs") or self.endpoints.get("default")
        return self.stack.queue_url(self.work.name, endpoint)


def parts_of(
    settings: QueuePipeline, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
) -> Parts:
    """The parts of the pipeline called `pipeline`."""
    return Parts(
        stack=stack,
        pipeline=pipeline,
        settings=settings,
        table=table,
        bucket=_bucket(settings.retention, stack, pipeline),
        events=_events(stack, pipeline),
        work=_work(settings, stack, pipeline),
        endpoints=endpoints,
    )


def _bucket(retention: Retention, stack: Stack, pipeline: str) -> Bucket:
    expiring = {
        contract.INCOMING: retention.inputs_days,
        contract.INPUTS: retention.inputs_days,
        contract.PROCESSED: retention.processed_days,
        contract.JOBS: retention.processed_days,
        contract.LOGS: retention.logs_days,
    }
    rules = [LifecycleRule(id=p.rstrip("/"), prefix=p, expire_days=days) for p, days in expiring.items() if days]
    tidy = LifecycleRule(
        id="old-versions",
        old_versions_days=retention.old_versions_days,
        abort_uploads_days=UNFINISHED_UPLOAD_DAYS,
    )
    return Bucket(stack=stack, pipeline=pipeline, name=stack.data_bucket(pipeline), lifecycle=(*rules, tidy))


def _events(stack: Stack, pipeline: str) -> Queue:
    undelivered = Queue(stack=stack, pipeline=pipeline, name=stack.undelivered_queue(pipeline))
    return Queue(
        stack=stack,
        pipeline=pipeline,
        name=stack.event_queue(pipeline),
        visibility_timeout_s=EVENTS_VISIBILITY_S,
        dead_letter=undelivered,
        max_receives=EVENT_RECEIVES,
    )


def _work(settings: QueuePipeline, stack: Stack, pipeline: str) -> Queue:
    return Queue(
        stack=stack,
        pipeline=pipeline,
        name=stack.work_queue(pipeline),
        visibility_timeout_s=settings.visibility_timeout_s,
        dead_letter=Queue(stack=stack, pipeline=pipeline, name=stack.dead_letter_queue(pipeline)),
        max_receives=settings.max_receives,
    )


def uploads_tell_dispatch(parts: Parts) -> tuple[Resource, ...]:
    """What arrives in the bucket is told to the event queue: drop-ins, and the manifests of jobs."""
    stack, pipeline = parts.stack, parts.pipeline
    may_send = QueuePolicy(
        stack=stack, pipeline=pipeline, name=parts.events.name, queue=parts.events, bucket=parts.bucket
    )
    created = ("s3:ObjectCreated:*",)
    rules = (
        NotificationRule(id=f"gpupipe-{pipeline}-incoming", events=created, prefix=contract.INCOMING),
        NotificationRule(
            id=f"gpupipe-{pipeline}-manifests", events=created, prefix=contract.JOBS, suffix=contract.MANIFEST_NAME
        ),
    )
    notification = BucketNotification(
        stack=stack,
        pipeline=pipeline,
        name=parts.bucket.name,
        bucket=parts.bucket,
        queue=parts.events,
        policy=may_send,
        rules=rules,
    )
    return (may_send, notification)
