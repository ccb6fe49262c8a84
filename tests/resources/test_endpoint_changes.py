"""What `up` plans and does when an endpoint's settings change: the plan, its calls in order, and nothing more after."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
import requests
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from tests.account import Account
from tests.resources.samples import PIPELINE, Samples

from gpupipe.aws import Aws
from gpupipe.errors import ApplyError
from gpupipe.local import emulators
from gpupipe.local.runners.sagemaker.endpoint_reports import EndpointReports
from gpupipe.names import Stack
from gpupipe.plan import Action, Plan, apply, plan, plan_deletion, tear_down
from gpupipe.resources import Resource
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.endpoint_config import EndpointConfig, Variant
from gpupipe.resources.model import Model
from gpupipe.resources.scalable_target import ScalableTarget
from gpupipe.resources.scaling_policy import ScalingPolicy, Steps
from gpupipe.resources.state_bucket import StateBucket


@dataclass(frozen=True)
class Wanted:
    """An asynchronous endpoint as a person may describe it."""

    stack: Stack
    image: str = "rooms:1"
    types: tuple[str, ...] = ("ml.m5.xlarge",)
    weights: tuple[tuple[str, float], ...] = (("main", 1.0), ("other", 1.0))
    asynchronous: bool = True
    initial: int = 1

    @property
    def samples(self) -> Samples:
        return Samples(self.stack)

    @property
    def endpoint(self) -> Endpoint:
        samples = self.samples
        variants = tuple(
            Variant(
                name=name,
                model=self.model(name),
                instance_types=self.types,
                weight=weight,
                initial_instances=self.initial,
            )
            for name, weight in self.weights
        )
        asynchronous = samples.endpoint_config().asynchronous if self.asynchronous else None
        name = self.stack.endpoint(PIPELINE)
        config = EndpointConfig(
            stack=self.stack, name=name, pipeline=PIPELINE, variants=variants, asynchronous=asynchronous
        )
        return replace(samples.endpoint(), config=config)

    def model(self, variant: str) -> Model:
        name = self.stack.part(PIPELINE, variant)
        return replace(self.samples.model(), name=name, image=self.image, exact_name="")

    @property
    def resources(self) -> tuple[Resource, ...]:
        endpoint, samples = self.endpoint, self.samples
        config = endpoint.config
        models = tuple(variant.model for variant in config.variants)
        topics = (samples.topic("success"), samples.topic())
        scaled = tuple(one for variant in config.variants for one in self._scaling(endpoint, variant.name))
        return (
            StateBucket.of(self.stack),
            models[0].role,
            *topics,
            *models,
            config,
            endpoint.log_group,
            endpoint,
            *scaled,
        )

    def _scaling(self, endpoint: Endpoint, variant: str) -> Iterator[Resource]:
        def named(word: str) -> str:
            return self.stack.part(PIPELINE, f"{word}-{variant}")

        target = replace(self.samples.scalable_target(), endpoint=endpoint, variant=variant)
        wake = ScalingPolicy(
            stack=self.stack, name=named("wake"), pipeline=PIPELINE, target=target, how=Steps(cooldown_s=60)
        )
        track = replace(self.samples.scaling_policy(), name=named("track"), target=target)
        alarm = replace(self.samples.metric_alarm(), name=named("waiting"), policy=wake)
        action = replace(self.samples.scheduled_action(), name=named("warm"), target=target)
        yield from (target, wake, track, alarm, action)


@pytest.fixture
def aws(account: Account) -> Aws:
    """An account in the emulators: this is about whole runs of `up`."""
    return account.aws


@pytest.fixture
def wanted(account: Account) -> Wanted:
    return Wanted(stack=account.aws.stack)


def planned(aws: Aws, wanted: Wanted) -> Plan:
    return plan(aws, wanted.resources)


def up(aws: Aws, wanted: Wanted) -> None:
    apply(planned(aws, wanted), aws)


def done(account: Account, wanted: Wanted) -> list[str]:
    """What `up` calls that changes SageMaker or its autoscaling, in order."""
    account.calls.forget()
    up(account.aws, wanted)
    return [name for service, name in account.calls.changes if service in {"sagemaker", "application-autoscaling"}]


def steps(made: Plan) -> list[tuple[str, str]]:
    """Kinds and actions, of what is done."""
    return [(str(step.action), step.kind) for step in made.steps if step.action is not Action.KEEP]


def changes(made: Plan, kind: str) -> frozenset[str]:
    (step,) = [one for one in made.steps if one.kind == kind and one.action is not Action.DELETE]
    return step.changed_fields


def described(aws: Aws, wanted: Wanted) -> dict[str, Any]:
    found: dict[str, Any] = aws.client("sagemaker").describe_endpoint(EndpointName=wanted.endpoint.name)
    return found


def configs(aws: Aws) -> list[str]:
    answer = aws.client("sagemaker").list_endpoint_configs(NameContains=f"{aws.stack.id}-")
    return [one["EndpointConfigName"] for one in answer["EndpointConfigs"]]


def scaling(aws: Aws) -> dict[str, list[str]]:
    """What scales the stack's endpoint, without what all names begin with."""
    client, stack = aws.client("application-autoscaling"), aws.stack
    operations = {
        "targets": (client.describe_scalable_targets, "ScalableTargets", "ResourceId"),
        "policies": (client.describe_scaling_policies, "ScalingPolicies", "PolicyName"),
        "actions": (client.describe_scheduled_actions, "ScheduledActions", "ScheduledActionName"),
    }
    of = f"endpoint/{stack.endpoint(PIPELINE)}/"
    found = {
        word: [one[name] for one in describe(ServiceNamespace="sagemaker")[items] if one["ResourceId"].startswith(of)]
        for word, (describe, items, name) in operations.items()
    }
    prefixes = (f"{of}variant/", f"{stack.id}-{PIPELINE}-")
    return {word: sorted(_without(prefixes, name) for name in names) for word, names in found.items()}


