"""What each part may do: judged as IAM would, for what it must and must not be able to do."""

from __future__ import annotations

import pytest
from tests.kinds.judging import allows
from tests.kinds.settings import STACK, only, wanted

from gpupipe.resources.role import Role

RESOURCES = wanted("segment", "other")
BUCKET = f"arn:aws:s3:::{STACK.data_bucket('segment')}"
OTHERS_BUCKET = f"arn:aws:s3:::{STACK.data_bucket('other')}"
SQS = "arn:aws:sqs:eu-west-1:123456789012:demo-dev-segment"
EC2 = "arn:aws:ec2:eu-west-1:123456789012"
TABLE = "arn:aws:dynamodb:eu-west-1:123456789012:table/demo-dev-ledger"
OURS = {"gpupipe:stack": "demo-dev", "gpupipe:pipeline": "segment"}
THEIRS = {"gpupipe:stack": "demo-prod", "gpupipe:pipeline": "segment"}


def role(part: str) -> Role:
    return only(RESOURCES, Role, f"segment-{part}")


def tagged(prefix: str, tags: dict[str, str]) -> dict[str, str]:
    return {f"aws:{prefix}/{key}": value for key, value in tags.items()}


ALLOWED = [
    ("dispatch", "s3:GetObject", f"{BUCKET}/incoming/field7/a.jpg"),
    ("dispatch", "s3:GetObject", f"{BUCKET}/jobs/j/manifest.json"),
    ("dispatch", "s3:PutObject", f"{BUCKET}/jobs/j/shards/00000.json"),
    ("dispatch", "sqs:ReceiveMessage", f"{SQS}-events"),
    ("dispatch", "sqs:SendMessage", f"{SQS}-work"),
    ("dispatch", "lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:123456789012:function:demo-dev-segment-guard"),
    ("dispatch", "dynamodb:UpdateItem", TABLE),
    (
        "dispatch",
        "logs:PutLogEvents",
        "arn:aws:logs:eu-west-1:123456789012:log-group:/aws/lambda/demo-dev-segment-dispatch:log-stream:x",
    ),
    ("guard", "sqs:GetQueueAttributes", f"{SQS}-work"),
    ("guard", "s3:PutObject", f"{BUCKET}/jobs/j/manifest.json"),
    ("guard", "ec2:DescribeInstances", "*"),
    ("guard", "cloudwatch:PutMetricAlarm", "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:demo-dev-segment-idle-i-1"),
    ("worker", "s3:GetObjectVersion", f"{BUCKET}/inputs/field7/a.jpg"),
    ("worker", "s3:PutObject", f"{BUCKET}/processed/field7/j/a/annotations.json"),
    ("worker", "s3:PutObject", f"{BUCKET}/jobs/j/results/00000.0.json.gz"),
    ("worker", "s3:PutObject", f"{BUCKET}/logs/2026-11-21/i-1.log"),
    ("worker", "sqs:ChangeMessageVisibility", f"{SQS}-work"),
    (
        "worker",
        "logs:PutLogEvents",
        "arn:aws:logs:eu-west-1:123456789012:log-group:/gpupipe/demo-dev/segment/worker:log-stream:i-1",
    ),
    ("schedule", "lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:123456789012:function:demo-dev-segment-guard"),
]

REFUSED = [
    ("dispatch", "s3:PutObject", f"{BUCKET}/incoming/field7/a.jpg"),
    ("dispatch", "s3:GetObject", f"{OTHERS_BUCKET}/jobs/j/manifest.json"),
    ("dispatch", "sqs:SendMessage", "arn:aws:sqs:eu-west-1:123456789012:demo-dev-other-work"),
    ("dispatch", "ec2:RunInstances", f"{EC2}:instance/*"),
    ("guard", "s3:GetObject", f"{BUCKET}/inputs/field7/a.jpg"),
    ("guard", "cloudwatch:DeleteAlarms", "arn:aws:cloudwatch:eu-west-1:123456789012:alarm:somebody-elses"),
    ("worker", "s3:PutObject", f"{BUCKET}/inputs/field7/a.jpg"),
    ("worker", "s3:DeleteObject", f"{BUCKET}/processed/field7/j/a/annotations.json"),
    ("worker", "s3:GetObject", f"{OTHERS_BUCKET}/inputs/field7/a.jpg"),
    ("worker", "ec2:StartInstances", f"{EC2}:instance/i-1"),
    ("worker", "ec2:StopInstances", f"{EC2}:instance/i-1"),
    ("worker", "ec2:TerminateInstances", f"{EC2}:instance/i-1"),
    ("schedule", "lambda:InvokeFunction", "arn:aws:lambda:eu-west-1:123456789012:function:demo-dev-segment-dispatch"),
]


