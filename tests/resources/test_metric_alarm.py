"""Metric alarm: what it triggers, and that it and the guard's alarms on machines never take each other's."""

from __future__ import annotations

import pytest
from tests.resources.contract import Stacks, assert_as_wanted, converge, made
from tests.resources.samples import Samples

from gpupipe.aws import Aws
from gpupipe.resources.alarm import Alarm
from gpupipe.resources.metric_alarm import MetricAlarm


@pytest.fixture
def alarm(stacks: Stacks) -> MetricAlarm:
    return Samples(stacks.mine).metric_alarm()


def test_it_triggers_its_policy(aws: Aws, alarm: MetricAlarm) -> None:
    made(aws, alarm)

    (found,) = aws.client("cloudwatch").describe_alarms(AlarmNames=[alarm.name])["MetricAlarms"]
    assert alarm.policy is not None
    assert found["AlarmActions"] == [alarm.policy.arn(aws)]
    assert (found["TreatMissingData"], found["DatapointsToAlarm"]) == ("notBreaching", 1)


def test_a_policy_that_was_made_again_is_triggered_again(aws: Aws, alarm: MetricAlarm) -> None:
    made(aws, alarm)
    assert alarm.policy is not None
    alarm.policy.delete(aws)
    alarm.policy.create(aws)

    observed = alarm.observe(aws)
    assert observed is not None
    assert observed.fields["triggers"] == "another"
    converge(aws, alarm)

    assert_as_wanted(aws, alarm)


def test_alarms_on_machines_are_another_kind(aws: Aws, alarm: MetricAlarm) -> None:
    made(aws, alarm)
    tags = [{"Key": "gpupipe:stack", "Value": "demo-dev"}, {"Key": "gpupipe:pipeline", "Value": "segment"}]
    aws.client("cloudwatch").put_metric_alarm(
        AlarmName="demo-dev-segment-idle-i-1",
        Namespace="AWS/EC2",
        MetricName="CPUUtilization",
        Statistic="Average",
        Period=300,
        EvaluationPeriods=3,
        Threshold=2.0,
        ComparisonOperator="LessThanThreshold",
        Tags=tags,
    )

    assert [one.name for one in MetricAlarm.find(aws)] == [alarm.name]
    assert [one.name for one in Alarm.find(aws)] == ["demo-dev-segment-idle-i-1"]
