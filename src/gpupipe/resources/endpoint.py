"""SageMaker endpoint: what answers invocations. It keeps its name; another configuration is deployed blue/green.

Weights that alone have changed are set without a deployment. Instance counts belong to autoscaling and are never a
difference. An endpoint that failed, and one that is to become realtime or asynchronous, can only be made anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok
from gpupipe.names import TAG_STACK
from gpupipe.resources import Fields, Found, Observed, Phase, Resource, endpoint_state, sagemaker, scaling_pause
from gpupipe.resources.endpoint_config import EndpointConfig, instance_types
from gpupipe.resources.endpoint_state import Description, Waiter
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.ownership import adopted, found, ours, pipeline_of, tag_list
from gpupipe.resources.waiting import until

OVERHEAD_S = 900.0
"""On top of what its containers and instances may take."""
LONGEST_S = 28_800
IN_PROGRESS = "in-progress endpoint"
"""Part of SageMaker's refusal to change an endpoint that autoscaling, say, is changing."""
BROKEN = frozenset({"Failed", "OutOfService"})
"""What no deployment mends: it is made anew."""


@dataclass(frozen=True, kw_only=True)
class Endpoint(Resource):
    """An endpoint of one configuration."""

    kind: ClassVar[str] = "endpoint"
    phase: ClassVar[Phase] = Phase.MACHINES
    immutable: ClassVar[frozenset[str]] = frozenset({"mode", "failure"})

    config: EndpointConfig
    log_group: LogGroup
    """Where its containers write: `names.Stack.endpoint_log_group`."""
    rollback_alarms: tuple[Resource, ...] = ()
    """Metric alarms: a deployment during which one of them goes off is rolled back."""
    bake_s: int = 0
    """So long both fleets are kept after a switch, while the alarms are watched; 0 to 3600."""

    @property
    def arn(self) -> str:
        return sagemaker.arn(self.stack, "endpoint", self.name)

    @property
    def mode(self) -> str:
        return "async" if self.config.asynchronous else "realtime"

    def requires(self) -> tuple[Resource, ...]:
        return (self.config, self.log_group, *self.rollback_alarms)

    def desired(self) -> Fields:
        return {
            "tags": self.tags,
            "config": self.config.aws_name,
            "mode": self.mode,
            "weights": _shares({variant.name: variant.weight for variant in self.config.variants}),
            "settled": True,
            "failure": "",
        }

    def observe(self, aws: Aws) -> Observed | None:
        """Two reads: the tags come by a call of their own, which must not be made of what is not there."""
        described = self._waiter(aws).describe()
        if described is None or described["EndpointStatus"] == "Deleting":
            return None
        tags = sagemaker.read_tags(aws, self.arn)
        status, reason = described["EndpointStatus"], str(described.get("FailureReason") or "")
        return Observed(
            owner=tags.get(TAG_STACK, ""),
            note=_note(status, reason),
            fields={
                "tags": self.tags_of(tags),
                "config": endpoint_state.pending_config(described) or described.get("EndpointConfigName", ""),
                "mode": "async" if described.get("AsyncInferenceConfig") else "realtime",
                "weights": _shares(_weights(described)),
                "settled": not endpoint_state.deploying(described),
                "failure": (reason or status) if status in BROKEN else "",
            },
        )

    def create(self, aws: Aws) -> None:
        if adopted(self, aws):
            return
        self._waiter(aws).settled()  # one that is being deleted still has the name
        aws.propagated(
            aws.client("sagemaker").create_endpoint,
            EndpointName=self.name,
            EndpointConfigName=self.config.aws_name,
            Tags=tag_list(self.tags),
        )
        self._wait_live(aws)
        self._weigh(aws)  # the configuration may be an older one, with the weights of its time

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self, aws)
        described = self._waiter(aws).settled() or {}
        if "tags" in changed:
            aws.client("sagemaker").add_tags(ResourceArn=self.arn, Tags=tag_list(self.tags))
        if described.get("EndpointConfigName") != self.config.aws_name:
            self._deploy(aws, described)
        self._wait_live(aws)
        self._weigh(aws)

    def delete(self, aws: Aws) -> None:
        """Wait until it can be deleted, and then until it is gone. Its autoscaling goes with it."""
        waiter = self._waiter(aws)
        if ours(self, aws) is not None:
            waiter.settled()
            absent_ok(partial(self._when_settled, aws, "delete_endpoint"), EndpointName=self.name)
        until(
            lambda: waiter.settled() is None,
            clock=aws.clock,
            what=f"the deletion of endpoint {self.name}",
            within_s=OVERHEAD_S,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        for name, tags in sagemaker.stacks_own(aws, "list_endpoints", "Endpoints", "Endpoint"):
            yield found(cls.named(aws, name, pipeline=pipeline_of(tags)), tags)

    @classmethod
    def named(cls, aws: Aws, name: str, *, pipeline: str = "") -> Endpoint:
        """The endpoint of that name as something met in the account: enough to delete it."""
        stack = aws.stack
        config = EndpointConfig(stack=stack, name="", variants=())
        group = LogGroup(stack=stack, name=f"/aws/sagemaker/Endpoints/{name}")
        return cls(stack=stack, name=name, pipeline=pipeline, config=config, log_group=group)

    def stays(self, aws: Aws) -> bool:
        """Is it there, and not to be made anew? What scales it lives no longer than it does."""
        described = self._waiter(aws).describe()
        if described is None or described["EndpointStatus"] in {*BROKEN, "Deleting"}:
            return False
        return bool(described.get("AsyncInferenceConfig")) == bool(self.config.asynchronous)

    def _waiter(self, aws: Aws) -> Waiter:
        slowest = max((one.startup_timeout_s + one.provision_timeout_s for one in self.config.variants), default=3600)
        within_s = slowest + OVERHEAD_S + self.bake_s
        return Waiter(aws=aws, name=self.name, log_group=self.log_group.name, within_s=within_s)

    def _deploy(self, aws: Aws, described: Description) -> None:
        """Blue/green: the new fleet takes over when it answers, or SageMaker goes back to the old one."""
        before = self._types_now(aws, described)
        after = {variant.name: list(variant.instance_types) for variant in self.config.variants}
        moved = [name for name, types in before.items() if after.get(name) != types]
        with scaling_pause.lifted(aws, self.name, moved):
            aws.propagated(
                partial(self._when_settled, aws, "update_endpoint"),
                EndpointName=self.name,
                EndpointConfigName=self.config.aws_name,
                **(self._deployment(described) if before.keys() == after.keys() else {}),
            )
            self._wait_live(aws)

    def _types_now(self, aws: Aws, described: Description) -> dict[str, list[str]]:
        """Variant -> instance types that it runs on."""
        name = described.get("EndpointConfigName", "")
        answer = absent_ok(aws.client("sagemaker").describe_endpoint_config, EndpointConfigName=name)
        return {one["VariantName"]: instance_types(one) for one in (answer or {}).get("ProductionVariants", [])}

    def _deployment(self, described: Description) -> dict[str, Any]:
        """How to go over to variants of the same names; SageMaker has no such care for others.

        Counts are kept, but not a count of 0: that would prove nothing of the new containers.
        """
        counts = [one.get("DesiredInstanceCount", 1) for one in described.get("ProductionVariants", [])]
        excluded = [] if all(counts) else [{"VariantPropertyType": "DesiredInstanceCount"}]
        policy = {
            "TrafficRoutingConfiguration": {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0},
            "TerminationWaitInSeconds": self.bake_s,
            "MaximumExecutionTimeoutInSeconds": min(LONGEST_S, max(600, self.bake_s + 7200)),
        }
        alarms = [{"AlarmName": alarm.name} for alarm in self.rollback_alarms]
        rollback = {"AutoRollbackConfiguration": {"Alarms": alarms}} if alarms else {}
        return {
            "RetainAllVariantProperties": True,
            **({"ExcludeRetainedVariantProperties": excluded} if excluded else {}),
            "DeploymentConfig": {"BlueGreenUpdatePolicy": policy, **rollback},
        }

    def _wait_live(self, aws: Aws) -> None:
        """Until it serves the wanted configuration. Raises AwsError with the reason and the log where it does not."""
        waiter = self._waiter(aws)
        described = waiter.settled()
        if described is None:
            raise waiter.failure(f"endpoint {self.name} is gone", "something else has deleted it")
        status, reason = described["EndpointStatus"], str(described.get("FailureReason") or "no reason is given")
        if status not in {"InService", "UpdateRollbackFailed"}:
            raise waiter.failure(f"endpoint {self.name} is {status}", reason)
        if described.get("EndpointConfigName") != self.config.aws_name:
            # It is in service, and so looks well; https://github.com/hashicorp/terraform-provider-aws/issues/46663
            raise waiter.failure(f"the update of endpoint {self.name} was rolled back: it serves as before", reason)

    def _weigh(self, aws: Aws) -> None:
        """Set the weights where they are others."""
        wanted = {variant.name: variant.weight for variant in self.config.variants}
        described = self._waiter(aws).describe() or {}
        if _shares(_weights(described)) != _shares(wanted):
            desired = [{"VariantName": name, "DesiredWeight": weight} for name, weight in wanted.items()]
            self._when_settled(
                aws,
                "update_endpoint_weights_and_capacities",
                EndpointName=self.name,
                DesiredWeightsAndCapacities=desired,
            )
            self._waiter(aws).settled()

    def _when_settled(self, aws: Aws, operation: str, **arguments: Any) -> Any:
        """Call `operation`, again after autoscaling, say, has changed the endpoint in between."""
        from botocore.exceptions import ClientError

        call = getattr(aws.client("sagemaker"), operation)
        for tries_left in (4, 3, 2, 1, 0):
            try:
                return call(**arguments)
            except ClientError as error:
                if IN_PROGRESS not in str(error) or not tries_left:
                    raise
            self._waiter(aws).settled()
        raise AssertionError("unreachable")


def _note(status: str, reason: str) -> str:
    """`Updating`, `Failed: no capacity`, `an update was rolled back: …`; "" where all is well."""
    doing = status if status != "InService" else "an update was rolled back" if reason else ""
    return f"{doing}: {reason}" if reason else doing


def _weights(described: Description) -> dict[str, float]:
    variants: Iterable[Mapping[str, Any]] = described.get("ProductionVariants") or ()
    return {one["VariantName"]: float(one.get("DesiredWeight", one.get("CurrentWeight", 1.0))) for one in variants}


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    """Weights as shares of 1: SageMaker keeps them in single precision, and 2:2 is 1:1."""
    total = sum(weights.values()) or 1.0
    return {name: round(weight / total, 4) for name, weight in sorted(weights.items())}
