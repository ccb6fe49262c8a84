"""A queue pipeline's resources, from its settings."""

from __future__ import annotations

import json
from graphlib import TopologicalSorter

import pytest
from tests.kinds.settings import STACK, config, only, site_of, wanted

from gpupipe.aws import Aws
from gpupipe.desired import cost_notes
from gpupipe.functions.settings import VARIABLE
from gpupipe.kinds.queue import KIND
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpupipe.kinds.queue.machines import WORKER_SETTINGS_FILE
from gpupipe.kinds.shared.intake.parts import DISPATCH_TIMEOUT_S
from gpupipe.resources.bucket import Bucket
from gpupipe.resources.bucket_notification import BucketNotification
from gpupipe.resources.event_source import EventSource
from gpupipe.resources.function import Function
from gpupipe.resources.launch_template import LaunchTemplate
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.queue import Queue
from gpupipe.resources.schedule import Schedule
from gpupipe.resources.security_group import SecurityGroup
from gpupipe.resources.state_bucket import StateBucket
from gpupipe.resources.table import Table
from gpuworker.contract import WorkerSettings


def test_every_id_and_key_is_its_own() -> None:
    resources = wanted("one", "two")

    assert len({one.id for one in resources}) == len(resources)
    assert len({one.key for one in resources}) == len(resources)


def test_whatever_is_required_is_wanted_too_and_nothing_requires_itself() -> None:
    resources = wanted("one", "two")
    graph = {one.id: [need.id for need in one.requires()] for one in resources}

    assert {need for needs in graph.values() for need in needs} <= set(graph)
    assert len(list(TopologicalSorter(graph).static_order())) == len(resources)


def test_required_resources_are_the_very_ones_that_are_wanted() -> None:
    """Two versions of one thing would be applied in turn, for ever."""
    resources = wanted()
    by_id = {one.id: one for one in resources}

    for one in resources:
        for need in one.requires():
            assert need == by_id[need.id]


def test_equal_settings_are_equal_resources() -> None:
    assert wanted() == wanted()


def test_pipelines_share_the_table_and_the_state_and_nothing_else() -> None:
    one, both = {r.id for r in wanted("one")}, {r.id for r in wanted("one", "two")}
    shared = {r.id for r in wanted("two")} & one

    assert shared == {f"table/{STACK.table}", f"state-bucket/{STACK.state_bucket}"}
    assert one < both


def test_the_ledger_has_the_keys_that_the_ledger_module_uses() -> None:
    table = only(wanted(), Table)

    assert (table.name, table.hash_key, table.range_key, table.ttl_attribute) == (
        "demo-dev-ledger",
        "pk",
        "sk",
        "expires_at",
    )


def test_the_persons_tags_are_on_everything() -> None:
    assert all(one.tags["team"] == "fields" for one in wanted(tags={"team": "fields"}))


# --- what waits ---------------------------------------------------------------------------------------------


def test_retention_becomes_lifecycle_rules() -> None:
    retention = {"inputs_days": 7, "processed_days": 90, "logs_days": 14, "old_versions_days": 3}
    bucket = only(wanted(retention=retention), Bucket, "data-123456789012-eu-west-1")

    expiring = {rule.prefix: rule.expire_days for rule in bucket.lifecycle if rule.expire_days}
    assert expiring == {"incoming/": 7, "inputs/": 7, "processed/": 90, "jobs/": 90, "logs/": 14}
    assert [(rule.old_versions_days, rule.abort_uploads_days) for rule in bucket.lifecycle if not rule.prefix] == [
        (3, 7)
    ]


def test_results_are_kept_for_ever_unless_asked_otherwise() -> None:
    bucket = only(wanted(), Bucket, "data-123456789012-eu-west-1")

    assert "processed/" not in {rule.prefix for rule in bucket.lifecycle}


def test_shards_that_fail_too_often_go_to_the_dead_letter_queue() -> None:
    work = only(wanted(visibility_timeout_s=900, max_receives=3), Queue, "-work")

    assert (work.visibility_timeout_s, work.max_receives) == (900, 3)
    assert work.dead_letter is not None
    assert work.dead_letter.name == "demo-dev-segment-dead"


