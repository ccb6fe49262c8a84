"""Alarm: a CloudWatch alarm that the guard set on a machine. Nothing wants one here; `down` finds and deletes all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.errors import GpupipeError
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.metric_alarm import is_planned
from gpupipe.resources.ownership import found, is_stacks, ours, pipeline_of, tag_map


@dataclass(frozen=True, kw_only=True)
class Alarm(Resource):
    """One metric alarm."""

    kind: ClassVar[str] = "alarm"
    phase: ClassVar[Phase] = Phase.MACHINES
    dynamic: ClassVar[bool] = True

    @property
    def arn(self) -> str:
        return self.stack.arn("cloudwatch", f"alarm:{self.name}")

    def desired(self) -> Fields:
        return {}

    def observe(self, aws: Aws) -> Observed | None:
        answer = aws.client("cloudwatch").describe_alarms(AlarmNames=[self.name], AlarmTypes=["MetricAlarm"])
        if not answer.get("MetricAlarms"):
            return None
        tags = self._tags(aws)
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
        stack = aws.stack
        pages = aws.client("cloudwatch").get_paginator("describe_alarms")
        alarms = [
            cls(stack=stack, name=one["AlarmName"])
            for page in pages.paginate(AlarmNamePrefix=f"{stack.id}-", AlarmTypes=["MetricAlarm"])
            for one in page["MetricAlarms"]
        ]
        for alarm, tags in zip(alarms, together(*(partial(one._tags, aws) for one in alarms)), strict=True):
            if is_stacks(tags, stack) and not is_planned(tags):
                yield found(cls(stack=stack, name=alarm.name, pipeline=pipeline_of(tags)), tags={})

    def _tags(self, aws: Aws) -> dict[str, str]:
        answer = absent_ok(aws.client("cloudwatch").list_tags_for_resource, ResourceARN=self.arn)
        return tag_map((answer or {}).get("Tags"))
