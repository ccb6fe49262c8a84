"""What the container of an `endpoint` pipeline may do, and what its functions may do with the endpoint."""

from __future__ import annotations

import re

from gpupipe.kinds.endpoint.parts import Parts
from gpupipe.kinds.shared.intake.statements import (
    below,
    lists,
    reads_inputs,
    takes_shards,
    uses_ledger,
    uses_models,
    writes_results,
)
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.queue import Queue
from gpupipe.resources.role import Role, Statement

ECR_REPOSITORY = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr(-fips)?\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/(?P<name>[^:@]+)"
)
PULL_ACTIONS = ("ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")


def container_role(parts: Parts, log: LogGroup) -> Role:
    """Of the container, and of SageMaker around it, which reads requests, writes answers and logs, and tells topics."""
    statements = (
        Statement(
            sid="WriteLog",  # not CreateLogGroup: what runs on while `down` deletes the group would bring it back
            actions=("logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"),
            resources=(log.arn, f"{log.arn}:*"),
        ),
        uses_ledger(parts.table),
        reads_inputs(parts.bucket),
        writes_results(parts.bucket),
        lists(parts.bucket),
        *uses_models(parts),
        *_answers(parts),
        *_pulls_images(parts),
    )
    return parts.role(parts.name("endpoint"), "sagemaker.amazonaws.com", *statements)


def _answers(parts: Parts) -> tuple[Statement, ...]:
    """What SageMaker does around an asynchronous invocation, as the container's role."""
    if not parts.topics:
        return ()
    return (
        Statement(sid="ReadRequests", actions=("s3:GetObject",), resources=below(parts.bucket, "requests/*")),
        Statement(
            sid="WriteAnswers",
            actions=("s3:AbortMultipartUpload", "s3:PutObject"),
            resources=below(parts.bucket, "errors/*", "responses/*"),
        ),
        Statement(sid="Tell", actions=("sns:Publish",), resources=tuple(topic.arn for topic in parts.topics)),
    )


def _pulls_images(parts: Parts) -> tuple[Statement, ...]:
    """SageMaker pulls the image as this role; emulated images are nobody's."""
    found = [ECR_REPOSITORY.match(variant.image) for variant in parts.settings.deployed]
    repositories = {
        f"arn:{parts.stack.partition}:ecr:{one['region']}:{one['account']}:repository/{one['name']}"
        for one in found
        if one
    }
    if not repositories:
        return ()
    return (
        Statement(sid="PullImage", actions=PULL_ACTIONS, resources=tuple(sorted(repositories))),
        # ECR knows no narrower resource for this one.
        Statement(sid="LogInToRegistry", actions=("ecr:GetAuthorizationToken",), resources=("*",)),
    )


# --- functions ----------------------------------------------------------------------------------------------


def invokes_async(parts: Parts) -> Statement:
    """Sending a shard."""
    return Statement(sid="SendShards", actions=("sagemaker:InvokeEndpointAsync",), resources=(parts.endpoint_arn,))


def scales_endpoint(parts: Parts) -> tuple[Statement, ...]:
    """Of the guard: it wakes an asynchronous endpoint and sends it to rest, and holds its scaling back."""
    return (
        Statement(
            sid="ScaleEndpoint",
            actions=("sagemaker:DescribeEndpoint", "sagemaker:UpdateEndpointWeightsAndCapacities"),
            resources=(parts.endpoint_arn,),
        ),
        _sees_scaling(),
        Statement(
            sid="HoldScalingBack",  # the target's ARN has an id that nobody knows before it is made
            actions=("application-autoscaling:RegisterScalableTarget",),
            resources=("*",),
            conditions={
                "StringEquals": {
                    "application-autoscaling:service-namespace": "sagemaker",
                    "application-autoscaling:scalable-dimension": "sagemaker:variant:DesiredInstanceCount",
                }
            },
        ),
        Statement(sid="SeeBacklog", actions=("cloudwatch:GetMetricStatistics",), resources=("*",)),
    )


def sees_endpoint(parts: Parts) -> tuple[Statement, ...]:
    """Of the guard of a realtime endpoint, which it has nothing to do with but look."""
    sees = Statement(sid="SeeEndpoint", actions=("sagemaker:DescribeEndpoint",), resources=(parts.endpoint_arn,))
    return (sees, _sees_scaling())


def _sees_scaling() -> Statement:
    # AWS knows no narrower resource for this one.
    return Statement(sid="SeeScaling", actions=("application-autoscaling:DescribeScalableTargets",), resources=("*",))


def callback_statements(parts: Parts) -> tuple[Statement, ...]:
    """Callback is told of invocations that failed: it looks for their commit, and sends them again or buries them."""
    return (*_looks_at_shards(parts), invokes_async(parts))


def forward_statements(parts: Parts, work: Queue) -> tuple[Statement, ...]:
    """Forward takes shards from the queue to the endpoint."""
    invokes = Statement(sid="Invoke", actions=("sagemaker:InvokeEndpoint",), resources=(parts.endpoint_arn,))
    return (*_looks_at_shards(parts), takes_shards(work), invokes)


def _looks_at_shards(parts: Parts) -> tuple[Statement, ...]:
    return (
        uses_ledger(parts.table),
        Statement(sid="ReadShards", actions=("s3:GetObject",), resources=below(parts.bucket, "jobs/*")),
        lists(parts.bucket),
    )
