"""An endpoint pipeline's resources, from its settings."""

from __future__ import annotations

import re
from graphlib import TopologicalSorter
from typing import Any

import pytest
from tests.kinds.settings import STACK, TWO, config, names, only, rooms, site_of, wanted

from gpupipe.aws import Aws
from gpupipe.config import Config
from gpupipe.desired import cost_notes, desired
from gpupipe.functions.settings import VARIABLE
from gpupipe.kinds.endpoint import KIND
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpupipe.names import Stack
from gpupipe.resources.bucket import Bucket
from gpupipe.resources.bucket_notification import BucketNotification
from gpupipe.resources.endpoint import Endpoint
from gpupipe.resources.endpoint_config import EndpointConfig
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.metric_alarm import MetricAlarm
from gpupipe.resources.model import Model
from gpupipe.resources.queue import Queue
from gpupipe.resources.role import Role
from gpupipe.resources.subscription import Subscription
from gpupipe.resources.topic import Topic
from gpuworker.contract import WorkerSettings

MODES = ("async", "realtime")
ANSWERS = ("requests/", "responses/", "errors/")


def told(function: Function) -> EndpointSettings:
    return EndpointSettings.from_json(function.environment[VARIABLE])


@pytest.mark.parametrize(("mode", "variants"), [("async", []), ("async", TWO[1:]), ("realtime", []), ("realtime", TWO)])
def test_the_resources_are_a_whole(mode: str, variants: list[dict[str, Any]]) -> None:
    """Each is its own, and whatever one requires is the very one that is wanted."""
    resources = rooms(mode=mode, variants=variants)
    by_id = {one.id: one for one in resources}

    assert len(by_id) == len({one.key for one in resources}) == len(resources)
    for one in resources:
        for need in one.requires():
            assert need == by_id[need.id]
    graph = {one.id: [need.id for need in one.requires()] for one in resources}
    assert len(list(TopologicalSorter(graph).static_order())) == len(resources)
    assert rooms(mode=mode, variants=variants) == resources


def test_both_kinds_share_a_stack_and_nothing_but_its_table_and_state() -> None:
    both = Config(
        stack={"name": "demo", "region": "eu-west-1"},  # type: ignore[arg-type]
        pipelines={"segment": {"kind": "queue", "task": "segment"}, "rooms": {"kind": "endpoint", "task": "segment"}},  # type: ignore[dict-item]
    )
    together = {one.id for one in desired(both, Aws(stack=STACK))}
    apart = [{one.id for one in wanted("segment")}, {one.id for one in rooms()}]

    assert together == apart[0] | apart[1]
    assert apart[0] & apart[1] == {f"table/{STACK.table}", f"state-bucket/{STACK.state_bucket}"}


LONG = Stack(name="n" * 20, environment="e" * 10, account="123456789012", region="ap-southeast-2")
LIMITS = {
    "alarm": 255,
    "bucket": 63,
    "endpoint": 63,
    "endpoint config": 63,
    "function": 64,
    "log group": 512,
    "metric alarm": 255,
    "model": 63,
    "queue": 80,
    "role": 64,
    "scaling policy": 256,
    "scheduled action": 256,
    "topic": 256,
}


@pytest.mark.parametrize("mode", MODES)
def test_the_longest_names_fit_into_aws(mode: str) -> None:
    variants = [{"name": "v" * 15 + end} for end in ("ab" if mode == "realtime" else "a")]
    warm = {"start": "0 8 ? * MON *", "end": "0 9 ? * MON *"} if mode == "realtime" else {}
    one = {"kind": "endpoint", "task": "segment", "mode": mode, "variants": variants, "keep_warm": warm}
    settings = Config(
        stack={"name": LONG.name, "environment": LONG.environment, "region": LONG.region},  # type: ignore[arg-type]
        pipelines={"p" * 16: one},  # type: ignore[dict-item]
    )
    resources = desired(settings, Aws(stack=LONG))

    for resource in resources:
        assert len(resource.aws_name) <= LIMITS.get(resource.kind, 256), resource.id
    sagemaker = [one for one in resources if isinstance(one, Endpoint | EndpointConfig | Model)]
    assert len({one.aws_name for one in sagemaker if isinstance(one, Model)}) == len(variants)
    for resource in sagemaker:
        assert re.fullmatch(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}", resource.aws_name)


