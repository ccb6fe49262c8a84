"""The parts of an `endpoint` pipeline that all others refer to: what takes jobs in, and where shards go from there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.config import Retention
from gpupipe.names import Stack
from gpupipe.pipelines.endpoint import EndpointPipeline
from gpupipe.pipelines.intake.parts import Intake, data_bucket, event_queue, with_dead_letters, work_queue
from gpupipe.resources.queue import Queue
from gpupipe.resources.table import Table
from gpupipe.resources.topic import Topic
from gpuworker import contract

FORWARD_TIMEOUT_S = 90
"""A request takes up to 60 s."""
WORK_VISIBILITY_S = 600
"""At least six times the function's timeout, as AWS advises."""
ANSWERS_DAYS = 30
"""What SageMaker writes of each invocation, and the images of `gpupipe invoke`, are kept no longer; results are kept
elsewhere."""


@dataclass(frozen=True, kw_only=True)
class Parts(Intake):
    """What the other parts refer to."""

    settings: EndpointPipeline
    work: Queue | None
    """Shards on their way to the forward function, which only a realtime endpoint has."""
    success: Topic | None
    error: Topic | None
    """What SageMaker tells of asynchronous invocations."""

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Each after the one its failures go to."""
        return with_dead_letters(*(queue for queue in (self.events, self.work) if queue))

    @property
    def topics(self) -> tuple[Topic, ...]:
        return tuple(topic for topic in (self.success, self.error) if topic)

    @property
    def endpoint_name(self) -> str:
        return self.stack.endpoint(self.pipeline)

    @property
    def endpoint_arn(self) -> str:
        # SageMaker writes endpoint names small in their ARNs; ours are.
        return self.stack.arn("sagemaker", f"endpoint/{self.endpoint_name}")


def parts_of(
    settings: EndpointPipeline, stack: Stack, pipeline: str, *, table: Table, endpoints: Mapping[str, str]
) -> Parts:
    """The parts of the pipeline called `pipeline`."""
    is_async = settings.mode == "async"
    work = work_queue(stack, pipeline, visibility_timeout_s=WORK_VISIBILITY_S, max_receives=settings.max_tries)
    return Parts(
        stack=stack,
        pipeline=pipeline,
        settings=settings,
        table=table,
        bucket=data_bucket(stack, pipeline, settings.retention, more=_kept_days(settings.retention)),
        events=event_queue(stack, pipeline),
        work=None if is_async else work,
        success=Topic(stack=stack, pipeline=pipeline, name=stack.success_topic(pipeline)) if is_async else None,
        error=Topic(stack=stack, pipeline=pipeline, name=stack.error_topic(pipeline)) if is_async else None,
        endpoints=endpoints,
    )


def _kept_days(retention: Retention) -> dict[str, int]:
    """Prefix -> days. Requests hold images and answers results, so they go no later than those of jobs.

    In either mode: what an endpoint wrote while it was asynchronous has to go as well.
    """
    inputs = min(ANSWERS_DAYS, retention.inputs_days or ANSWERS_DAYS)
    results = min(ANSWERS_DAYS, retention.processed_days or ANSWERS_DAYS)
    return {contract.REQUESTS: inputs, contract.RESPONSES: results, contract.ERRORS: results}
