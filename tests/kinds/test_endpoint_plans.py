"""`up` and `down` of endpoint pipelines in the emulators: what is made, kept, changed and deleted, and when."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest
from tests.account import Account, KilledError
from tests.kinds.settings import TWO

from gpupipe.aws import Aws
from gpupipe.config import Config
from gpupipe.errors import ApplyError
from gpupipe.plan import Action
from gpupipe.provision import down, plan_down, plan_up, up

held_by_changes = pytest.mark.exhaustive
"""For what `tests/resources/test_endpoint_changes.py` holds of the same kinds without a configuration."""

QUEUE = {"kind": "queue", "task": "segment"}


def config(aws: Aws, **pipelines: Any) -> Config:
    stack = {"name": aws.stack.name, "environment": "test", "region": aws.stack.region}
    return Config(stack=stack, pipelines=pipelines)  # type: ignore[arg-type]


def rooms(aws: Aws, **settings: Any) -> Config:
    return config(aws, rooms={"kind": "endpoint", "task": "segment", "image": "rooms:1", **settings})


def both(aws: Aws, **settings: Any) -> Config:
    """A queue and an endpoint in one stack."""
    return config(aws, segment=QUEUE, rooms=rooms(aws, **settings).pipelines["rooms"])


def live(aws: Aws) -> tuple[dict[str, Any], dict[str, Any]]:
    """The endpoint and the configuration it runs."""
    endpoint = aws.client("sagemaker").describe_endpoint(EndpointName=aws.stack.endpoint("rooms"))
    config = aws.client("sagemaker").describe_endpoint_config(EndpointConfigName=endpoint["EndpointConfigName"])
    return endpoint, config


def images(aws: Aws) -> list[str]:
    """Of the models that the endpoint runs."""
    models = [variant["ModelName"] for variant in live(aws)[1]["ProductionVariants"]]
    describe = aws.client("sagemaker").describe_model
    return [describe(ModelName=name)["PrimaryContainer"]["Image"] for name in models]


def left(aws: Aws) -> dict[str, int]:
    """How many of what SageMaker, scaling, SNS and CloudWatch hold are the stack's."""
    sagemaker, scaling = aws.client("sagemaker"), aws.client("application-autoscaling")
    of_sagemaker = {"ServiceNamespace": "sagemaker"}
    lists = {
        "models": sagemaker.list_models()["Models"],
        "configs": sagemaker.list_endpoint_configs()["EndpointConfigs"],
        "endpoints": sagemaker.list_endpoints()["Endpoints"],
        "targets": scaling.describe_scalable_targets(**of_sagemaker)["ScalableTargets"],
        "policies": scaling.describe_scaling_policies(**of_sagemaker)["ScalingPolicies"],
        "actions": scaling.describe_scheduled_actions(**of_sagemaker)["ScheduledActions"],
        "topics": aws.client("sns").list_topics()["Topics"],
        "alarms": aws.client("cloudwatch").describe_alarms()["MetricAlarms"],
    }
    return {what: sum(f"{aws.stack.id}-rooms" in str(one) for one in found) for what, found in lists.items()}


@pytest.fixture
def aws(account: Account) -> Aws:
    return account.aws


@pytest.fixture
def deployed(aws: Aws) -> Aws:
    up(rooms(aws), aws)
    return aws


def test_both_kinds_are_made_once_and_deleted_without_a_trace(aws: Aws) -> None:
    wanted = both(aws)
    planned = plan_up(wanted, aws)

    assert {step.action for step in planned.steps} == {Action.CREATE}
    assert len(up(wanted, aws, plan=planned).created) == len(planned.steps)
    endpoint, config = live(aws)
    assert endpoint["EndpointStatus"] == "InService"
    assert config["AsyncInferenceConfig"]["ClientConfig"]["MaxConcurrentInvocationsPerInstance"] == 4
    again = plan_up(wanted, aws)
    assert again.is_empty, again.changes

    receipt = down(wanted, aws)

    assert (receipt.leftovers, receipt.kept, receipt.searched) == ((), (), True)
    assert set(left(aws).values()) == {0}, left(aws)
    assert plan_down(wanted, aws).steps == ()


