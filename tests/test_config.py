"""gpupipe.toml: what it accepts, how it tells mistakes, and what replaces what."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupipe.config import find_file, load, schema
from gpupipe.errors import ConfigError
from gpupipe.kinds.queue.settings import QueuePipeline

MINIMAL = """
[stack]
name = "demo"
[pipelines.segment]
kind = "queue"
task = "segment"
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "gpupipe.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return caught.value.message


def test_a_minimal_file_gets_every_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL))
    pipeline = config.pipelines["segment"]
    assert config.stack.target == "local"
    assert isinstance(pipeline, QueuePipeline)
    assert (pipeline.min_images_to_start, pipeline.max_wait_minutes, pipeline.compute.max_instances) == (10, 5.0, 1)


def test_prompts_become_category_names(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL + '[pipelines.segment.task_options]\nprompts = ["People", "CARS", "person"]'))
    assert config.pipelines["segment"].task_options.model_dump()["prompts"] == ("person", "car")


def test_all_mistakes_are_told_at_once_with_their_keys(tmp_path: Path) -> None:
    told = mistakes(
        tmp_path,
        """
        [stack]
        name = "Demo!"
        regoin = "eu-west-1"
        [pipelines.segment]
        kind = "queue"
        task = "segment"
        [pipelines.segment.compute]
        instance_type = "g5.xlarge"
        max_instances = 0
        [pipelines.segment.task_options]
        prompts = ["zebras", "unicorns"]
        """,
    )
    assert "stack.name: must be 2 to 20 lower-case letters" in told
    assert "stack.regoin: unknown key; did you mean 'region'?" in told
    assert "pipelines.segment.compute.instance_type: unknown key; did you mean 'instance_types'?" in told
    assert "pipelines.segment.compute.max_instances: " in told
    assert "pipelines.segment.task_options.prompts: engine nanodet does not know 'unicorns'" in told


@pytest.mark.parametrize(
    ("addition", "told"),
    [
        ("[pipelines.segment.compute]\nmax_instances = 2", 'set on_idle = "terminate"'),
        ('[pipelines.segment.compute]\nmarket = "spot"', "a spot machine cannot be stopped"),
        ('[pipelines.segment.ssh]\nkey_name = "mine"', "key_name and allowed_cidrs go together"),
        ('[pipelines.segment.network]\nvpc_id = "vpc-0a"', "vpc_id and subnet_ids go together"),
    ],
)
def test_settings_that_cannot_work_together_are_refused(tmp_path: Path, addition: str, told: str) -> None:
    assert told in mistakes(tmp_path, MINIMAL + addition)


@pytest.mark.parametrize(
    ("kind", "written", "told"),
    [
        ("queue", "ml.g5.xlarge", "the machines of a queue are EC2's, whose types are written as in"),
        ("endpoint", "g5.xlarge", "the instances of an endpoint are SageMaker's, whose types begin with ml."),
    ],
)
def test_types_of_the_other_service_are_told_as_that(tmp_path: Path, kind: str, written: str, told: str) -> None:
    text = MINIMAL.replace('"queue"', f'"{kind}"')
    message = mistakes(tmp_path, text + f'[pipelines.segment.compute]\ninstance_types = ["{written}"]')
    assert f"pipelines.segment.compute.instance_types.0: {told}" in message
    assert f"(got '{written}')" in message


@pytest.mark.parametrize("region", ["us-east1", "US-EAST-1", "frankfurt", "us-east-1a"])
def test_what_is_not_written_as_a_region_says_how_one_is(tmp_path: Path, region: str) -> None:
    text = MINIMAL.replace('"demo"', f'"demo"\nregion = "{region}"')
    assert f"stack.region: AWS writes regions as in \"us-east-1\" (got '{region}')" in mistakes(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[stack]\nname = demo", "not valid TOML"),
        ("a = " + "[" * 100_000, "not valid TOML"),
        (MINIMAL.replace('"queue"', '"quue"'), "'quue' is not a pipeline kind; choose from: endpoint, queue"),
        (MINIMAL.replace('"segment"', '"segmnt"'), "did you mean 'segment'?"),
        (MINIMAL.replace("[pipelines.segment]", "[pipelines.S]"), "a pipeline's name is"),
        ('[stack]\nname = "demo"', "pipelines: is missing"),
    ],
)
def test_malformed_files_say_what_is_wrong(tmp_path: Path, text: str, told: str) -> None:
    assert told in mistakes(tmp_path, text)


def test_the_environment_replaces_single_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUPIPE_STACK__REGION", "eu-west-1")
    monkeypatch.setenv("GPUPIPE_PIPELINES__SEGMENT__MIN_IMAGES_TO_START", "3")
    config = load(write(tmp_path, MINIMAL))
    assert config.stack.region == "eu-west-1"
    assert config.pipelines["segment"].model_dump()["min_images_to_start"] == 3


def test_a_missing_file_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUPIPE_CONFIG", raising=False)
    with pytest.raises(ConfigError, match="gpupipe init"):
        find_file()


def test_naming_a_pipeline_that_is_not_there_tells_the_near_one(tmp_path: Path) -> None:
    config = load(write(tmp_path, MINIMAL))
    assert config.pipeline(None)[0] == "segment"
    with pytest.raises(ConfigError, match="did you mean 'segment'"):
        config.pipeline("segmnt")


def test_settings_are_frozen(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        load(write(tmp_path, MINIMAL)).stack.name = "other"  # type: ignore[misc]


def test_the_schema_knows_kinds_tasks_and_every_key() -> None:
    text = json.dumps(schema())
    for key in ("max_processing_hours", "score_threshold", "allowed_cidrs", "worker_python"):
        assert f'"{key}"' in text


def test_each_kind_has_its_own_tables_in_the_schema() -> None:
    whole = schema()
    (shapes,) = whole["properties"]["pipelines"]["patternProperties"].values()
    compute = {}
    for shape in shapes["oneOf"]:
        name = shape["properties"]["compute"]["$ref"].removeprefix("#/$defs/")
        compute[shape["properties"]["kind"]["const"]] = set(whole["$defs"][name]["properties"])

    assert "volume_gb" in compute["queue"] - compute["endpoint"]
    assert "backlog_per_instance" in compute["endpoint"] - compute["queue"]


def test_every_reference_of_the_schema_leads_somewhere() -> None:
    whole = schema()
    references = set(re.findall(r'"\$ref": "#/\$defs/([^"]+)"', json.dumps(whole)))

    assert references <= set(whole["$defs"])
    assert {"endpoint.Variant", "queue.Ssh"} <= references


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=3) | st.none(), max_size=4))
def test_nonsense_is_a_config_error_and_never_a_traceback(tmp_path_factory: pytest.TempPathFactory, junk: dict) -> None:
    folder = tmp_path_factory.mktemp("junk")
    lines = [f"{json.dumps(key)} = {json.dumps(value)}" for key, value in junk.items() if value is not None]
    text = '[stack]\nname = "demo"\n[pipelines.aa]\n' + "\n".join(lines)
    with pytest.raises(ConfigError):
        load(write(folder, text))