def _without(prefixes: tuple[str, ...], name: str) -> str:
    return name.removeprefix(prefixes[0]).removeprefix(prefixes[1])


SCALED = {
    "targets": ["main", "other"],
    "policies": ["track-main", "track-other", "wake-main", "wake-other"],
    "actions": ["warm-main", "warm-other"],
}


def set_instances(aws: Aws, wanted: Wanted, **counts: int) -> None:
    """What autoscaling does."""
    for variant, count in counts.items():
        desired = [{"VariantName": variant, "DesiredInstanceCount": count}]
        aws.client("sagemaker").update_endpoint_weights_and_capacities(
            EndpointName=wanted.endpoint.name, DesiredWeightsAndCapacities=desired
        )


def test_a_second_up_has_nothing_to_do(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    set_instances(aws, wanted, main=5, other=0)

    assert planned(aws, wanted).is_empty
    assert planned(aws, replace(wanted, initial=3)).is_empty


def test_weights_alone_deploy_nothing(account: Account, aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    changed = replace(wanted, weights=(("main", 9.0), ("other", 1.0)))

    made = planned(aws, changed)
    assert steps(made) == [("update", "endpoint")]
    assert changes(made, "endpoint") == {"weights"}
    assert done(account, changed) == ["UpdateEndpointWeightsAndCapacities"]

    assert [one["DesiredWeight"] for one in described(aws, wanted)["ProductionVariants"]] == [9.0, 1.0]
    assert planned(aws, changed).is_empty


def test_another_image_is_deployed_before_anything_old_goes(account: Account, aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    set_instances(aws, wanted, main=3, other=2)
    changed = replace(wanted, image="rooms:2")

    made = planned(aws, changed)
    assert sorted(steps(made)) == [
        ("delete", "endpoint config"),
        ("delete", "model"),
        ("delete", "model"),
        ("replace", "endpoint config"),
        ("replace", "model"),
        ("replace", "model"),
        ("update", "endpoint"),
    ]
    assert changes(made, "endpoint") == {"config"}
    calls = done(account, changed)

    assert calls[:4] == ["CreateModel", "CreateModel", "CreateEndpointConfig", "UpdateEndpoint"]
    assert calls[4:] == ["DeleteEndpointConfig", "DeleteModel", "DeleteModel"]
    assert [one["DesiredInstanceCount"] for one in described(aws, wanted)["ProductionVariants"]] == [3, 2]
    assert scaling(aws) == SCALED
    assert planned(aws, changed).is_empty


def test_another_instance_type_lifts_autoscaling_for_the_time_of_it(account: Account, aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    aws.client("application-autoscaling").register_scalable_target(
        **next(one for one in wanted.resources if isinstance(one, ScalableTarget)).address,
        SuspendedState={"DynamicScalingOutSuspended": True},
    )
    changed = replace(wanted, types=("ml.g5.xlarge", "ml.g6.xlarge"))

    made = planned(aws, changed)
    assert steps(made) == [("replace", "endpoint config"), ("update", "endpoint"), ("delete", "endpoint config")]
    calls = done(account, changed)

    deployed = calls.index("UpdateEndpoint")
    assert calls[:deployed].count("DeregisterScalableTarget") == 2
    assert calls[deployed:].count("RegisterScalableTarget") == 2
    assert scaling(aws) == SCALED
    suspended = aws.client("application-autoscaling").describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{wanted.endpoint.name}/variant/main"]
    )["ScalableTargets"][0]["SuspendedState"]
    assert suspended["DynamicScalingOutSuspended"]
    # The alarm triggers the policy that was made again, under its new ARN.
    assert planned(aws, changed).is_empty


def test_an_update_at_zero_instances_tries_the_new_ones(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    set_instances(aws, wanted, main=0, other=0)

    up(aws, replace(wanted, image="rooms:2"))

    assert [one["CurrentInstanceCount"] for one in described(aws, wanted)["ProductionVariants"]] == [1, 1]


def test_a_variant_that_leaves_takes_its_autoscaling_along(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    changed = replace(wanted, weights=(("main", 1.0),))

    up(aws, changed)

    assert scaling(aws) == {"targets": ["main"], "policies": ["track-main", "wake-main"], "actions": ["warm-main"]}
    assert planned(aws, changed).is_empty
    up(aws, wanted)
    assert scaling(aws) == SCALED
    assert planned(aws, wanted).is_empty


def test_realtime_makes_the_endpoint_anew_with_its_autoscaling(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    changed = replace(wanted, asynchronous=False)

    made = planned(aws, changed)
    assert ("replace", "endpoint") in steps(made)
    assert changes(made, "endpoint") == {"config", "mode"}
    apply(made, aws)

    assert scaling(aws) == SCALED
    assert planned(aws, changed).is_empty


@pytest.mark.parametrize("status", ["Failed", "OutOfService"])
def test_an_endpoint_that_is_broken_is_made_anew(aws: Aws, wanted: Wanted, status: str) -> None:
    up(aws, wanted)
    report(aws, wanted, EndpointStatus=status, FailureReason="CannotStartContainerError")

    made = planned(aws, wanted)
    (step,) = [one for one in made.steps if one.kind == "endpoint"]
    assert (step.action, step.note) == (Action.REPLACE, f"{status}: CannotStartContainerError")
    apply(made, aws)

    assert described(aws, wanted)["EndpointStatus"] == "InService"
    assert scaling(aws) == SCALED
    assert planned(aws, wanted).is_empty


def test_a_rollback_is_told_and_keeps_the_old(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    before = configs(aws)
    write_log(aws, wanted, "loading", "Traceback: no module named cv2")
    report(aws, wanted, FailureReason="The variant main did not pass the ping health check")
    changed = replace(wanted, image="rooms:2", types=("ml.g5.xlarge",))

    with rolled_back(aws), pytest.raises(ApplyError) as told:
        up(aws, changed)

    assert "was rolled back: it serves as before: The variant main did not pass the ping" in str(told.value)
    assert "Traceback: no module named cv2" in str(told.value)
    assert "docker run IMAGE serve" in str(told.value)
    assert set(before) < set(configs(aws))
    assert scaling(aws) == SCALED
    assert ("update", "endpoint") in steps(planned(aws, changed))


def test_what_a_killed_update_left_unscaled_is_scaled_again(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)
    targets = [one for one in wanted.resources if isinstance(one, ScalableTarget)]
    for target in targets:
        aws.client("application-autoscaling").deregister_scalable_target(**target.address)

    made = planned(aws, wanted)
    assert {kind for action, kind in steps(made) if action == "create"} == {
        "scalable target",
        "scaling policy",
        "scheduled action",
    }
    assert {kind for action, kind in steps(made) if action == "update"} == {"metric alarm"}
    apply(made, aws)

    assert scaling(aws) == SCALED
    assert planned(aws, wanted).is_empty


def test_everything_goes(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)

    receipt = tear_down(plan_deletion(aws, wanted.resources), aws)

    assert receipt.leftovers == ()
    kinds = [one.rpartition(" ")[0] for one in receipt.deleted]
    order = [kinds.index(kind) for kind in ("scalable target", "endpoint", "endpoint config", "model", "role")]
    assert order == sorted(order)
    assert scaling(aws) == {"targets": [], "policies": [], "actions": []}


def test_everything_goes_that_only_a_search_finds(aws: Aws, wanted: Wanted) -> None:
    up(aws, wanted)

    receipt = tear_down(plan_deletion(aws, (StateBucket.of(wanted.stack),)), aws)

    assert receipt.leftovers == ()
    assert configs(aws) == []


# --- the account's other side -------------------------------------------------------------------------------


def report(aws: Aws, wanted: Wanted, **state: str) -> None:
    """What the host of its containers says of the endpoint."""
    url, keys = aws.endpoint("sagemaker"), aws.session.get_credentials()
    document = {"EndpointName": wanted.endpoint.name, **state}
    if url is None:  # moto in this process hears no HTTP client but this
        headers = {"X-Amz-Target": "SageMaker.ReportEndpoint", "Authorization": "AWS4-HMAC-SHA256 Credential=a/b/c/d"}
        url = f"https://api.sagemaker.{aws.stack.region}.amazonaws.com/"
        requests.post(url, json=document, headers=headers, timeout=10).raise_for_status()
        return
    account = emulators.Account(account_id=aws.stack.account, secret_key=keys.secret_key, region=aws.stack.region)
    EndpointReports(account, url)(document)


def write_log(aws: Aws, wanted: Wanted, *lines: str) -> None:
    logs, group = aws.client("logs"), wanted.endpoint.log_group.name
    logs.create_log_stream(logGroupName=group, logStreamName="main/i-1")
    events = [{"timestamp": int(time.time() * 1000) + number, "message": line} for number, line in enumerate(lines)]
    logs.put_log_events(logGroupName=group, logStreamName="main/i-1", logEvents=events)


@contextlib.contextmanager
def rolled_back(aws: Aws) -> Iterator[None]:
    """Within, UpdateEndpoint is accepted, and what it does is undone."""

    def accept(**_: Any) -> tuple[AWSResponse, dict[str, Any]]:
        answer = {"EndpointArn": "arn", "ResponseMetadata": {}}
        return AWSResponse("https://aws", 200, HTTPHeaders(), None), answer

    # `apply` makes clients of its own, of the same session.
    name = "before-call.sagemaker.UpdateEndpoint"
    aws.session.events.register(name, accept)
    try:
        yield
    finally:
        aws.session.events.unregister(name, accept)
