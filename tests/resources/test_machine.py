"""Machine and alarm: nothing wants them here; all of the stack's are found and go."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.resources.contract import Stacks
from tests.resources.samples import IMAGE

from gpupipe.aws import Aws
from gpupipe.errors import GpupipeError, NotOursError
from gpupipe.names import Stack
from gpupipe.resources.alarm import Alarm
from gpupipe.resources.machine import Machine
from gpupipe.resources.ownership import tag_list


def started(aws: Aws, stack: Stack) -> str:
    image = aws.client("ssm").get_parameter(Name=IMAGE)["Parameter"]["Value"]
    tags = tag_list(stack.tags("machine/segment", pipeline="segment"))
    answer = aws.client("ec2").run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        InstanceType="g4dn.xlarge",
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )
    return str(answer["Instances"][0]["InstanceId"])


def alarm_on(aws: Aws, name: str, stack: Stack) -> Alarm:
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Statistic="Average",
        Period=300,
        EvaluationPeriods=3,
        Threshold=1.0,
        ComparisonOperator="LessThanThreshold",
        Tags=tag_list(stack.tags("machine/segment", pipeline="segment")),
    )
    return Alarm(stack=stack, name=name)


def test_running_and_stopped_machines_are_found_and_terminated(aws: Aws, stacks: Stacks) -> None:
    running, stopped = started(aws, stacks.mine), started(aws, stacks.mine)
    others = started(aws, stacks.other)
    aws.client("ec2").stop_instances(InstanceIds=[stopped])

    found = list(Machine.find(aws))
    assert {one.name for one in found} == {running, stopped}
    assert {one.key for one in found} == {f"machine/{running}", f"machine/{stopped}"}
    assert {one.resource.pipeline for one in found} == {"segment"}
    for one in found:
        one.resource.delete(aws)
        one.resource.delete(aws)

    assert list(Machine.find(aws)) == []
    theirs = Machine(stack=stacks.other, name=others).observe(aws)
    assert theirs is not None
    assert theirs.note == "running"


def test_a_machine_of_another_stack_is_never_terminated(aws: Aws, stacks: Stacks) -> None:
    theirs = started(aws, stacks.other)

    with pytest.raises(NotOursError, match=f"machine {theirs} exists and belongs to demo-dev-x"):
        Machine(stack=stacks.mine, name=theirs).delete(aws)


def test_a_machine_that_never_was_is_gone(aws: Aws, stacks: Stacks) -> None:
    machine = Machine(stack=stacks.mine, name="i-0123456789abcdef0")

    machine.delete(aws)

    assert machine.observe(aws) is None


def test_alarms_are_found_by_their_tag_and_deleted(aws: Aws, stacks: Stacks) -> None:
    mine = alarm_on(aws, "demo-dev-segment-machine-i-1", stacks.mine)
    theirs = alarm_on(aws, "demo-dev-x-segment-machine-i-2", stacks.other)

    (found,) = Alarm.find(aws)
    assert (found.id, found.resource.pipeline) == (mine.id, "segment")
    found.resource.delete(aws)
    found.resource.delete(aws)

    assert mine.observe(aws) is None
    assert theirs.observe(aws) is not None
    with pytest.raises(NotOursError):
        replace(theirs, stack=stacks.mine).delete(aws)


def test_neither_is_made_by_up(aws: Aws, stacks: Stacks) -> None:
    for made_by_guard in (Machine(stack=stacks.mine, name="i-1"), Alarm(stack=stacks.mine, name="a")):
        assert made_by_guard.dynamic
        with pytest.raises(GpupipeError, match="guard"):
            made_by_guard.create(aws)
        with pytest.raises(GpupipeError, match="guard"):
            made_by_guard.update(aws, frozenset())
