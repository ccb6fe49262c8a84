"""Alarm: a CloudWatch alarm that the guard set on a machine. Nothing wants one here; `down` finds and deletes all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.errors import GpupipeError
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.metric_alarm import alarm_tags, is_planned, stacks_alarms
from gpupipe.resources.ownership import found, ours, pipeline_of


@dataclass(frozen=True, kw_only=True)
class Alarm(Resource):
    """One metric alarm."""

    kind: ClassVar[str] = "alarm"
    phase: ClassVar[Phase] = Phase.MACHINES
    dynamic: ClassVar[bool] = True

    def desired(self) -> Fields:
        return {}

    def observe(self, aws: Aws) -> Observed | None:
        answer = aws.client("cloudwatch").describe_alarms(AlarmNames=[self.name], AlarmTypes=["MetricAlarm"])
        if not answer.get("MetricAlarms"):
            return None
        tags = alarm_tags(aws, self.name)
        return Observed(owner=tags.get(TAG_STACK, ""), fields={}, note=answer["MetricAlarms"][0].get("StateValue", ""))

    def create(self, aws: Aws) -> None:
        raise GpupipeError("alarms are set by the guard, with its machines.", hint="Use `gpupipe start`.")

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        raise GpupipeError("alarms are set by the guard, with its machines.", hint="Use `gpupipe start`.")

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("cloudwatch").delete_alarms, AlarmNames=[self.name])

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for name, tags in stacks_alarms(aws):
            if not is_planned(tags):
                yield found(cls(stack=aws.stack, name=name, pipeline=pipeline_of(tags)), tags={})