def test_a_realtime_endpoint_is_made_once_and_deleted_without_a_trace(aws: Aws) -> None:
    warm = {"start": "0 8 ? * MON-FRI *", "end": "0 18 ? * MON-FRI *"}
    wanted = rooms(aws, mode="realtime", keep_warm=warm, variants=TWO)

    up(wanted, aws)

    assert "AsyncInferenceConfig" not in live(aws)[1]
    assert plan_up(wanted, aws).is_empty
    assert left(aws)["actions"] == 4
    assert down(wanted, aws).leftovers == ()
    assert set(left(aws).values()) == {0}, left(aws)


@held_by_changes
def test_another_image_is_another_model_and_configuration_and_the_old_ones_go(deployed: Aws, account: Account) -> None:
    before = live(deployed)[0]["EndpointConfigName"]
    planned = plan_up(rooms(deployed, image="rooms:2"), deployed)

    kinds = Counter((step.kind, step.action) for step in planned.changes)
    assert kinds["model", Action.CREATE] + kinds["model", Action.REPLACE] == 1
    assert kinds["endpoint", Action.UPDATE] == 1
    assert ("endpoint", Action.REPLACE) not in kinds
    account.calls.forget()
    up(rooms(deployed, image="rooms:2"), deployed, plan=planned)
    calls = [operation for service, operation in account.calls.changes if service == "sagemaker"]
    order = ["CreateModel", "CreateEndpointConfig", "UpdateEndpoint", "DeleteEndpointConfig", "DeleteModel"]
    assert [call for call in calls if call in order] == order
    assert images(deployed) == ["rooms:2"]
    assert live(deployed)[0]["EndpointConfigName"] != before
    assert (left(deployed)["models"], left(deployed)["configs"]) == (1, 1)
    assert plan_up(rooms(deployed, image="rooms:2"), deployed).is_empty


@held_by_changes
def test_another_instance_type_keeps_the_model(deployed: Aws) -> None:
    larger = rooms(deployed, compute={"instance_types": ["ml.m5.2xlarge", "ml.m5.4xlarge"]})
    planned = plan_up(larger, deployed)

    assert "model" not in {step.kind for step in planned.changes}
    up(larger, deployed, plan=planned)
    (variant,) = live(deployed)[1]["ProductionVariants"]
    assert [pool["InstanceType"] for pool in variant["InstancePools"]] == ["ml.m5.2xlarge", "ml.m5.4xlarge"]
    assert left(deployed)["configs"] == 1
    assert plan_up(larger, deployed).is_empty


@held_by_changes
def test_other_weights_are_no_new_deployment(aws: Aws) -> None:
    up(rooms(aws, mode="realtime", variants=TWO), aws)
    config = live(aws)[0]["EndpointConfigName"]
    even = rooms(aws, mode="realtime", variants=[{**TWO[0], "weight": 1}, TWO[1]])

    planned = plan_up(even, aws)

    assert [(step.kind, step.action) for step in planned.changes] == [("endpoint", Action.UPDATE)]
    up(even, aws, plan=planned)
    endpoint = live(aws)[0]
    assert endpoint["EndpointConfigName"] == config
    assert {one["VariantName"]: one["CurrentWeight"] for one in endpoint["ProductionVariants"]} == {"old": 1, "new": 1}
    assert plan_up(even, aws).is_empty


def test_more_instances_move_the_limits_only(deployed: Aws) -> None:
    planned = plan_up(rooms(deployed, compute={"max_instances": 9}), deployed)

    assert {step.kind for step in planned.changes} == {"scalable target", "function"}


