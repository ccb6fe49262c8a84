"""EC2 as the guard uses it: launching over types and zones, and what EC2 refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from tests.functions.conftest import NOW, Fakes, context, make_template, settings

from gpupipe.functions.actions import Refusal
from gpupipe.functions.context import Context
from gpupipe.kinds.queue.backend import machines
from gpupipe.kinds.queue.backend.machines import Template
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpupipe.kinds.queue.backend.view import Ec2Instance

Ctx = Context[QueueSettings]
V1 = Template(version="1", fingerprint="t1")


@pytest.fixture
def ctx(emulated: Callable[[str], Any]) -> Iterator[Ctx]:
    ec2 = emulated("ec2")
    make_template(ec2)
    made = context(settings(), Fakes({"ec2": ec2, "sqs": None}), emulated("dynamodb"), lambda: NOW)
    yield made
    if there := [one.machine for one in machines.instances(made)]:
        ec2.terminate_instances(InstanceIds=there)
    ec2.delete_launch_template(LaunchTemplateName=settings().launch_template)


def live(ctx: Ctx) -> list[Ec2Instance]:
    return [one for one in machines.instances(ctx) if one.is_live]


def test_a_machine_is_launched_from_the_template_and_tagged_at_birth(ctx: Ctx) -> None:
    launched = machines.launch(ctx, V1, 1)
    assert launched.refusals == []
    (one,) = launched.instances
    assert (one.instance_type, one.market, one.launched_at, one.template) == ("g4dn.xlarge", "on-demand", NOW, "t1")
    assert one.zone.startswith("us-east-1")
    (described,) = live(ctx)
    assert (described.machine, described.zone, described.template) == (one.machine, one.zone, "t1")


def test_a_fleet_of_spot_machines(ctx: Ctx) -> None:
    spot = replace(ctx, settings=settings(market="spot", max_instances=3, on_idle="terminate"))
    launched = machines.launch(spot, V1, 3)
    assert [one.market for one in launched.instances] == ["spot"] * 3
    assert [one.market for one in live(spot)] == ["spot"] * 3


def test_other_pipelines_machines_are_not_seen(ctx: Ctx) -> None:
    machines.launch(ctx, V1, 1)
    assert live(replace(ctx, settings=settings(pipeline="other"))) == []
    assert live(replace(ctx, settings=settings(stack="other-dev"))) == []


def test_the_template_is_known_by_its_fingerprint(ctx: Ctx) -> None:
    assert machines.template(ctx) == V1
    assert machines.template(replace(ctx, settings=settings(launch_template="demo-dev-none"))) is None


def test_the_templates_default_version_counts(ctx: Ctx) -> None:
    name = ctx.settings.launch_template
    tags = [{"ResourceType": "instance", "Tags": [{"Key": "gpupipe:template", "Value": "t2"}]}]
    data = {"ImageId": "ami-12345678", "TagSpecifications": tags}
    ctx.client("ec2").create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=data)
    assert machines.template(ctx) == V1
    ctx.client("ec2").modify_launch_template(LaunchTemplateName=name, DefaultVersion="2")
    assert machines.template(ctx) == Template(version="2", fingerprint="t2")


def test_stopped_and_started_again(ctx: Ctx) -> None:
    (one,) = machines.launch(ctx, V1, 1).instances
    machines.stop(ctx, one.machine, terminate=False)
    (stopped,) = [known for known in machines.instances(ctx) if known.machine == one.machine]
    assert stopped.state == "stopped"
    assert stopped.stopped_at is not None
    assert "UserInitiatedShutdown" in stopped.reason
    assert machines.start(ctx, one.machine) is None
    assert [known.machine for known in live(ctx)] == [one.machine]


def test_stopping_what_is_gone_is_quiet(ctx: Ctx) -> None:
    machines.stop(ctx, "i-0123456789abcdef0", terminate=False)
    machines.stop(ctx, "i-0123456789abcdef0", terminate=True)
    assert machines.start(ctx, "i-0123456789abcdef0") is None


# --- what the emulator never refuses ---

SUBNETS = [
    {"SubnetId": "subnet-b", "AvailabilityZone": "us-east-1b"},
    {"SubnetId": "subnet-a", "AvailabilityZone": "us-east-1a"},
    {"SubnetId": "subnet-a2", "AvailabilityZone": "us-east-1a"},
]


@pytest.fixture
def stubbed(emulated: Callable[[str], Any]) -> Iterator[tuple[Ctx, Stubber]]:
    ec2 = emulated("ec2")
    with Stubber(ec2) as stubber:
        yield (
            context(settings(), Fakes({"ec2": ec2, "sqs": None}), emulated("dynamodb"), lambda: NOW),
            stubber,
        )


def test_every_type_is_tried_in_every_zone_once(stubbed: tuple[Ctx, Stubber]) -> None:
    ctx, stubber = stubbed
    by_default = [{"Name": "default-for-az", "Values": ["true"]}]
    stubber.add_response("describe_subnets", {"Subnets": SUBNETS}, {"Filters": by_default})
    pools = [
        {"InstanceType": name, "SubnetId": subnet, "Priority": priority}
        for name, priority in (("g4dn.xlarge", 0.0), ("g5.xlarge", 1.0))
        for subnet in ("subnet-a", "subnet-b")
    ]
    template = {"LaunchTemplateName": "demo-dev-segment-machine", "Version": "7"}
    expected = {
        "Type": "instant",
        "LaunchTemplateConfigs": [{"LaunchTemplateSpecification": template, "Overrides": pools}],
        "TargetCapacitySpecification": {"TotalTargetCapacity": 2, "DefaultTargetCapacityType": "on-demand"},
        "OnDemandOptions": {"AllocationStrategy": "prioritized"},
        "TagSpecifications": ANY,
    }
    stubber.add_response("create_fleet", {"Instances": [], "Errors": []}, expected)
    launched = machines.launch(ctx, Template(version="7", fingerprint="x"), 2)
    assert (launched.instances, launched.refusals) == ([], [])
    stubber.assert_no_pending_responses()


def test_configured_subnets_are_used_in_their_order(stubbed: tuple[Ctx, Stubber]) -> None:
    ctx, stubber = stubbed
    ctx = replace(ctx, settings=settings(subnet_ids=["subnet-b", "subnet-a2", "subnet-a"]))
    wanted = {"SubnetIds": ["subnet-b", "subnet-a2", "subnet-a"]}
    stubber.add_response("describe_subnets", {"Subnets": SUBNETS}, wanted)
    assert machines._subnets_by_zone(ctx) == {"us-east-1a": "subnet-a2", "us-east-1b": "subnet-b"}


def test_refusals_are_kept_with_type_and_zone(stubbed: tuple[Ctx, Stubber]) -> None:
    ctx, stubber = stubbed
    stubber.add_response("describe_subnets", {"Subnets": SUBNETS[:2]})
    pool = {"Overrides": {"InstanceType": "g5.xlarge", "SubnetId": "subnet-b"}}
    no_room = {"ErrorCode": "InsufficientInstanceCapacity", "ErrorMessage": "We currently do not have"}
    machine = {"InstanceIds": ["i-1"], "InstanceType": "g4dn.xlarge", "Lifecycle": "on-demand"}
    answer = {"Instances": [machine], "Errors": [{"LaunchTemplateAndOverrides": pool, **no_room}]}
    stubber.add_response("create_fleet", answer)
    launched = machines.launch(ctx, V1, 2)
    assert [one.machine for one in launched.instances] == ["i-1"]
    assert launched.refusals == [
        Refusal(
            instance_type="g5.xlarge",
            zone="us-east-1b",
            code="InsufficientInstanceCapacity",
            message="We currently do not have",
            at=NOW,
        )
    ]


def test_a_request_that_is_refused_whole_is_a_refusal(stubbed: tuple[Ctx, Stubber]) -> None:
    ctx, stubber = stubbed
    stubber.add_response("describe_subnets", {"Subnets": SUBNETS})
    stubber.add_client_error("create_fleet", "UnauthorizedOperation", "You are not authorized")
    (refusal,) = machines.launch(ctx, V1, 1).refusals
    assert (refusal.code, refusal.message) == ("UnauthorizedOperation", "You are not authorized")
    assert refusal.instance_type == "g4dn.xlarge, g5.xlarge"


def test_without_a_default_vpc_it_says_what_to_set(stubbed: tuple[Ctx, Stubber]) -> None:
    ctx, stubber = stubbed
    stubber.add_response("describe_subnets", {"Subnets": []})
    (refusal,) = machines.launch(ctx, V1, 1).refusals
    assert "network.vpc_id" in refusal.message


@pytest.mark.parametrize(
    ("code", "refused"),
    [("InsufficientInstanceCapacity", True), ("VcpuLimitExceeded", True), ("IncorrectInstanceState", False)],
)
def test_a_start_that_is_refused(stubbed: tuple[Ctx, Stubber], code: str, refused: bool) -> None:
    ctx, stubber = stubbed
    stubber.add_client_error("start_instances", code, "no")
    refusal = machines.start(ctx, "i-1")
    assert (refusal is not None) is refused
    assert refusal is None or refusal.code == code


def test_a_stop_that_is_denied_is_an_error(stubbed: tuple[Ctx, Stubber]) -> None:
    ctx, stubber = stubbed
    stubber.add_client_error("stop_instances", "UnauthorizedOperation", "no")
    with pytest.raises(Exception, match="UnauthorizedOperation"):
        machines.stop(ctx, "i-1", terminate=False)


def refused(code: str, instance_type: str = "g5.xlarge", zone: str = "us-east-1a", words: str = "words") -> Refusal:
    return Refusal(instance_type=instance_type, zone=zone, code=code, message=words, at=NOW)


NOT_OFFERED = refused("InvalidFleetConfiguration", words="not supported in your requested Availability Zone (x)")


@pytest.mark.parametrize(
    ("refusals", "market", "expected"),
    [
        ([], "on-demand", []),
        ([refused("VcpuLimitExceeded")], "on-demand", [("quota", "L-DB2E81BA")]),
        ([refused("MaxSpotInstanceCountExceeded")], "spot", [("quota", "L-3819A6DF")]),
        (
            [refused("InsufficientInstanceCapacity"), refused("UnfulfillableCapacity", "g4dn.xlarge", "us-east-1b")],
            "spot",
            [("capacity", "no g4dn.xlarge, g5.xlarge to give in us-east-1a, us-east-1b")],
        ),
        ([refused("InsufficientInstanceCapacity"), NOT_OFFERED], "spot", [("capacity", "g5.xlarge")]),
        ([NOT_OFFERED], "spot", [("error", "not supported")]),
        ([refused("UnauthorizedOperation")] * 3, "spot", [("error", "UnauthorizedOperation: words")]),
        (
            [refused("VcpuLimitExceeded"), refused("InsufficientInstanceCapacity")],
            "on-demand",
            [("quota", "Service Quotas"), ("capacity", "g5.xlarge")],
        ),
    ],
)
def test_why_no_machine_came(refusals: list[Refusal], market: str, expected: list[tuple[str, str]]) -> None:
    told = list(machines.waiting_for(refusals, market))
    assert [code for code, _ in told] == [code for code, _ in expected]
    assert all(words in message for (_, message), (_, words) in zip(told, expected, strict=True))
