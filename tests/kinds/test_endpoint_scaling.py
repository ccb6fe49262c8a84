"""How an endpoint pipeline's instances come and go."""

from __future__ import annotations

from tests.kinds.settings import TWO, names, only, rooms

from gpupipe.resources import Resource
from gpupipe.resources.metric_alarm import MetricAlarm
from gpupipe.resources.scalable_target import ScalableTarget
from gpupipe.resources.scaling_policy import ScalingPolicy, Steps, Tracking


def tracking(resources: tuple[Resource, ...]) -> Tracking:
    how = only(resources, ScalingPolicy, "-track-main").how
    assert isinstance(how, Tracking)
    return how


def steps(policy: ScalingPolicy | None) -> Steps:
    assert policy is not None
    assert isinstance(policy.how, Steps)
    return policy.how


def test_an_async_endpoint_follows_its_backlog_wakes_and_goes_to_rest() -> None:
    resources = rooms(compute={"max_instances": 6, "idle_minutes": 7, "backlog_per_instance": 3})
    target, track = only(resources, ScalableTarget), tracking(resources)
    waiting, idle = only(resources, MetricAlarm, "-waiting-main"), only(resources, MetricAlarm, "-idle-main")
    of_endpoint = {"EndpointName": "demo-dev-rooms-endpoint"}

    assert (target.min_instances, target.max_instances) == (0, 6)
    assert (track.metric, track.value, track.dimensions) == ("ApproximateBacklogSizePerInstance", 3, of_endpoint)
    assert track.scale_in_cooldown_s == 7 * 60
    assert (waiting.metric, waiting.threshold, waiting.periods) == ("HasBacklogWithoutCapacity", 1, 1)
    assert (steps(waiting.policy).adjustment, steps(waiting.policy).exact, steps(waiting.policy).below) == (
        1,
        False,
        False,
    )
    assert (idle.metric, idle.periods, idle.threshold, idle.dimensions) == ("ApproximateBacklogSize", 7, 0, of_endpoint)
    assert (steps(idle.policy).adjustment, steps(idle.policy).exact, steps(idle.policy).below) == (0, True, True)


def test_an_async_endpoint_that_never_rests_is_not_woken() -> None:
    resources = rooms(compute={"min_instances": 1})

    assert names(resources, ScalingPolicy) == {"track-main", "rest-main"}
    assert steps(only(resources, ScalingPolicy, "-rest-main")).adjustment == 1


def test_each_variant_scales() -> None:
    targets = [one for one in rooms(variants=TWO, mode="realtime") if isinstance(one, ScalableTarget)]

    assert {one.variant for one in targets} == {"old", "new"}


def test_a_realtime_endpoint_follows_its_requests_and_the_clock() -> None:
    warm = {"start": "0 8 ? * MON-FRI *", "end": "0 18 ? * MON-FRI *", "min_instances": 3, "timezone": "Europe/Berlin"}
    resources = rooms(mode="realtime", compute={"max_instances": 4, "requests_per_instance": 2}, keep_warm=warm)
    how = tracking(resources)
    actions = [one for one in resources if one.kind == "scheduled action"]

    assert (how.predefined, how.value) == ("SageMakerVariantConcurrentRequestsPerModelHighResolution", 2)
    assert [one.desired()["min_instances"] for one in actions] == [3, 1]
    assert [one.desired()["schedule"] for one in actions] == ["cron(0 8 ? * MON-FRI *)", "cron(0 18 ? * MON-FRI *)"]
    assert {one.desired()["timezone"] for one in actions} == {"Europe/Berlin"}