# --- the endpoint -------------------------------------------------------------------------------------------


def test_an_async_endpoint_writes_into_the_pipelines_bucket_and_tells_its_topics() -> None:
    resources = rooms(compute={"max_concurrency": 7})
    found, bucket = only(resources, EndpointConfig).asynchronous, only(resources, Bucket, "data-123456789012-eu-west-1")

    assert found is not None
    assert found.output_path == f"s3://{bucket.name}/responses/"
    assert found.failure_path == f"s3://{bucket.name}/errors/"
    assert found.max_concurrency == 7
    assert (found.success_topic.name, found.error_topic.name) == ("demo-dev-rooms-success", "demo-dev-rooms-errors")


def test_a_realtime_endpoint_has_a_queue_and_no_topics() -> None:
    resources = rooms(mode="realtime", max_tries=3)
    work = only(resources, Queue, "-work")

    assert only(resources, EndpointConfig).asynchronous is None
    assert names(resources, Topic) == set()
    assert (work.max_receives, work.dead_letter and work.dead_letter.name) == (3, "demo-dev-rooms-dead")
    assert names(resources, Function) == {"dispatch", "guard", "forward"}


def test_an_async_pipeline_has_no_work_queue() -> None:
    resources = rooms()

    assert names(resources, Queue) == {"events", "undelivered"}
    assert names(resources, Function) == {"dispatch", "guard", "callback"}


def test_each_variant_has_its_model_and_knows_its_own_name() -> None:
    resources = rooms(
        mode="realtime", variants=TWO, compute={"instance_types": ["ml.m5.xlarge", "ml.m5.2xlarge"], "max_instances": 5}
    )
    old, new = only(resources, EndpointConfig).variants

    assert [(one.name, one.weight, one.model.image) for one in (old, new)] == [
        ("old", 9, "rooms:1"),
        ("new", 1, "rooms:2"),
    ]
    assert old.instance_types == ("ml.m5.xlarge", "ml.m5.2xlarge")
    for one in (old, new):
        assert WorkerSettings.from_environment(one.model.environment).variant == one.name


@pytest.mark.parametrize(("timeout_s", "item_s"), [(900, 300), (60, 30), (10, 5)])
def test_a_container_is_told_what_it_needs_in_pieces_that_sagemaker_takes(timeout_s: int, item_s: float) -> None:
    resources = rooms(invocation_timeout_s=timeout_s, max_tries=2, compute={"max_concurrency": 3})
    environment = only(resources, Model).environment
    settings = WorkerSettings.from_environment(environment)

    assert max(map(len, environment.values())) <= 1024
    assert (settings.variant, settings.max_concurrency, settings.max_receives) == ("main", 3, 2)
    assert (settings.invocation_timeout_s, settings.item_timeout_s) == (timeout_s, item_s)
    assert (settings.queue_url, settings.table) == ("", STACK.table)
    assert settings.item_limit_setting == ("item_timeout_s" if timeout_s == 900 else "invocation_timeout_s")
    assert settings.log_group == "/aws/sagemaker/Endpoints/demo-dev-rooms-endpoint"
    assert settings.bucket == STACK.data_bucket("rooms")


@pytest.mark.parametrize(
    ("item_s", "applied_s", "setting"),
    [(120, 120, "item_timeout_s"), (450, 450, "invocation_timeout_s"), (2000, 450, "invocation_timeout_s")],
)
def test_an_items_time_is_the_pipelines_within_the_invocations(item_s: float, applied_s: float, setting: str) -> None:
    resources = rooms(invocation_timeout_s=900, item_timeout_s=item_s)
    settings = WorkerSettings.from_environment(only(resources, Model).environment)
    assert (settings.item_timeout_s, settings.item_limit_setting) == (applied_s, setting)


