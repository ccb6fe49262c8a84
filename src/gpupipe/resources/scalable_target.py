"""Scalable target: between how many instances autoscaling may move a variant of an endpoint."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, identity, sagemaker, scaling_pause
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.ownership import adopted, found, ours, pipeline_of
from gpupipe.resources.scaling_pause import DIMENSION, NAMESPACE


@dataclass(frozen=True, kw_only=True)
class ScalableTarget(Resource):
    """A variant that is scaled. AWS knows it by endpoint and variant; `name` is nobody's."""

    kind: ClassVar[str] = "scalable target"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    endpoint: Endpoint
    variant: str
    min_instances: int
    max_instances: int

    @property
    def resource_id(self) -> str:
        return scaling_pause.resource_id(self.endpoint.name, self.variant)

    @property
    def address(self) -> dict[str, Any]:
        """The three parameters that name it in every call."""
        return scaling_pause.address(self.endpoint.name, self.variant)

    @property
    def key(self) -> str:
        return identity(self.kind, f"{self.endpoint.name.removeprefix(self.stack.id + '-')}-{self.variant}")

    @property
    def aws_name(self) -> str:
        return self.resource_id

    @property
    def priced_by(self) -> Fields:
        """The least that runs day and night."""
        types = [one.instance_types[0] for one in self.endpoint.config.variants if one.name == self.variant]
        instance_type = types[0] if types else ""
        return {"instance_type": instance_type, "instances": self.min_instances, "region": self.stack.region}

    def requires(self) -> tuple[Resource, ...]:
        return (self.endpoint,)

    def desired(self) -> Fields:
        return {"min_instances": self.min_instances, "max_instances": self.max_instances}

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: one that belongs to an endpoint which is made anew goes with it."""
        target = self._target(aws)
        if target is None or not self.endpoint.stays(aws):
            return None
        suspended = [name for name, is_off in (target.get("SuspendedState") or {}).items() if is_off]
        least = self.min_instances if _is_held(target) else target["MinCapacity"]
        return Observed(
            owner=self.stack.id,
            note=", ".join(suspended),
            fields={"min_instances": least, "max_instances": target["MaxCapacity"]},
        )

    def create(self, aws: Aws) -> None:
        ours(self.endpoint, aws)
        if not adopted(self, aws):
            self._register(aws)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self.endpoint, aws)
        self._register(aws)

    def delete(self, aws: Aws) -> None:
        """Its policies and scheduled actions go with it."""
        ours(self.endpoint, aws)
        if self._target(aws) is not None:
            deregister = partial(aws.propagated, aws.client("application-autoscaling").deregister_scalable_target)
            absent_ok(deregister, **self.address)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        pages = aws.client("application-autoscaling").get_paginator("describe_scalable_targets")
        endpoints = endpoints_of(aws)
        for page in pages.paginate(ServiceNamespace=NAMESPACE, ScalableDimension=DIMENSION):
            for target in page["ScalableTargets"]:
                met = target_named(endpoints, target["ResourceId"])
                if met is not None:
                    yield found(met, {})

    def _target(self, aws: Aws) -> Mapping[str, Any] | None:
        answer = aws.client("application-autoscaling").describe_scalable_targets(
            ServiceNamespace=NAMESPACE, ResourceIds=[self.resource_id], ScalableDimension=DIMENSION
        )
        targets: list[Mapping[str, Any]] = answer["ScalableTargets"]
        return targets[0] if targets else None

    def _register(self, aws: Aws) -> None:
        # Tags are taken at birth only; a registration of what is registered must not name them.
        known = self._target(aws)
        tags: dict[str, Any] = {} if known else {"Tags": self.tags}
        aws.propagated(
            aws.client("application-autoscaling").register_scalable_target,
            **self.address,
            MinCapacity=0 if known and _is_held(known) else self.min_instances,
            MaxCapacity=self.max_instances,
            **tags,
        )


def _is_held(target: Mapping[str, Any]) -> bool:
    """Does the guard hold it at none (stopped, or over budget)? It gives the minimum back when it lets go."""
    suspended = target.get("SuspendedState") or {}
    return target["MinCapacity"] == 0 and bool(suspended.get("DynamicScalingOutSuspended"))


def endpoints_of(aws: Aws) -> dict[str, Endpoint]:
    """The stack's endpoints by name: what scales them carries no owner of its own that could be asked for cheaply."""
    listed = sagemaker.stacks_own(aws, "list_endpoints", "Endpoints", "Endpoint")
    return {name: Endpoint.named(aws, name, pipeline=pipeline_of(tags)) for name, tags in listed}


def target_named(endpoints: Mapping[str, Endpoint], resource_id: str) -> ScalableTarget | None:
    """The target of that resource id, None where it is of none of these endpoints."""
    _, name, _, variant = (resource_id.split("/") + [""] * 4)[:4]
    endpoint = endpoints.get(name)
    if endpoint is None:
        return None
    return ScalableTarget(
        stack=endpoint.stack,
        name=name,
        pipeline=endpoint.pipeline,
        endpoint=endpoint,
        variant=variant,
        min_instances=0,
        max_instances=0,
    )


def met_on_targets(aws: Aws, operation: str, items: str, name: str) -> Iterable[tuple[str, ScalableTarget]]:
    """Names of all that `operation` (`describe_scaling_policies`) lists and that scales an endpoint of the stack, each
    with its target. What does not begin with the stack's name was put there by somebody else."""
    pages = aws.client("application-autoscaling").get_paginator(operation)
    endpoints = endpoints_of(aws)
    for page in pages.paginate(ServiceNamespace=NAMESPACE, ScalableDimension=DIMENSION):
        for one in page[items]:
            target = target_named(endpoints, one["ResourceId"])
            if target is not None and one[name].startswith(f"{aws.stack.id}-"):
                yield one[name], target
