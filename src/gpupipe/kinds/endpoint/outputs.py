"""What other programs may want to know of an `endpoint` pipeline: those who invoke it, and those who listen to it."""

from __future__ import annotations

from gpupipe.kinds.endpoint.settings import EndpointPipeline
from gpupipe.kinds.kind import Site
from gpupipe.kinds.shared.intake.outputs import intake_outputs, work_queue_outputs


def outputs(site: Site[EndpointPipeline]) -> dict[str, str]:
    """By name."""
    stack, pipeline = site.stack, site.pipeline
    if site.settings.is_realtime:
        own = work_queue_outputs(site)
    else:
        topics = {"success_topic_arn": stack.success_topic, "error_topic_arn": stack.error_topic}
        own = {output: stack.arn("sns", name(pipeline)) for output, name in topics.items()}
    return {**intake_outputs(site), "endpoint": stack.endpoint(pipeline), **own}
