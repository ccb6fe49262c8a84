"""Machine: an EC2 instance that the guard started. Nothing wants one here; `down` finds and terminates all."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.errors import GpupipeError
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.ownership import found, ours, pipeline_of, tag_map
from gpupipe.resources.waiting import until

GONE = "terminated"
LIVING = ["pending", "running", "stopping", "stopped", "shutting-down"]
TERMINATE_S = 600.0
"""GPU machines take minutes to go, those with local disks longest."""


@dataclass(frozen=True, kw_only=True)
class Machine(Resource):
    """One instance; `name` is its id."""

    kind: ClassVar[str] = "machine"
    phase: ClassVar[Phase] = Phase.MACHINES
    dynamic: ClassVar[bool] = True

    def desired(self) -> Fields:
        return {}

    def observe(self, aws: Aws) -> Observed | None:
        instance = self._describe(aws)
        if instance is None or instance["State"]["Name"] == GONE:
            return None
        return Observed(
            owner=tag_map(instance.get("Tags")).get(TAG_STACK, ""),
            fields={"type": instance["InstanceType"]},
            note=instance["State"]["Name"],
        )

    def create(self, aws: Aws) -> None:
        raise GpupipeError("machines are started by the guard.", hint="Use `gpupipe start`.")

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        raise GpupipeError("machines are not changed; the guard replaces them.", hint="Use `gpupipe stop`.")

    def delete(self, aws: Aws) -> None:
        if ours(self, aws) is None:
            return
        absent_ok(aws.client("ec2").terminate_instances, InstanceIds=[self.name])
        until(
            lambda: self.observe(aws) is None,
            clock=aws.clock,
            what=f"the termination of machine {self.name}",
            within_s=TERMINATE_S,
            pause_s=1.0,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        filters = [
            {"Name": f"tag:{TAG_STACK}", "Values": [aws.stack.id]},
            {"Name": "instance-state-name", "Values": LIVING},
        ]
        for page in aws.client("ec2").get_paginator("describe_instances").paginate(Filters=filters):
            for instance in (one for group in page["Reservations"] for one in group["Instances"]):
                pipeline = pipeline_of(tag_map(instance["Tags"]))
                machine = cls(stack=aws.stack, name=instance["InstanceId"], pipeline=pipeline)
                # Its tag names the pipeline's machines, all alike; its key must name this one.
                yield found(machine, tags={})

    def _describe(self, aws: Aws) -> dict[str, Any] | None:
        answer = absent_ok(aws.client("ec2").describe_instances, InstanceIds=[self.name])
        instances = [one for group in (answer or {}).get("Reservations", []) for one in group["Instances"]]
        return instances[0] if instances else None
