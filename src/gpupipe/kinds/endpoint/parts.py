"""The parts of an `endpoint` pipeline that all others refer to: what takes jobs in, and where shards go from there."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.kinds.endpoint.settings import EndpointPipeline
from gpupipe.kinds.kind import Site
from gpupipe.kinds.shared.intake.parts import (
    Intake,
    data_bucket,
    event_queue,
    ledger_table,
    with_dead_letters,
    work_queue,
)
from gpupipe.resources.queue import Queue
from gpupipe.resources.topic import Topic
from gpupipe.settings import Retention
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

    site: Site[EndpointPipeline]
    work: Queue | None
    """Shards on their way to the forward function, which only a realtime endpoint has."""
    success: Topic | None
    error: Topic | None
    """What SageMaker tells of asynchronous invocations."""

    @property
    def settings(self) -> EndpointPipeline:
        return self.site.settings

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


def parts_of(site: Site[EndpointPipeline]) -> Parts:
    """The parts of a pipeline."""
    settings, names = site.settings, site.stack
    work = work_queue(site, visibility_timeout_s=WORK_VISIBILITY_S, max_receives=settings.max_tries)
    topics = [_topic(site, name(site.pipeline)) for name in (names.success_topic, names.error_topic)]
    success, error = (None, None) if settings.is_realtime else topics
    return Parts(
        site=site,
        table=ledger_table(site.stack),
        bucket=data_bucket(site, more=_kept_days(settings.retention)),
        events=event_queue(site),
        work=work if settings.is_realtime else None,
        success=success,
        error=error,
    )


def _topic(site: Site[EndpointPipeline], name: str) -> Topic:
    return Topic(stack=site.stack, pipeline=site.pipeline, name=name)


def _kept_days(retention: Retention) -> dict[str, int]:
    """Prefix -> days. Requests hold images and answers results, so they go no later than those of jobs.

    In either mode: what an endpoint wrote while it was asynchronous has to go as well.
    """
    inputs = min(ANSWERS_DAYS, retention.inputs_days or ANSWERS_DAYS)
    results = min(ANSWERS_DAYS, retention.processed_days or ANSWERS_DAYS)
    return {contract.REQUESTS: inputs, contract.RESPONSES: results, contract.ERRORS: results}
