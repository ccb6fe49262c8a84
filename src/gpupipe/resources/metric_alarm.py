"""Metric alarm: looks at one metric, and triggers a scaling policy or is looked at itself (a deployment's rollback).

Those that the guard sets on machines are `alarm.Alarm`; a key in their tags tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_KEY, TAG_STACK, Stack
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of, tag_list, tag_map
from gpupipe.resources.scaling_policy import ScalingPolicy


@dataclass(frozen=True, kw_only=True)
class MetricAlarm(Resource):
    """An alarm on one metric."""

    kind: ClassVar[str] = "metric alarm"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    namespace: str
    metric: str
    dimensions: Mapping[str, str]
    threshold: float
    comparison: str = "GreaterThanOrEqualToThreshold"
    statistic: str = "Average"
    period_s: int = 60
    periods: int = 1
    datapoints: int = 0
    """So many of `periods` must be beyond the threshold; 0 is all."""
    missing: str = "notBreaching"
    policy: ScalingPolicy | None = None
    """What it triggers."""
    description: str = ""

    @property
    def arn(self) -> str:
        return _arn(self.stack, self.name)

    def requires(self) -> tuple[Resource, ...]:
        return (self.policy,) if self.policy else ()

    def desired(self) -> Fields:
        return {
            "tags": self.tags,
            "metric": f"{self.namespace} {self.metric}",
            "dimensions": dict(self.dimensions),
            "threshold": float(self.threshold),
            "comparison": self.comparison,
            "statistic": self.statistic,
            "period_s": self.period_s,
            "periods": self.periods,
            "datapoints": self.datapoints or self.periods,
            "missing": self.missing,
            "triggers": self.policy.name if self.policy else "",
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads at once, four with a policy: its ARN is AWS's choice, and lives no longer than its endpoint."""
        answer, tags, policy_arn = together(
            partial(aws.client("cloudwatch").describe_alarms, AlarmNames=[self.name], AlarmTypes=["MetricAlarm"]),
            partial(alarm_tags, aws, self.name),
            partial(self.policy.lasting_arn, aws) if self.policy else str,
        )
        if not answer.get("MetricAlarms"):
            return None
        alarm = answer["MetricAlarms"][0]
        state = alarm.get("StateValue", "")
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            note=state if state == "ALARM" else "",
            fields={"tags": self.tags_of(tags), **_fields(alarm), "triggers": self._triggers(alarm, policy_arn)},
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            self._put(aws)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        if "tags" in changed:  # of an alarm that is there, PutMetricAlarm ignores them
            aws.client("cloudwatch").tag_resource(ResourceARN=self.arn, Tags=tag_list(self.tags))
        if changed - {"tags"}:
            self._put(aws)

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("cloudwatch").delete_alarms, AlarmNames=[self.name])

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for name, tags in stacks_alarms(aws):
            if is_planned(tags):
                met = cls(
                    stack=aws.stack,
                    name=name,
                    pipeline=pipeline_of(tags),
                    namespace="",
                    metric="",
                    dimensions={},
                    threshold=0.0,
                )
                yield found(met, tags)

    def _triggers(self, alarm: Mapping[str, Any], policy_arn: str) -> str:
        actions = alarm.get("AlarmActions", [])
        if self.policy and actions == [policy_arn]:
            return self.policy.name
        return "another" if actions else ""

    def _put(self, aws: Aws) -> None:
        actions = [self.policy.arn(aws)] if self.policy else []
        aws.client("cloudwatch").put_metric_alarm(
            AlarmName=self.name,
            AlarmDescription=self.description or f"gpupipe {self.stack.id}",
            Namespace=self.namespace,
            MetricName=self.metric,
            Dimensions=[{"Name": name, "Value": value} for name, value in self.dimensions.items()],
            Statistic=self.statistic,
            Period=self.period_s,
            EvaluationPeriods=self.periods,
            DatapointsToAlarm=self.datapoints or self.periods,
            Threshold=float(self.threshold),
            ComparisonOperator=self.comparison,
            TreatMissingData=self.missing,
            AlarmActions=[action for action in actions if action],
            Tags=tag_list(self.tags),
        )


def stacks_alarms(aws: Aws) -> Iterator[tuple[str, dict[str, str]]]:
    """Name and tags of each alarm of the stack, whoever set it."""
    pages = aws.client("cloudwatch").get_paginator("describe_alarms")
    alarms = pages.paginate(AlarmNamePrefix=f"{aws.stack.id}-", AlarmTypes=["MetricAlarm"])
    names = [one["AlarmName"] for page in alarms for one in page["MetricAlarms"]]
    for name, tags in zip(names, together(*(partial(alarm_tags, aws, name) for name in names)), strict=True):
        if is_stacks(tags, aws.stack):
            yield name, tags


def alarm_tags(aws: Aws, name: str) -> dict[str, str]:
    """Empty where there is no such alarm."""
    answer = absent_ok(aws.client("cloudwatch").list_tags_for_resource, ResourceARN=_arn(aws.stack, name))
    return tag_map((answer or {}).get("Tags"))


def _arn(stack: Stack, name: str) -> str:
    return stack.arn("cloudwatch", f"alarm:{name}")


def is_planned(tags: Mapping[str, str]) -> bool:
    """Is it one that `up` made? The guard's carry no key."""
    return tags.get(TAG_KEY, "").startswith("metric-alarm/")


def _fields(alarm: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "metric": f"{alarm.get('Namespace', '')} {alarm.get('MetricName', '')}",
        "dimensions": {one["Name"]: one["Value"] for one in alarm.get("Dimensions", [])},
        "threshold": float(alarm.get("Threshold", 0.0)),
        "comparison": alarm.get("ComparisonOperator", ""),
        "statistic": alarm.get("Statistic", ""),
        "period_s": alarm.get("Period", 0),
        "periods": alarm.get("EvaluationPeriods", 0),
        "datapoints": alarm.get("DatapointsToAlarm") or alarm.get("EvaluationPeriods", 0),
        "missing": alarm.get("TreatMissingData") or "missing",
    }
