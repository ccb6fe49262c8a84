"""Scheduled action: when, in whose time, and to which bounds."""

from __future__ import annotations

from tests.resources.contract import Stacks, made
from tests.resources.samples import Samples

from gpupipe.aws import Aws


def test_what_is_put(aws: Aws, stacks: Stacks) -> None:
    action = Samples(stacks.mine).scheduled_action()

    made(aws, action)

    (found,) = aws.client("application-autoscaling").describe_scheduled_actions(ServiceNamespace="sagemaker")[
        "ScheduledActions"
    ]
    assert (found["Schedule"], found["Timezone"]) == ("cron(0 8 ? * MON-FRI *)", "Europe/Berlin")
    assert found["ScalableTargetAction"] == {"MinCapacity": 1, "MaxCapacity": 2}
    assert found["ResourceId"] == action.target.resource_id