def test_another_idle_time_moves_what_takes_instances_away(deployed: Aws) -> None:
    shorter = rooms(deployed, compute={"idle_minutes": 5})

    planned = plan_up(shorter, deployed)

    changed = {step.resource.name.removeprefix(f"{deployed.stack.id}-rooms-") for step in planned.changes}
    assert changed == {"track-main", "idle-main", "dispatch", "guard", "callback"}
    up(shorter, deployed, plan=planned)
    assert plan_up(shorter, deployed).is_empty


@held_by_changes
def test_a_second_variant_and_back(aws: Aws) -> None:
    one, two = rooms(aws, mode="realtime"), rooms(aws, mode="realtime", variants=TWO)
    up(one, aws)

    up(two, aws)

    assert images(aws) == ["rooms:1", "rooms:2"]
    assert left(aws)["targets"] == 2
    up(one, aws)
    assert images(aws) == ["rooms:1"]
    assert (left(aws)["targets"], left(aws)["models"], left(aws)["configs"]) == (1, 1, 1)
    assert plan_up(one, aws).is_empty


@held_by_changes
def test_async_becomes_realtime_by_another_endpoint_of_the_same_name(deployed: Aws) -> None:
    planned = plan_up(rooms(deployed, mode="realtime"), deployed)

    assert {step.action for step in planned.changes if step.kind == "endpoint"} == {Action.REPLACE}
    up(rooms(deployed, mode="realtime"), deployed, plan=planned)
    assert "AsyncInferenceConfig" not in live(deployed)[1]
    assert left(deployed)["topics"] == 0
    assert plan_up(rooms(deployed, mode="realtime"), deployed).is_empty


def test_a_pipeline_that_left_takes_its_endpoint_with_it_and_leaves_its_data(aws: Aws) -> None:
    up(both(aws), aws)
    only_queue = config(aws, segment=QUEUE)

    receipt = up(only_queue, aws)

    assert [kept.kind for kept in receipt.kept] == ["bucket"]
    assert set(left(aws).values()) == {0}, left(aws)
    assert not [name for name in receipt.deleted if "-segment-" in name]
    groups = aws.client("logs").describe_log_groups()["logGroups"]
    assert not [group for group in groups if f"{aws.stack.id}-rooms" in group["logGroupName"]]


@held_by_changes
def test_down_goes_from_scaling_to_the_endpoint_to_its_model_to_the_role(deployed: Aws) -> None:
    deleted = down(rooms(deployed), deployed).deleted

    def last(kind: str) -> int:
        """The place of the last one of this kind and no other whose word begins alike."""
        return max(
            place for place, name in enumerate(deleted) if re.match(rf"{kind} (endpoint/)?{deployed.stack.id}", name)
        )

    order = ["scaling policy", "scalable target", "endpoint", "endpoint config", "model", "role"]
    assert sorted(order, key=last) == order


def test_the_plan_shows_what_realtime_costs_at_rest(aws: Aws) -> None:
    planned = plan_up(rooms(aws, mode="realtime"), aws)

    assert "1 instance always runs: $168 a month" in " ".join(planned.notes)
    assert 168 < sum(step.usd_per_month for step in planned.steps) < 169
    assert sum(step.usd_per_month for step in plan_up(rooms(aws), aws).steps) < 1


@pytest.mark.parametrize("die_after", [3, pytest.param(6, marks=pytest.mark.exhaustive)])
def test_a_deployment_that_was_killed_is_finished_by_the_next_up(account: Account, die_after: int) -> None:
    aws, better = account.aws, rooms(account.aws, image="rooms:2")
    up(rooms(aws), aws)
    account.calls.forget()
    account.calls.die_after = die_after
    with pytest.raises((KilledError, ApplyError)):
        up(better, aws)
    account.calls.forget()
    account.expire_lock()

    up(better, account.again().aws)

    assert images(aws) == ["rooms:2"]
    assert (left(aws)["models"], left(aws)["configs"]) == (1, 1)
    assert plan_up(better, aws).is_empty