def test_weights_are_no_new_configuration_and_images_are() -> None:
    def config_name(**settings: Any) -> str:
        return only(rooms(mode="realtime", **settings), EndpointConfig).aws_name

    heavier = [{**TWO[0], "weight": 1}, TWO[1]]
    other_image = [{**TWO[0], "image": "rooms:3"}, TWO[1]]

    assert config_name(variants=TWO) == config_name(variants=heavier)
    assert config_name(variants=TWO) != config_name(variants=other_image)
    assert config_name() != config_name(compute={"instance_types": ["ml.m5.2xlarge"]})
    assert config_name() == config_name(compute={"max_instances": 9})
    assert only(rooms(), Model).aws_name != only(rooms(image="rooms:2"), Model).aws_name


@pytest.mark.parametrize(("mode", "kept", "first"), [("async", 0, 1), ("async", 2, 2), ("realtime", 1, 1)])
def test_an_endpoint_is_born_with_an_instance(mode: str, kept: int, first: int) -> None:
    (variant,) = only(rooms(mode=mode, compute={"min_instances": kept}), EndpointConfig).variants

    assert variant.initial_instances == first


def test_a_deployment_that_fails_goes_back() -> None:
    resources = rooms(mode="realtime", rollback={"error_percent": 20, "minutes": 3}, variants=TWO)
    endpoint = only(resources, Endpoint)

    assert endpoint.bake_s == 180
    assert {alarm.name for alarm in endpoint.rollback_alarms} == {f"demo-dev-rooms-failing-{n}" for n in ("old", "new")}
    for alarm in endpoint.rollback_alarms:
        assert isinstance(alarm, MetricAlarm)
        assert (alarm.metric, alarm.statistic, alarm.threshold) == ("Invocation5XXErrors", "Average", 0.2)
        assert alarm.missing == "notBreaching"
    assert only(rooms(rollback={"error_percent": 0}), Endpoint).rollback_alarms == ()


# --- functions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_all_functions_are_told_alike(mode: str) -> None:
    resources = rooms(mode=mode, max_tries=3, variants=TWO[:1], budget={"monthly_usd": 20})
    functions = [one for one in resources if isinstance(one, Function)]
    (settings,) = {function.environment[VARIABLE]: told(function) for function in functions}.values()

    assert len(functions) == 3
    assert (settings.kind, settings.mode, settings.endpoint) == ("endpoint", mode, "demo-dev-rooms-endpoint")
    assert settings.variants == {"old": "ml.m5.xlarge"}
    assert (settings.max_receives, settings.max_instances, settings.max_concurrency) == (3, 2, 4)
    assert settings.monthly_usd == 20
    assert settings.invocation_timeout_s == (900 if mode == "async" else 60)
    assert settings.min_instances == (0 if mode == "async" else 1)


def test_every_type_that_may_run_has_its_price() -> None:
    resources = rooms(
        mode="realtime",
        compute={"instance_types": ["ml.m5.xlarge", "ml.g5.xlarge"]},
        variants=[{"name": "a"}, {"name": "b", "instance_types": ["ml.g6.xlarge"]}],
    )
    prices = told(only(resources, Function, "-guard")).prices_usd_per_hour

    assert prices.keys() == {"ml.m5.xlarge", "ml.g5.xlarge", "ml.g6.xlarge"}
    assert all(prices.values())


def test_shards_of_a_realtime_pipeline_wait_in_its_queue() -> None:
    resources = rooms(mode="realtime", endpoints={"sqs": "http://127.0.0.1:1"})
    settings = told(only(resources, Function, "-forward"))

    assert settings.work_queue_url == "http://127.0.0.1:1/123456789012/demo-dev-rooms-work"
    assert settings.shard_items == 1
    assert told(only(rooms(), Function, "-dispatch")).work_queue_url == ""


@pytest.mark.parametrize(("instances", "concurrency", "at_once"), [(1, 1, 2), (3, 5, 15), (100, 100, 1000)])
def test_forward_keeps_all_instances_busy(instances: int, concurrency: int, at_once: int) -> None:
    resources = rooms(mode="realtime", compute={"max_instances": instances, "max_concurrency": concurrency})
    source, forward = only(resources, EventSource, "-work"), only(resources, Function, "-forward")

    assert (source.batch_size, source.max_concurrency, source.function) == (1, at_once, forward)
    assert source.queue.visibility_timeout_s >= 6 * forward.timeout_s
    assert forward.timeout_s > 60  # SageMaker's limit of a request


