"""What the machines of a `queue` pipeline may do, and what its functions may do with them."""

from __future__ import annotations

from gpupipe.kinds.queue.parts import Parts
from gpupipe.kinds.shared.intake.statements import (
    lists,
    reads_inputs,
    takes_shards,
    uses_ledger,
    uses_models,
    writes_log,
    writes_results,
)
from gpupipe.names import TAG_PIPELINE, TAG_STACK, Stack
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.role import Role, Statement


def launches_machines(stack: Stack, pipeline: str, worker: Role) -> tuple[Statement, ...]:
    """Of the guard, the only one that starts and stops machines."""
    return (
        *_launches_machines(stack, pipeline),
        *_controls_machines(stack, pipeline),
        *_passes_roles(stack, worker),
    )


def worker_role(parts: Parts, log: LogGroup) -> Role:
    """A worker takes shards and writes results; it has no right over machines, its own included."""
    statements = (
        writes_log(log),
        uses_ledger(parts.table),
        takes_shards(parts.work),
        reads_inputs(parts.bucket),
        writes_results(parts.bucket),
        lists(parts.bucket),
        *uses_models(parts),
        # Session Manager (`gpupipe ssh`), without the managed policy, which also reads every parameter of the account.
        Statement(
            sid="SessionManager",
            actions=(
                "ssm:UpdateInstanceInformation",
                "ssmmessages:CreateControlChannel",
                "ssmmessages:CreateDataChannel",
                "ssmmessages:OpenControlChannel",
                "ssmmessages:OpenDataChannel",
            ),
            resources=("*",),
        ),
    )
    return parts.role(parts.name("worker"), "ec2.amazonaws.com", *statements)


# --- the guard and its machines -----------------------------------------------------------------------------


def _launches_machines(stack: Stack, pipeline: str) -> tuple[Statement, ...]:
    """Launching touches many kinds of thing at once; each has its own statement, as Karpenter's policy has.

    What a launch makes must carry our tags (the request's), what it uses must be the account's own template or public.
    """
    actions = ("ec2:CreateFleet", "ec2:RunInstances")
    return (
        Statement(
            sid="LaunchFrom",
            actions=actions,
            resources=(
                f"arn:{stack.partition}:ec2:{stack.region}::image/*",
                f"arn:{stack.partition}:ec2:{stack.region}::snapshot/*",
                *(stack.arn("ec2", f"{kind}/*") for kind in ("key-pair", "security-group", "subnet")),
            ),
        ),
        Statement(
            sid="LaunchByTemplate",
            actions=actions,
            resources=(stack.arn("ec2", "launch-template/*"),),
            conditions={"StringEquals": _tagged("aws:ResourceTag", stack, pipeline)},
        ),
        Statement(
            sid="LaunchTagged",
            actions=actions,
            resources=tuple(stack.arn("ec2", f"{kind}/*") for kind in ("fleet", "instance", "volume")),
            conditions={"StringEquals": _tagged("aws:RequestTag", stack, pipeline)},
        ),
        Statement(
            sid="LaunchBeside",
            actions=actions,
            resources=tuple(stack.arn("ec2", f"{kind}/*") for kind in ("network-interface", "spot-instances-request")),
        ),
        Statement(
            sid="TagAtLaunch",
            actions=("ec2:CreateTags",),
            resources=tuple(
                stack.arn("ec2", f"{kind}/*")
                for kind in ("fleet", "instance", "network-interface", "spot-instances-request", "volume")
            ),
            conditions={
                "StringEquals": {
                    **_tagged("aws:RequestTag", stack, pipeline),
                    "ec2:CreateAction": ["CreateFleet", "RunInstances"],
                }
            },
        ),
    )


def _controls_machines(stack: Stack, pipeline: str) -> tuple[Statement, ...]:
    return (
        Statement(
            sid="ControlMachines",
            actions=("ec2:StartInstances", "ec2:StopInstances", "ec2:TerminateInstances"),
            resources=(stack.arn("ec2", "instance/*"),),
            conditions={"StringEquals": _tagged("aws:ResourceTag", stack, pipeline)},
        ),
        Statement(
            sid="SeeMachines",  # EC2 knows no narrower resource for these
            actions=(
                "ec2:DescribeInstanceTypeOfferings",
                "ec2:DescribeInstances",
                "ec2:DescribeLaunchTemplateVersions",
                "ec2:DescribeLaunchTemplates",
                "ec2:DescribeSubnets",
                "ec2:DescribeVpcs",
            ),
            resources=("*",),
        ),
        Statement(
            sid="AlarmMachines",
            # SetAlarmState: an alarm acts when its state changes only, so it must begin anew with each run.
            actions=(
                "cloudwatch:DeleteAlarms",
                "cloudwatch:PutMetricAlarm",
                "cloudwatch:SetAlarmState",
                "cloudwatch:TagResource",
            ),
            resources=(stack.arn("cloudwatch", f"alarm:{stack.part(pipeline, '*')}"),),
        ),
    )


def _passes_roles(stack: Stack, worker: Role) -> tuple[Statement, ...]:
    return (
        Statement(
            sid="GiveWorkerRole",
            actions=("iam:PassRole",),
            resources=(worker.arn,),
            conditions={"StringEquals": {"iam:PassedToService": "ec2.amazonaws.com"}},
        ),
        # An account's first spot machine, fleet or alarm with an EC2 action makes AWS's own role for it.
        Statement(
            sid="FirstUseOfServices",
            actions=("iam:CreateServiceLinkedRole",),
            resources=(stack.arn("iam", "role/aws-service-role/*", regional=False),),
            conditions={
                "StringEquals": {
                    "iam:AWSServiceName": [
                        "ec2fleet.amazonaws.com",
                        "events.amazonaws.com",
                        "spot.amazonaws.com",
                    ]
                }
            },
        ),
    )


def _tagged(condition: str, stack: Stack, pipeline: str) -> dict[str, str | list[str]]:
    return {f"{condition}/{TAG_STACK}": stack.id, f"{condition}/{TAG_PIPELINE}": pipeline}
