"""The parts that all others refer to: the bucket, the queue of its events, and the queues that shards may wait in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.kinds.kind import AnySite
from gpupipe.names import Stack
from gpupipe.resources import Resource
from gpupipe.resources.bucket import Bucket, LifecycleRule
from gpupipe.resources.bucket_notification import BucketNotification, NotificationRule
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.queue import Queue
from gpupipe.resources.queue_policy import QueuePolicy
from gpupipe.resources.role import Role, Statement
from gpupipe.resources.table import Table
from gpupipe.settings import PipelineSettings
from gpuworker import contract

DISPATCH_TIMEOUT_S = 300
"""It stops beginning anything a minute before; a manifest of a million images takes about that."""
EVENTS_VISIBILITY_S = DISPATCH_TIMEOUT_S + 60
"""SQS must not hand a message out again while dispatch may still be at it."""
EVENT_RECEIVES = 20
UNFINISHED_UPLOAD_DAYS = 7


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What the other parts refer to; each kind has its own below."""

    site: AnySite
    table: Table
    bucket: Bucket
    events: Queue

    @property
    def stack(self) -> Stack:
        return self.site.stack

    @property
    def pipeline(self) -> str:
        return self.site.pipeline

    @property
    def settings(self) -> PipelineSettings:
        return self.site.settings

    @property
    def model(self) -> contract.ModelSource:
        """Where the worker finds weights; of the token it is told the secret's name."""
        model = self.settings.model
        secret = self.stack.secret(model.token_secret) if model.token_secret else ""
        return contract.ModelSource(
            weights=model.weights, revision=model.revision, token_secret=secret, on_cpu=model.on_cpu
        )

    def name(self, part: str) -> str:
        """The AWS name of one of the pipeline's parts."""
        return self.stack.part(self.pipeline, part)

    def url(self, queue: Queue) -> str:
        """The URL of `queue`, for those who are told it."""
        return self.site.queue_url(queue.name)

    def log_group(self, name: str) -> LogGroup:
        """The log group `name`, kept as long as the pipeline's logs are."""
        days = self.settings.retention.logs_days
        return LogGroup(stack=self.stack, pipeline=self.pipeline, name=name, retention_days=days)

    def role(self, name: str, service: str, *statements: Statement, source_arn: str = "") -> Role:
        """What `service` may do for the pipeline, on behalf of `source_arn` alone where one is named."""
        return Role(
            stack=self.stack,
            pipeline=self.pipeline,
            name=name,
            service=service,
            source_arn=source_arn,
            statements=statements,
        )


def data_bucket(site: AnySite, *, more: Mapping[str, int] | None = None) -> Bucket:
    """The pipeline's bucket; `more` are prefixes of its kind alone, with the days until what is there expires."""
    retention = site.settings.retention
    expiring = {
        contract.INCOMING: retention.inputs_days,
        contract.INPUTS: retention.inputs_days,
        contract.PROCESSED: retention.processed_days,
        contract.JOBS: retention.processed_days,
        contract.LOGS: retention.logs_days,
        **(more or {}),
    }
    rules = [LifecycleRule(id=p.rstrip("/"), prefix=p, expire_days=days) for p, days in expiring.items() if days]
    tidy = LifecycleRule(
        id="old-versions",
        old_versions_days=retention.old_versions_days,
        abort_uploads_days=UNFINISHED_UPLOAD_DAYS,
    )
    return Bucket(
        stack=site.stack,
        pipeline=site.pipeline,
        name=site.stack.data_bucket(site.pipeline),
        lifecycle=(*rules, tidy),
    )


def ledger_table(stack: Stack) -> Table:
    """The one table for the jobs of all pipelines; its keys are described in `gpuworker.ledger`."""
    return Table(stack=stack, name=stack.table, hash_key="pk", range_key="sk", ttl_attribute="expires_at")


def event_queue(site: AnySite) -> Queue:
    """What arrived in the bucket, on its way to dispatch."""
    stack, pipeline = site.stack, site.pipeline
    return _queue(
        site,
        stack.event_queue(pipeline),
        failures=stack.undelivered_queue(pipeline),
        visibility_timeout_s=EVENTS_VISIBILITY_S,
        max_receives=EVENT_RECEIVES,
    )


def work_queue(site: AnySite, *, visibility_timeout_s: int, max_receives: int) -> Queue:
    """Shards on their way to those who work, and behind it the queue of those that nobody could finish."""
    stack, pipeline = site.stack, site.pipeline
    return _queue(
        site,
        stack.work_queue(pipeline),
        failures=stack.dead_letter_queue(pipeline),
        visibility_timeout_s=visibility_timeout_s,
        max_receives=max_receives,
    )


def _queue(site: AnySite, name: str, *, failures: str, visibility_timeout_s: int, max_receives: int) -> Queue:
    return Queue(
        stack=site.stack,
        pipeline=site.pipeline,
        name=name,
        visibility_timeout_s=visibility_timeout_s,
        dead_letter=Queue(stack=site.stack, pipeline=site.pipeline, name=failures),
        max_receives=max_receives,
    )


def with_dead_letters(*queues: Queue) -> tuple[Queue, ...]:
    """The queues, after those that their failures go to."""
    return (*(queue.dead_letter for queue in queues if queue.dead_letter), *queues)


def uploads_tell_dispatch(parts: Intake) -> tuple[Resource, ...]:
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