def test_events_are_not_handed_out_again_while_dispatch_is_at_them() -> None:
    resources = wanted()
    events, dispatch = only(resources, Queue, "-events"), only(resources, Function, "-dispatch")

    assert events.visibility_timeout_s > dispatch.timeout_s == DISPATCH_TIMEOUT_S
    assert events.dead_letter is not None


def test_drop_ins_and_manifests_are_told_and_nothing_else() -> None:
    notification = only(wanted(), BucketNotification)

    assert {(rule.prefix, rule.suffix) for rule in notification.rules} == {
        ("incoming/", ""),
        ("jobs/", "manifest.json"),
    }
    assert len({rule.id for rule in notification.rules}) == 2


def test_logs_are_kept_as_long_as_asked_for() -> None:
    groups = [one for one in wanted(retention={"logs_days": 5}) if isinstance(one, LogGroup)]

    assert {(group.name, group.retention_days) for group in groups} == {
        ("/aws/lambda/demo-dev-segment-dispatch", 5),
        ("/aws/lambda/demo-dev-segment-guard", 5),
        ("/gpupipe/demo-dev/segment/worker", 5),
    }


# --- functions ----------------------------------------------------------------------------------------------


def told(function: Function) -> QueueSettings:
    return QueueSettings.from_json(function.environment[VARIABLE])


def test_functions_are_told_what_the_settings_say() -> None:
    resources = wanted(
        compute={"instance_types": ["g5.xlarge"], "max_instances": 3, "on_idle": "terminate", "market": "spot"},
        budget={"monthly_usd": 20},
        min_images_to_start=4,
        network={"vpc_id": "vpc-1", "subnet_ids": ["subnet-1"]},
    )
    guard, template = only(resources, Function, "-guard"), only(resources, LaunchTemplate)
    settings = told(guard)

    assert settings == told(only(resources, Function, "-dispatch"))
    assert settings.stack == "demo-dev"
    assert settings.bucket == only(resources, Bucket, "data-123456789012-eu-west-1").name
    assert settings.work_queue_url == "https://sqs.eu-west-1.amazonaws.com/123456789012/demo-dev-segment-work"
    assert settings.guard_function == guard.name
    assert settings.launch_template == template.name
    assert (settings.market, settings.max_instances, settings.on_idle) == ("spot", 3, "terminate")
    assert (settings.monthly_usd, settings.min_images_to_start) == (20, 4)
    assert list(settings.subnet_ids) == ["subnet-1"]
    assert 0 < settings.prices_usd_per_hour["g5.xlarge"] < 1
    assert settings.tags["gpupipe:key"] == "machine/segment"
    assert settings.tags["Name"] == "demo-dev-segment"
    assert ".jpg" in settings.input_suffixes
    assert 1 <= settings.shard_items <= 256


@pytest.mark.parametrize("endpoints", [{}, {"default": "http://127.0.0.1:1", "ec2": "http://127.0.0.1:2"}])
def test_a_function_is_given_no_reserved_variable(endpoints: dict[str, str]) -> None:
    guard = only(wanted(endpoints=endpoints), Function, "-guard")
    assert not [name for name in guard.environment if name.startswith("AWS_")]


def test_a_function_in_the_emulator_is_told_where_its_queue_is() -> None:
    guard = only(wanted(endpoints={"default": "http://127.0.0.1:1"}), Function, "-guard")
    assert told(guard).work_queue_url == "http://127.0.0.1:1/123456789012/demo-dev-segment-work"


def test_the_environment_of_a_function_fits_lambdas_4_kb() -> None:
    resources = wanted(network={"vpc_id": "vpc-1", "subnet_ids": [f"subnet-{n:017d}" for n in range(6)]})
    environment = only(resources, Function, "-guard").environment

    assert sum(len(name) + len(value) for name, value in environment.items()) < 4096


