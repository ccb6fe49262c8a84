"""What each part of an endpoint pipeline may do: judged as IAM would, for what it must and must not be able to do."""

from __future__ import annotations

import json

import pytest
from tests.kinds.judging import allows
from tests.kinds.settings import STACK, only, wanted

from gpupipe.resources.role import Role

IMAGE = "210987654321.dkr.ecr.eu-west-1.amazonaws.com/group/rooms:1"
RESOURCES = {mode: wanted("rooms", "other", kind="endpoint", mode=mode, image=IMAGE) for mode in ("async", "realtime")}
BUCKET = f"arn:aws:s3:::{STACK.data_bucket('rooms')}"
OTHERS_BUCKET = f"arn:aws:s3:::{STACK.data_bucket('other')}"
ENDPOINT = "arn:aws:sagemaker:eu-west-1:123456789012:endpoint/demo-dev-rooms-endpoint"
OTHERS_ENDPOINT = ENDPOINT.replace("rooms", "other")
WORK = "arn:aws:sqs:eu-west-1:123456789012:demo-dev-rooms-work"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:demo-dev-rooms"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/demo-dev-ledger"
LOGS = "arn:aws:logs:eu-west-1:123456789012:log-group:"
GUARD = "arn:aws:lambda:eu-west-1:123456789012:function:demo-dev-rooms-guard"
REPOSITORY = "arn:aws:ecr:eu-west-1:210987654321:repository"
PARTS = [("async", part) for part in ("dispatch", "guard", "callback", "endpoint", "schedule")]
PARTS += [("realtime", part) for part in ("dispatch", "guard", "forward", "endpoint", "schedule")]


def role(mode: str, part: str) -> Role:
    return only(RESOURCES[mode], Role, f"rooms-{part}")


ALLOWED = [
    ("async", "dispatch", "sagemaker:InvokeEndpointAsync", ENDPOINT),
    ("async", "dispatch", "s3:GetObject", f"{BUCKET}/jobs/j/manifest.json"),
    ("async", "dispatch", "lambda:InvokeFunction", GUARD),
    ("async", "guard", "sagemaker:InvokeEndpointAsync", ENDPOINT),
    ("async", "guard", "sagemaker:DescribeEndpoint", ENDPOINT),
    ("async", "guard", "sagemaker:UpdateEndpointWeightsAndCapacities", ENDPOINT),
    ("async", "guard", "application-autoscaling:DescribeScalableTargets", "*"),
    ("async", "guard", "cloudwatch:GetMetricStatistics", "*"),
    ("async", "guard", "s3:PutObject", f"{BUCKET}/jobs/j/manifest.json"),
    ("async", "callback", "sagemaker:InvokeEndpointAsync", ENDPOINT),
    ("async", "callback", "s3:GetObject", f"{BUCKET}/jobs/j/results/00000.0.json.gz"),
    ("async", "callback", "dynamodb:UpdateItem", TABLE),
    ("async", "callback", "logs:PutLogEvents", f"{LOGS}/aws/lambda/demo-dev-rooms-callback:log-stream:x"),
    ("async", "endpoint", "s3:GetObject", f"{BUCKET}/jobs/j/shards/00000.json"),
    ("async", "endpoint", "s3:GetObject", f"{BUCKET}/requests/1/plan.png"),
    ("async", "endpoint", "s3:GetObjectVersion", f"{BUCKET}/inputs/house/plan.png"),
    ("async", "endpoint", "s3:PutObject", f"{BUCKET}/processed/house/j/plan/annotations.json"),
    ("async", "endpoint", "s3:PutObject", f"{BUCKET}/jobs/j/results/00000.0.json.gz"),
    ("async", "endpoint", "s3:PutObject", f"{BUCKET}/responses/x.out"),
    ("async", "endpoint", "s3:PutObject", f"{BUCKET}/errors/x.out"),
    ("async", "endpoint", "sns:Publish", f"{TOPIC}-success"),
    ("async", "endpoint", "sns:Publish", f"{TOPIC}-errors"),
    ("async", "endpoint", "dynamodb:UpdateItem", TABLE),
    (
        "async",
        "endpoint",
        "logs:PutLogEvents",
        f"{LOGS}/aws/sagemaker/Endpoints/demo-dev-rooms-endpoint:log-stream:main/i-1",
    ),
    ("async", "endpoint", "ecr:BatchGetImage", f"{REPOSITORY}/group/rooms"),
    ("async", "endpoint", "ecr:GetAuthorizationToken", "*"),
    ("realtime", "dispatch", "sqs:SendMessage", WORK),
    ("realtime", "guard", "sqs:SendMessage", WORK),
    ("realtime", "guard", "sqs:GetQueueAttributes", WORK),
    ("realtime", "guard", "sagemaker:DescribeEndpoint", ENDPOINT),
    ("realtime", "guard", "application-autoscaling:DescribeScalableTargets", "*"),
    ("realtime", "forward", "sqs:ReceiveMessage", WORK),
    ("realtime", "forward", "sqs:DeleteMessage", WORK),
    ("realtime", "forward", "sagemaker:InvokeEndpoint", ENDPOINT),
    ("realtime", "forward", "s3:GetObject", f"{BUCKET}/jobs/j/shards/00000.json"),
    ("realtime", "endpoint", "s3:GetObject", f"{BUCKET}/inputs/house/plan.png"),
]