def test_callback_is_told_of_failures_and_of_nothing_else() -> None:
    resources = rooms()
    (subscription,) = [one for one in resources if isinstance(one, Subscription)]

    assert subscription.topic.name == "demo-dev-rooms-errors"
    assert subscription.function.name == "demo-dev-rooms-callback"
    assert subscription.function.async_retries == 2


# --- the bucket and the logs --------------------------------------------------------------------------------


def expiring(**settings: Any) -> dict[str, int]:
    bucket = only(rooms(**settings), Bucket, "data-123456789012-eu-west-1")
    return {rule.prefix: rule.expire_days for rule in bucket.lifecycle if rule.expire_days}


@pytest.mark.parametrize("mode", MODES)
def test_what_sagemaker_writes_of_each_request_goes_after_a_month(mode: str) -> None:
    """In real time too: an endpoint that was asynchronous before has left some."""
    assert expiring(mode=mode) == {"requests/": 30, "responses/": 30, "errors/": 30, "logs/": 30}


def test_images_and_results_of_requests_go_no_later_than_those_of_jobs() -> None:
    sooner = expiring(retention={"inputs_days": 3, "processed_days": 7})
    later = expiring(retention={"inputs_days": 90, "processed_days": 90})

    assert {prefix: sooner[prefix] for prefix in ANSWERS} == {"requests/": 3, "responses/": 7, "errors/": 7}
    assert {later[prefix] for prefix in ANSWERS} == {30}


def test_answers_do_not_start_anything() -> None:
    rules = only(rooms(), BucketNotification).rules

    assert {rule.prefix for rule in rules} == {"incoming/", "jobs/"}


@pytest.mark.parametrize("mode", MODES)
def test_every_log_group_is_made_and_kept_as_long_as_asked(mode: str) -> None:
    groups = {one.name: one for one in rooms(mode=mode, retention={"logs_days": 5}) if isinstance(one, LogGroup)}
    site = site_of("rooms", kind="endpoint", mode=mode)
    sources = KIND.log_sources(site)

    assert {source.group for source in sources.values()} == set(groups)
    assert {group.retention_days for group in groups.values()} == {5}
    assert next(iter(sources)) == "endpoint"
    assert sources["endpoint"].group == "/aws/sagemaker/Endpoints/demo-dev-rooms-endpoint"


# --- cost ---------------------------------------------------------------------------------------------------


def note(**settings: Any) -> str:
    (text,) = cost_notes(config("rooms", kind="endpoint", **settings), Aws(stack=STACK))
    return text


def test_nothing_is_paid_at_rest_and_that_is_said() -> None:
    assert "$0 at rest" in note()
    assert "SageMaker starts an instance of each variant when the endpoint is made" in note()
    assert "One ml.m5.xlarge (eu-west-1) costs $0.258 an hour while it runs" in note()


def test_what_always_runs_is_paid_by_the_month() -> None:
    assert "1 instance always runs: $188 a month, used or not." in note(mode="realtime")
    assert "2 instances always run: $376 a month, used or not." in note(mode="realtime", variants=TWO)
    assert "At most 4 at once." in note(mode="realtime", variants=TWO)


def test_what_is_kept_warm_is_paid_by_the_hour() -> None:
    warm = {"start": "0 8 ? * MON-FRI *", "end": "0 18 ? * MON-FRI *", "min_instances": 3}
    text = note(mode="realtime", variants=TWO, compute={"max_instances": 3}, keep_warm=warm)

    assert "From cron(0 8 ? * MON-FRI *) to cron(0 18 ? * MON-FRI *) 4 more run: $1.03 an hour." in text
    assert "cron" not in note(mode="realtime")


def test_an_unknown_price_is_said_to_be_unknown() -> None:
    assert "ml.p9.huge is not in the table" in note(compute={"instance_types": ["ml.p9.huge"]})


def test_roles_are_as_many_as_there_are_parts() -> None:
    assert names(rooms(), Role) == {"endpoint", "dispatch", "guard", "callback", "schedule"}
    assert names(rooms(mode="realtime"), Role) == {"endpoint", "dispatch", "guard", "forward", "schedule"}