def test_dispatch_takes_events_in_bursts_and_the_guard_looks_each_minute() -> None:
    resources = wanted()
    source, schedule = only(resources, EventSource), only(resources, Schedule)

    assert source.batch_window_s >= 1
    assert source.queue.name == "demo-dev-segment-events"
    assert (schedule.every_minutes, schedule.function.name) == (1, "demo-dev-segment-guard")


# --- machines -----------------------------------------------------------------------------------------------


def test_there_is_no_way_in_unless_ssh_is_asked_for() -> None:
    closed = only(wanted(), SecurityGroup)
    opened = only(wanted(ssh={"key_name": "mine", "allowed_cidrs": ["203.0.113.7/32"]}), SecurityGroup)

    assert closed.ingress == ()
    assert [(rule.port, rule.cidr) for rule in opened.ingress] == [(22, "203.0.113.7/32")]


def test_another_network_is_another_group() -> None:
    """EC2 cannot move a group: the new one is made before the old one goes."""
    here = only(wanted(), SecurityGroup)
    there = only(wanted(network={"vpc_id": "vpc-1", "subnet_ids": ["subnet-1"]}), SecurityGroup)

    assert here.id != there.id


@pytest.mark.parametrize("on_idle", ["stop", "terminate"])
def test_powering_off_does_what_idleness_should(on_idle: str) -> None:
    template = only(wanted(compute={"on_idle": on_idle}), LaunchTemplate)

    assert template.on_shutdown == on_idle


def test_a_machine_is_told_its_work_and_no_secret() -> None:
    resources = wanted(compute={"idle_minutes": 5}, item_timeout_s=900, task_options={"prompts": ["cat"]})
    template = only(resources, LaunchTemplate)
    first, _, rest = template.user_data.partition("\n")
    (file,) = json.loads(rest)["write_files"]
    settings = WorkerSettings.from_json(file["content"])

    assert first == "#cloud-config"
    assert (file["path"], file["permissions"]) == (WORKER_SETTINGS_FILE, "0644")
    assert settings.queue_url.endswith("/demo-dev-segment-work")
    assert settings.log_group == "/gpupipe/demo-dev/segment/worker"
    assert settings.task_options["prompts"] == ["cat"]
    assert settings.idle_minutes == 5
    assert (settings.item_timeout_s, settings.item_limit_setting) == (900, "item_timeout_s")
    assert len(template.user_data) < 16_384  # EC2's limit


def test_machines_carry_the_tags_they_are_found_by() -> None:
    template = only(wanted(tags={"team": "fields"}), LaunchTemplate)

    assert template.machine_tags["gpupipe:stack"] == "demo-dev"
    assert template.machine_tags["gpupipe:pipeline"] == "segment"
    assert template.machine_tags["team"] == "fields"


# --- what others ask --------------------------------------------------------------------------------------------


def test_every_log_group_is_one_that_is_made() -> None:
    made = {one.name for one in wanted() if isinstance(one, LogGroup)}

    assert {source.group for source in KIND.log_sources(site_of("segment")).values()} == made


@pytest.mark.parametrize(("items", "machines", "shard"), [(1000, 1, 225), (100, 5, 5), (2, 5, 1)])
def test_a_small_job_is_shared_among_the_machines(items: int, machines: int, shard: int) -> None:
    settings = site_of("segment", compute={"max_instances": machines, "on_idle": "terminate"}).settings

    assert KIND.shard_items(settings, items, seconds_per_item=0.4) == shard


# --- cost ---------------------------------------------------------------------------------------------------


def test_what_work_costs_is_said_with_its_date() -> None:
    (note,) = cost_notes(config(compute={"instance_types": ["g4dn.xlarge"]}), Aws(stack=STACK))

    assert "$0.589 an hour" in note  # eu-west-1
    assert "per 1,000 images" in note
    assert "stopped, its disk costs $8.96 a month" in note
    assert "Prices of 2026-11" in note


def test_an_unknown_price_is_said_to_be_unknown() -> None:
    (note,) = cost_notes(config(compute={"instance_types": ["p9.huge"]}), Aws(stack=STACK))

    assert "p9.huge is not in the table" in note


def test_the_state_bucket_is_always_wanted() -> None:
    assert only(wanted(), StateBucket).name == STACK.state_bucket