REFUSED = [
    ("async", "dispatch", "sagemaker:InvokeEndpointAsync", OTHERS_ENDPOINT),
    ("async", "dispatch", "sagemaker:UpdateEndpointWeightsAndCapacities", ENDPOINT),
    ("async", "guard", "sagemaker:UpdateEndpointWeightsAndCapacities", OTHERS_ENDPOINT),
    ("async", "guard", "sagemaker:DeleteEndpoint", ENDPOINT),
    ("async", "guard", "sagemaker:UpdateEndpoint", ENDPOINT),
    ("async", "guard", "iam:PassRole", "arn:aws:iam::123456789012:role/gpupipe/demo-dev/demo-dev-rooms-endpoint"),
    ("async", "guard", "ec2:RunInstances", "*"),
    ("async", "callback", "s3:PutObject", f"{BUCKET}/jobs/j/results/00000.0.json.gz"),
    ("async", "callback", "sagemaker:InvokeEndpointAsync", OTHERS_ENDPOINT),
    ("async", "endpoint", "s3:GetObject", f"{OTHERS_BUCKET}/inputs/house/plan.png"),
    ("async", "endpoint", "s3:PutObject", f"{BUCKET}/inputs/house/plan.png"),
    ("async", "endpoint", "s3:PutObject", f"{BUCKET}/requests/1/plan.png"),
    ("async", "endpoint", "s3:DeleteObject", f"{BUCKET}/processed/house/j/plan/annotations.json"),
    ("async", "endpoint", "sns:Publish", "arn:aws:sns:eu-west-1:123456789012:somebody-elses"),
    ("async", "endpoint", "ecr:BatchGetImage", f"{REPOSITORY}/group/other"),
    ("async", "endpoint", "sagemaker:UpdateEndpointWeightsAndCapacities", ENDPOINT),
    ("async", "endpoint", "cloudwatch:PutMetricData", "*"),
    ("async", "endpoint", "logs:PutLogEvents", f"{LOGS}/aws/lambda/demo-dev-rooms-guard:log-stream:x"),
    ("realtime", "guard", "sagemaker:UpdateEndpointWeightsAndCapacities", ENDPOINT),
    ("realtime", "dispatch", "sqs:GetQueueAttributes", WORK),
    ("realtime", "forward", "sagemaker:InvokeEndpoint", OTHERS_ENDPOINT),
    ("realtime", "forward", "sagemaker:InvokeEndpointAsync", ENDPOINT),
    ("realtime", "endpoint", "sns:Publish", f"{TOPIC}-success"),
    ("realtime", "endpoint", "s3:PutObject", f"{BUCKET}/responses/x.out"),
    ("realtime", "endpoint", "sqs:ReceiveMessage", WORK),
]


@pytest.mark.parametrize(("mode", "part", "action", "resource"), ALLOWED)
def test_a_part_may_do_its_work(mode: str, part: str, action: str, resource: str) -> None:
    assert allows(role(mode, part), action, resource)


@pytest.mark.parametrize(("mode", "part", "action", "resource"), REFUSED)
def test_a_part_may_do_nothing_else(mode: str, part: str, action: str, resource: str) -> None:
    assert not allows(role(mode, part), action, resource)


def test_the_guard_holds_back_the_scaling_of_endpoints_only() -> None:
    key = "application-autoscaling"
    sagemaker = {f"{key}:service-namespace": "sagemaker"}
    dimension = {f"{key}:scalable-dimension": "sagemaker:variant:DesiredInstanceCount"}
    guard = role("async", "guard")

    assert allows(guard, f"{key}:RegisterScalableTarget", "*", **sagemaker, **dimension)
    assert not allows(guard, f"{key}:RegisterScalableTarget", "*", **{**sagemaker, f"{key}:service-namespace": "ecs"})
    assert not allows(guard, f"{key}:RegisterScalableTarget", "*")


def test_the_container_is_sagemakers() -> None:
    assert role("async", "endpoint").service == "sagemaker.amazonaws.com"


def test_an_emulated_image_is_pulled_from_nowhere() -> None:
    container = only(wanted("rooms", kind="endpoint"), Role, "rooms-endpoint")

    assert not [action for one in container.statements for action in one.actions if action.startswith("ecr:")]


def test_two_variants_pull_both_images() -> None:
    variants = [{"name": "old"}, {"name": "new", "image": IMAGE.replace("rooms:1", "rooms2@sha256:0")}]
    resources = wanted("rooms", kind="endpoint", mode="realtime", image=IMAGE, variants=variants)
    container = only(resources, Role, "rooms-endpoint")

    assert allows(container, "ecr:BatchGetImage", f"{REPOSITORY}/group/rooms")
    assert allows(container, "ecr:BatchGetImage", f"{REPOSITORY}/group/rooms2")


@pytest.mark.parametrize(("mode", "part"), PARTS)
def test_no_role_has_a_wildcard_action_or_makes_log_groups(mode: str, part: str) -> None:
    actions = [action for statement in role(mode, part).statements for action in statement.actions]

    assert not [action for action in actions if "*" in action]
    assert "logs:CreateLogGroup" not in actions


@pytest.mark.parametrize(("mode", "part"), PARTS)
def test_every_resource_is_exact_where_aws_knows_one(mode: str, part: str) -> None:
    without_resources = {
        "application-autoscaling:DescribeScalableTargets",
        "application-autoscaling:RegisterScalableTarget",
        "cloudwatch:GetMetricStatistics",
        "ecr:GetAuthorizationToken",
    }
    for statement in role(mode, part).statements:
        if "*" in statement.resources:
            assert set(statement.actions) <= without_resources, statement.sid


@pytest.mark.parametrize(("mode", "part"), PARTS)
def test_a_policy_fits_into_a_role(mode: str, part: str) -> None:
    statements = role(mode, part).statements
    document = json.dumps([statement.document() for statement in statements], separators=(",", ":"))
    sids = [statement.sid for statement in statements]

    assert len(document) < 10_000  # IAM's limit for all inline policies of a role is 10,240
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)
