"""EventBridge schedule: calls a function every so many minutes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.names import TAG_STACK, Stack
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.function import Function
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of
from gpupipe.resources.role import Role
from gpuworker.contract import TAG_PREFIX

# Lambda takes the call at once; these tries are for when it is throttled. The next minute is the better retry.
RETRIES = {"MaximumRetryAttempts": 1, "MaximumEventAgeInSeconds": 60}
GROUP = "default"


def group_arn(stack: Stack) -> str:
    """What a schedule's role must name as its source: AWS wants the group's ARN there, never the schedule's.

    https://docs.aws.amazon.com/scheduler/latest/UserGuide/cross-service-confused-deputy-prevention.html
    """
    return stack.arn("scheduler", f"schedule-group/{GROUP}")


@dataclass(frozen=True, kw_only=True)
class Schedule(Resource):
    """A schedule in the default group. Schedules take no tags: whose it is stands in its description."""

    kind: ClassVar[str] = "schedule"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    function: Function
    role: Role
    """Lets Scheduler call the function: `service="scheduler.amazonaws.com"`."""
    every_minutes: int = 1

    def requires(self) -> tuple[Resource, ...]:
        return (self.function, self.role)

    def desired(self) -> Fields:
        return {
            "marks": self._marks,
            "every": _rate(self.every_minutes),
            "function": self.function.arn,
            "role": self.role.arn,
            "retries": RETRIES,
            "enabled": True,
        }

    def observe(self, aws: Aws) -> Observed | None:
        schedule = absent_ok(aws.client("scheduler").get_schedule, Name=self.name)
        if schedule is None:
            return None
        marks, target = _marks_in(schedule), schedule["Target"]
        return Observed(
            owner=marks.get(TAG_STACK, ""),
            fields={
                "marks": marks,
                "every": schedule["ScheduleExpression"],
                "function": target["Arn"],
                "role": target["RoleArn"],
                "retries": target.get("RetryPolicy", {}),
                "enabled": schedule.get("State", "ENABLED") == "ENABLED",
            },
        )

    def create(self, aws: Aws) -> None:
        if not adopted(self, aws):
            aws.propagated(aws.client("scheduler").create_schedule, **self._definition)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        aws.propagated(aws.client("scheduler").update_schedule, **self._definition)

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is not None:
            absent_ok(aws.client("scheduler").delete_schedule, Name=self.name)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        scheduler, stack = aws.client("scheduler"), aws.stack
        pages = scheduler.get_paginator("list_schedules").paginate(GroupName=GROUP, NamePrefix=f"{stack.id}-")
        for name in [one["Name"] for page in pages for one in page["Schedules"]]:
            marks = _marks_in(absent_ok(scheduler.get_schedule, Name=name) or {})
            if is_stacks(marks, stack):
                role = Role(stack=stack, name="", service="", statements=())
                function = Function.named(aws, name)
                schedule = cls(stack=stack, name=name, pipeline=pipeline_of(marks), function=function, role=role)
                yield found(schedule, marks)

    @property
    def _marks(self) -> dict[str, str]:
        # Ours only: a description has no room for the person's own tags.
        return {key: value for key, value in self.tags.items() if key.startswith(TAG_PREFIX)}

    @property
    def _definition(self) -> dict[str, Any]:
        return {
            "Name": self.name,
            "ScheduleExpression": _rate(self.every_minutes),
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "State": "ENABLED",
            "Description": "; ".join(f"{key}={value}" for key, value in self._marks.items()),
            "Target": {"Arn": self.function.arn, "RoleArn": self.role.arn, "RetryPolicy": RETRIES, "Input": "{}"},
        }


def _rate(minutes: int) -> str:
    return f"rate({minutes} minute{'s' if minutes > 1 else ''})"


def _marks_in(schedule: Mapping[str, Any]) -> dict[str, str]:
    """What would be its tags, from its description."""
    pairs = (mark.split("=", 1) for mark in schedule.get("Description", "").split("; ") if "=" in mark)
    return {pair[0]: pair[1] for pair in pairs}
