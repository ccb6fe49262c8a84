"""The alarm on each machine: EC2 stops an idle machine though worker and guard should both be dead."""

from __future__ import annotations

import math

from gpupipe.functions.context import Context
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpuworker.contract import TAG_PIPELINE, TAG_STACK
from gpuworker.ledger import MachineRecord

PERIOD_S = 300
IDLE_CPU_PERCENT = 2.0
"""A worker that waits for messages stays far below, one that feeds a GPU far above."""
LATER_THAN_WORKER_S = 900.0
DAY_S = 86_400


def alarm_name(ctx: Context[QueueSettings], machine: str) -> str:
    return f"{ctx.settings.stack}-{ctx.settings.pipeline}-idle-{machine}"


def set_alarm(ctx: Context[QueueSettings], record: MachineRecord) -> None:
    """Make or renew a machine's alarm. An alarm acts when its state changes only, so it is told to begin anew."""
    settings = ctx.settings
    name = alarm_name(ctx, record.machine)
    idle_s = settings.idle_minutes * 60 + LATER_THAN_WORKER_S
    what = "terminate" if settings.on_idle == "terminate" else "stop"
    tags = {**settings.tags, TAG_STACK: settings.stack, TAG_PIPELINE: settings.pipeline}
    ctx.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        AlarmDescription=f"{record.machine} has been idle: {what} it, in case its worker has not.",
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "InstanceId", "Value": record.machine}],
        Statistic="Average",
        Period=PERIOD_S,
        EvaluationPeriods=min(DAY_S // PERIOD_S, math.ceil(idle_s / PERIOD_S)),
        Threshold=IDLE_CPU_PERCENT,
        ComparisonOperator="LessThanThreshold",
        TreatMissingData="ignore",
        AlarmActions=[f"arn:{_partition(settings.region)}:automate:{settings.region}:ec2:{what}"],
        Tags=[{"Key": key, "Value": value} for key, value in tags.items()],
    )
    reason = "the machine has just been started"
    ctx.client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="INSUFFICIENT_DATA", StateReason=reason)


def drop_alarm(ctx: Context[QueueSettings], machine: str) -> None:
    """Delete a machine's alarm; none there is as good."""
    ctx.client("cloudwatch").delete_alarms(AlarmNames=[alarm_name(ctx, machine)])


def _partition(region: str) -> str:
    return "aws-cn" if region.startswith("cn-") else "aws-us-gov" if region.startswith("us-gov-") else "aws"