@pytest.mark.parametrize(("part", "action", "resource"), ALLOWED)
def test_a_part_may_do_its_work(part: str, action: str, resource: str) -> None:
    assert allows(role(part), action, resource)


@pytest.mark.parametrize(("part", "action", "resource"), REFUSED)
def test_a_part_may_do_nothing_else(part: str, action: str, resource: str) -> None:
    assert not allows(role(part), action, resource)


@pytest.mark.parametrize("action", ["ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"])
def test_the_guard_controls_our_machines_only(action: str) -> None:
    machine = f"{EC2}:instance/i-1"

    assert allows(role("guard"), action, machine, **tagged("ResourceTag", OURS))
    assert not allows(role("guard"), action, machine, **tagged("ResourceTag", THEIRS))
    assert not allows(role("guard"), action, machine)


@pytest.mark.parametrize("action", ["ec2:CreateFleet", "ec2:RunInstances"])
@pytest.mark.parametrize("made", ["fleet/f-1", "instance/i-1", "volume/v-1"])
def test_what_the_guard_launches_must_carry_our_tags(action: str, made: str) -> None:
    assert allows(role("guard"), action, f"{EC2}:{made}", **tagged("RequestTag", OURS))
    assert not allows(role("guard"), action, f"{EC2}:{made}", **tagged("RequestTag", THEIRS))
    assert not allows(role("guard"), action, f"{EC2}:{made}")


def test_the_guard_launches_from_our_template_only() -> None:
    template = f"{EC2}:launch-template/lt-1"

    assert allows(role("guard"), "ec2:RunInstances", template, **tagged("ResourceTag", OURS))
    assert not allows(role("guard"), "ec2:RunInstances", template, **tagged("ResourceTag", THEIRS))


@pytest.mark.parametrize(
    "used",
    [
        "arn:aws:ec2:eu-west-1::image/ami-1",
        "arn:aws:ec2:eu-west-1::snapshot/snap-1",
        f"{EC2}:subnet/subnet-1",
        f"{EC2}:security-group/sg-1",
        f"{EC2}:network-interface/eni-1",
        f"{EC2}:key-pair/mine",
    ],
)
def test_a_launch_may_use_what_every_launch_uses(used: str) -> None:
    assert allows(role("guard"), "ec2:RunInstances", used)


def test_tags_are_given_at_launch_and_never_later() -> None:
    """Or the guard could tag a stranger's machine as ours and terminate it."""
    machine = f"{EC2}:instance/i-1"

    assert allows(
        role("guard"), "ec2:CreateTags", machine, **tagged("RequestTag", OURS), **{"ec2:CreateAction": "CreateFleet"}
    )
    assert not allows(role("guard"), "ec2:CreateTags", machine, **tagged("RequestTag", OURS))


def test_the_guard_hands_on_the_workers_role_only_and_to_machines_only() -> None:
    worker, own = role("worker").arn, role("guard").arn
    to_machines = {"iam:PassedToService": "ec2.amazonaws.com"}

    assert allows(role("guard"), "iam:PassRole", worker, **to_machines)
    assert not allows(role("guard"), "iam:PassRole", worker, **{"iam:PassedToService": "lambda.amazonaws.com"})
    assert not allows(role("guard"), "iam:PassRole", own, **to_machines)


@pytest.mark.parametrize("part", ["dispatch", "guard", "worker", "schedule"])
def test_no_role_has_a_wildcard_action_or_makes_log_groups(part: str) -> None:
    actions = [action for statement in role(part).statements for action in statement.actions]

    assert not [action for action in actions if "*" in action]
    assert "logs:CreateLogGroup" not in actions
    assert len(actions) == len(set(actions)) or part == "guard"


@pytest.mark.parametrize("part", ["dispatch", "guard", "worker", "schedule"])
def test_every_resource_is_exact_where_aws_knows_one(part: str) -> None:
    without_resources = ("ec2:Describe", "ssm:UpdateInstanceInformation", "ssmmessages:")
    for statement in role(part).statements:
        if "*" in statement.resources:
            assert all(action.startswith(without_resources) for action in statement.actions), statement.sid


@pytest.mark.parametrize("part", ["dispatch", "guard", "worker", "schedule"])
def test_a_policy_fits_into_a_role(part: str) -> None:
    import json

    document = json.dumps([statement.document() for statement in role(part).statements], separators=(",", ":"))
    sids = [statement.sid for statement in role(part).statements]

    assert len(document) < 10_000  # IAM's limit for all inline policies of a role is 10,240
    assert len(sids) == len(set(sids))
    assert all(sid.isalnum() for sid in sids)


def test_the_schedule_can_be_used_for_this_account_only() -> None:
    assert role("schedule").source_arn.startswith("arn:aws:scheduler:eu-west-1:123456789012:")
