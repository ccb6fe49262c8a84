"""Scheduled action: other bounds of a scalable target from a time on, such as a warm endpoint in office hours."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import adopted, found, ours
from gpupipe.resources.scalable_target import ScalableTarget, met_on_targets


@dataclass(frozen=True, kw_only=True)
class ScheduledAction(Resource):
    """An action that is repeated."""

    kind: ClassVar[str] = "scheduled action"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    target: ScalableTarget
    schedule: str
    """`cron(0 8 ? * MON-FRI *)`."""
    min_instances: int
    max_instances: int
    timezone: str = "UTC"

    def requires(self) -> tuple[Resource, ...]:
        return (self.target,)

    def desired(self) -> Fields:
        return {
            "schedule": self.schedule,
            "timezone": self.timezone,
            "min_instances": self.min_instances,
            "max_instances": self.max_instances,
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: one that belongs to an endpoint which is made anew goes with it."""
        action = self._action(aws)
        if action is None or not self.target.endpoint.stays(aws):
            return None
        bounds = action.get("ScalableTargetAction", {})
        return Observed(
            owner=self.stack.id,
            fields={
                "schedule": action["Schedule"],
                "timezone": action.get("Timezone") or "UTC",
                "min_instances": bounds.get("MinCapacity"),
                "max_instances": bounds.get("MaxCapacity"),
            },
        )

    def create(self, aws: Aws) -> None:
        ours(self.target.endpoint, aws)
        if not adopted(self, aws):
            self._put(aws)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self.target.endpoint, aws)
        self._put(aws)

    def delete(self, aws: Aws) -> None:
        ours(self.target.endpoint, aws)
        if self._action(aws) is not None:
            delete = partial(aws.propagated, aws.client("application-autoscaling").delete_scheduled_action)
            absent_ok(delete, ScheduledActionName=self.name, **self.target.address)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        listed = met_on_targets(aws, "describe_scheduled_actions", "ScheduledActions", "ScheduledActionName")
        for name, target in listed:
            yield found(cls._met(name, target), {})

    @classmethod
    def _met(cls, name: str, target: ScalableTarget) -> ScheduledAction:
        return cls(
            stack=target.stack,
            name=name,
            pipeline=target.pipeline,
            target=target,
            schedule="",
            min_instances=0,
            max_instances=0,
        )

    def _action(self, aws: Aws) -> Mapping[str, Any] | None:
        answer = aws.client("application-autoscaling").describe_scheduled_actions(
            ScheduledActionNames=[self.name], **self.target.address
        )
        return next((one for one in answer["ScheduledActions"] if one["ScheduledActionName"] == self.name), None)

    def _put(self, aws: Aws) -> None:
        aws.propagated(
            aws.client("application-autoscaling").put_scheduled_action,
            ScheduledActionName=self.name,
            Schedule=self.schedule,
            Timezone=self.timezone,
            ScalableTargetAction={"MinCapacity": self.min_instances, "MaxCapacity": self.max_instances},
            **self.target.address,
        )
