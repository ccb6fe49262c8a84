"""What `[pipelines.<name>]` with kind = "endpoint" accepts, refuses, and makes of what is left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.kinds.settings import config

from gpupipe.config import Config, load
from gpupipe.errors import ConfigError
from gpupipe.kinds.endpoint.settings import EndpointPipeline
from gpupipe.kinds.endpoint.sharding import drop_in_shard_items, shard_items

IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/rooms:1"
TWO = 'mode = "realtime"\nvariants = [{ name = "old", weight = 9 }, { name = "new" }]'


def read(folder: Path, text: str = "", *, stack: str = "", task: str = "segment") -> Config:
    path = folder / "gpupipe.toml"
    head = f'[stack]\nname = "demo"\nregion = "eu-west-1"\n{stack}\n[pipelines.rooms]\nkind = "endpoint"\n'
    path.write_text(f'{head}task = "{task}"\n{text}', encoding="utf-8")
    return load(path)


def refused(folder: Path, text: str, **more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **more)
    return caught.value.message


def rooms(**settings: Any) -> EndpointPipeline:
    made = config("rooms", **{"kind": "endpoint", **settings}).pipelines["rooms"]
    assert isinstance(made, EndpointPipeline)
    return made


def test_the_default_is_asynchronous_and_rests_at_zero() -> None:
    settings = rooms()

    assert (settings.mode, settings.invocation_timeout_s, settings.max_tries) == ("async", 900, 4)
    assert (settings.compute.min_instances, settings.compute.max_instances) == (0, 2)
    assert settings.compute.instance_types == ("ml.m5.xlarge",)


def test_real_time_has_defaults_that_it_can_keep() -> None:
    settings = rooms(mode="realtime", compute={"max_instances": 3})

    assert (settings.compute.min_instances, settings.compute.max_instances) == (1, 3)
    assert settings.invocation_timeout_s == 60


def test_the_environment_makes_a_realtime_endpoint_of_it_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUPIPE_PIPELINES__ROOMS__MODE", "realtime")

    settings = read(tmp_path).pipelines["rooms"].model_dump(serialize_as_any=True)

    assert (settings["mode"], settings["compute"]["min_instances"], settings["invocation_timeout_s"]) == (
        "realtime",
        1,
        60,
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('mode = "realtime"\ncompute = { min_instances = 0 }', "rooms.compute: a realtime endpoint cannot go to zero"),
        ('mode = "realtime"\ninvocation_timeout_s = 900', "rooms.invocation_timeout_s: SageMaker ends a realtime"),
        ('mode = "realtime"\ncompute = { idle_minutes = 5 }', 'rooms.compute: idle_minutes is for mode = "async"'),
        ('mode = "realtime"\ncompute = { backlog_per_instance = 2 }', "backlog_per_instance is for"),
        ("compute = { requests_per_instance = 2 }", 'requests_per_instance is for mode = "realtime"'),
        ("compute = { min_instances = 3 }", "min_instances is above max_instances"),
        ('compute = { instance_types = ["m5.xlarge"] }', "rooms.compute.instance_types.0"),
        ("compute = { idle_minutes = 30 }", "rooms.compute.idle_minutes: "),
        ("invocation_timeout_s = 7200", "rooms.invocation_timeout_s: "),
        ("invocation_timeout_s = 5", "rooms.invocation_timeout_s: "),
        ('keep_warm = { start = "0 8 ? * MON *", end = "0 9 ? * MON *" }', 'keep_warm: is for mode = "realtime"'),
        ('mode = "realtime"\nkeep_warm = { start = "0 8 ? * MON *" }', "start and end go together"),
        (
            'mode = "realtime"\nkeep_warm = { start = "0 8 * * *", end = "0 9 ? * MON *" }',
            "keep_warm: start is not a cron of AWS",
        ),
        (
            'mode = "realtime"\nkeep_warm = { start = "0 8 ? * MON *", end = "0 nine ? * MON *" }',
            "keep_warm: end is not a cron of AWS",
        ),
        (
            'mode = "realtime"\nkeep_warm = { start = "0 8 ? * * *", end = "0 9 ? * * *", timezone = "Berlin" }',
            "keep_warm: timezone 'Berlin' is unknown",
        ),
        (
            'mode = "realtime"\nkeep_warm = { start = "0 8 ? * MON *", end = "0 9 ? * MON *", min_instances = 1 }',
            "keep_warm: min_instances must be above",
        ),
        (
            'mode = "realtime"\nkeep_warm = { start = "0 8 ? * MON *", end = "0 9 ? * MON *", min_instances = 3 }',
            "keep_warm: min_instances must be above",
        ),
        ('network = { vpc_id = "vpc-1" }', "rooms.network: unknown key; 'network' is for other kinds of pipelines"),
        (
            'variants = [{ name = "a" }, { name = "b" }]',
            'variants: an asynchronous endpoint takes one; mode = "realtime"',
        ),
        ('variants = [{ name = "a" }, { name = "a" }]', "variants: both are called 'a'"),
        ('variants = [{ name = "a", weight = 0 }]', "variants: one needs a weight above 0"),
        ('variants = [{ name = "a" }, { name = "b" }, { name = "c" }]', "rooms.variants: "),
        ('variants = [{ name = "A b" }]', "variants.0.name: a variant's name is"),
        ('variants = [{ name = "a", wieght = 2 }]', "variants.0.wieght: unknown key; did you mean 'weight'?"),
        (
            'variants = [{ name = "a", task_options = { prompts = ["unicorn"] } }]',
            "variants.a.task_options.prompts: engine nanodet does not know 'unicorn'",
        ),
    ],
)
def test_settings_that_cannot_work_together_are_refused_with_their_key(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text)


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    told = refused(tmp_path, 'mode = "realtime"\ncompute = { min_instances = 0, idle_minutes = 5 }')

    assert len(told.splitlines()) == 1 + 2


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "pipelines.rooms.image: is missing"),
        ('image = "rooms:1"', "pipelines.rooms.image: SageMaker takes images of ECR only"),
        (f'image = "{IMAGE.replace("eu-west-1", "us-east-1")}"', "SageMaker wants it in the stack's region, eu-west-1"),
        (TWO, "pipelines.rooms.variants.old.image: is missing"),
    ],
)
def test_what_aws_would_refuse_is_refused_for_aws_and_not_for_a_rehearsal(tmp_path: Path, text: str, told: str) -> None:
    assert told in refused(tmp_path, text, stack='target = "aws"')
    assert read(tmp_path, text, stack='target = "local"')


@pytest.mark.parametrize(
    "image", [IMAGE, IMAGE.replace(":1", "@sha256:" + "0" * 64), IMAGE.replace("/rooms", "/a/b-c")]
)
def test_an_image_of_ecr_is_taken(tmp_path: Path, image: str) -> None:
    assert read(tmp_path, f'image = "{image}"', stack='target = "aws"')


def test_variants_have_what_the_pipeline_says_where_they_say_nothing() -> None:
    settings = rooms(
        mode="realtime",
        image="one",
        task_options={"score_threshold": 0.3},
        variants=[{"name": "old"}, {"name": "new", "image": "two", "task_options": {"nms_iou": 0.7}}],
    )
    old, new = settings.deployed

    assert (old.image, new.image) == ("one", "two")
    assert old.instance_types == new.instance_types == ("ml.m5.xlarge",)
    assert (old.task_options["score_threshold"], new.task_options["score_threshold"]) == (0.3, 0.3)
    assert (old.task_options["nms_iou"], new.task_options["nms_iou"]) == (0.5, 0.7)


def test_without_variants_there_is_one() -> None:
    (only,) = rooms().deployed

    assert (only.name, only.weight) == ("main", 1.0)


# --- shards -------------------------------------------------------------------------------------------------


def test_a_realtime_shard_is_one_item() -> None:
    settings = rooms(mode="realtime")

    assert shard_items(settings, 10_000, 0.01) == drop_in_shard_items(settings) == 1


@pytest.mark.parametrize(
    ("items", "seconds", "most"),
    [
        (100_000, 0.4, 225),  # 90 s of work
        (100, 0.4, 4),  # four shards for each of the 2 × 4 requests that run at once
        (100_000, 0.01, 256),
        (3, 60.0, 1),
    ],
)
def test_a_small_job_is_shared_among_all_that_can_work_at_once(items: int, seconds: float, most: int) -> None:
    assert shard_items(rooms(), items, seconds) == most


@pytest.mark.parametrize("concurrency", [1, 4, 16])
def test_a_shard_is_done_well_before_its_invocation_ends(concurrency: int) -> None:
    """Even where the instance works on as many as it may, each as much slower."""
    settings = rooms(invocation_timeout_s=120, compute={"max_concurrency": concurrency})

    assert shard_items(settings, 1_000_000, 0.4) * 0.4 * concurrency <= 0.5 * 120
    assert drop_in_shard_items(settings) * 0.4 * concurrency <= 0.5 * 120


@pytest.mark.parametrize(
    "cron", ["0 8 ? * MON-FRI *", "*/15 8-18 1,15 JAN ? 2027", "0 8 L * ? *", "0  9 ? 1-6 mon#2 *"]
)
def test_a_cron_of_aws_is_taken(cron: str) -> None:
    warm = {"start": cron, "end": cron, "timezone": "Europe/Berlin"}
    taken = config("rooms", kind="endpoint", mode="realtime", keep_warm=warm).pipelines["rooms"]

    assert taken.model_dump()["keep_warm"]["start"] == cron
