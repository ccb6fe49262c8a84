"""`[pipelines.<name>.dropins]`: over the pipeline's own options, and every mistake with its place."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from gpupipe.config import Config, load, schema
from gpupipe.dropins import toml_key
from gpupipe.errors import ConfigError
from gpupipe.kinds.registry import KINDS

WEIGHTS = '[pipelines.segment.model]\nweights = "/weights"\n'
every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def read(folder: Path, text: str, *, kind: str = "queue", task: str = "segment") -> Config:
    path = folder / "gpupipe.toml"
    head = f'[stack]\nname = "demo"\n[pipelines.segment]\nkind = "{kind}"\ntask = "{task}"\n'
    path.write_text(f"{head}{text}", encoding="utf-8")
    return load(path)


def mistakes(folder: Path, text: str, **about: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(folder, text, **about)
    return [line.strip().removeprefix("pipelines.segment.dropins") for line in caught.value.message.splitlines()[1:]]


def options(config: Config, pattern: str) -> dict[str, Any]:
    return config.pipelines["segment"].dropins[pattern].model_dump(mode="json")


@every_kind
def test_options_stand_over_the_pipelines_own_and_are_canonical(tmp_path: Path, kind: str) -> None:
    text = """
    [pipelines.segment.task_options]
    score_threshold = 0.25
    prompts = ["dog"]
    [pipelines.segment.dropins."field*"]
    prompts = ["CARS", "people"]
    [pipelines.segment.dropins.yard]
    """
    config = read(tmp_path, text, kind=kind)
    assert (options(config, "field*")["prompts"], options(config, "field*")["score_threshold"]) == (
        ["car", "person"],
        0.25,
    )
    assert options(config, "yard") == config.pipelines["segment"].task_options.model_dump(mode="json")


def test_thresholds_of_prompts_that_are_replaced_go_with_them(tmp_path: Path) -> None:
    text = """
    [pipelines.segment.task_options]
    prompts = ["dog", "car"]
    prompt_thresholds = {dog = 0.2, car = 0.3}
    [pipelines.segment.dropins."field*"]
    prompts = ["car"]
    """
    assert options(read(tmp_path, text), "field*")["prompt_thresholds"] == {"car": 0.3}


def test_every_task_has_them(tmp_path: Path) -> None:
    config = read(
        tmp_path, '[pipelines.segment.dropins."p*"]\npolarity = "light"', task="detect-rooms", kind="endpoint"
    )
    assert options(config, "p*")["polarity"] == "light"


@every_kind
@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('["field*"]\npromts = ["car"]', ".\"field*\".promts: unknown key; did you mean 'prompts'?"),
        ('["field*"]\npolarity = "dark"', ".\"field*\".polarity: unknown key; 'polarity' is for other kinds"),
        (
            '["field*"]\nscore_threshold = 3',
            '."field*".score_threshold: Input should be less than or equal to 1 (got 3)',
        ),
        ('["field*"]\nprompts = ["tree"]', "\"field*\".prompts: engine nanodet does not know 'tree'"),
        ('["field*"]\nprompts = "car"', '."field*".prompts: is a list: write ["car"]'),
        ('["field*"]\nprompts = [5]', '."field*".prompts.0: Input should be a valid string (got 5)'),
        ('["field*"]\nprompts = ["car"]\nengine = ["x"]', '."field*".engine: Input should be'),
        ("[v1.2]\nscore_threshold = 0.3", ".v1.2: unknown key; a project's name with a dot in it stands in quotes"),
        ('\nprompts = ["car"]', ".prompts: is no table: options stand below a project"),
        ('["field 7"]', '."field 7": no project can be called so'),
        ('["field/"]', '."field/": no project can be called so'),
        ('[".."]', '."..": no project can be called so'),
        ('["field[0-9]"]', '."field[0-9]": no project can be called so'),
        (f"[{'x' * 65}]", f".{'x' * 65}: no project can be called so"),
        (
            '["f*"]\nengine = "sam3"\nprompts = ["oak"]',
            '."f*": cannot be done: model.weights is missing; engine "sam3"',
        ),
        ('["f*"]\nnegative_prompts = ["car"]', '."f*": cannot be done: negative prompts (car) take away from'),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, kind: str, table: str, told: str) -> None:
    name, _, values = table.partition("\n")
    header = f"[pipelines.segment.dropins.{name[1:-1]}]" if name else "[pipelines.segment.dropins]"
    (mistake,) = mistakes(tmp_path, f"{header}\n{values}", kind=kind)
    assert told in mistake


def test_a_value_in_the_place_of_all_tables_is_told(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "dropins = 3") == [": Input should be a valid dictionary (got 3)"]


def test_an_option_of_the_pipeline_that_does_not_suit_is_told_as_that(tmp_path: Path) -> None:
    text = """
    [pipelines.segment.task_options]
    engine = "vegetation"
    prompts = ["oak"]
    [pipelines.segment.dropins."field*"]
    engine = "nanodet"
    """
    (mistake,) = mistakes(tmp_path, text)
    assert mistake.startswith(".\"field*\": engine nanodet does not know 'oak'")
    assert mistake.endswith("that is prompts of task_options; write prompts here too")


def test_options_that_leave_nothing_to_look_for_are_refused(tmp_path: Path) -> None:
    # given a pipeline whose jobs bring their prompts
    own = f'{WEIGHTS}[pipelines.segment.task_options]\nengine = "sam3"\n[pipelines.segment.dropins."field*"]\n'
    assert options(read(tmp_path, own + 'prompts = ["tree"]'), "field*")["prompts"] == ["tree"]
    (mistake,) = mistakes(tmp_path, own + "score_threshold = 0.3")
    assert mistake.startswith('."field*": there is nothing to look for')


def test_all_mistakes_are_told_at_once_beside_those_of_the_pipeline(tmp_path: Path) -> None:
    text = """
    [pipelines.segment.task_options]
    engine = "vegetatoin"
    [pipelines.segment.dropins."field*"]
    scoer_threshold = 0.3
    nms_iou = "much"
    prompts = ["anything"]
    [pipelines.segment.dropins."no project"]
    """
    assert {line.partition(": ")[0] for line in mistakes(tmp_path, text)} == {
        "pipelines.segment.task_options.engine",
        '."no project"',
        '."field*".scoer_threshold',
        '."field*".nms_iou',
    }


@every_kind
def test_two_patterns_of_equal_length_that_both_match_are_refused(tmp_path: Path, kind: str) -> None:
    text = '[pipelines.segment.dropins."field*"]\n[pipelines.segment.dropins."*ield7"]\n'
    (mistake,) = mistakes(tmp_path, text, kind=kind)
    assert mistake.startswith('."field*": is as long as "*ield7", and both match project \'field7\'')
    assert "lengthen the one that is to count, or leave one out" in mistake


@pytest.mark.parametrize(
    "patterns",
    [
        ("field*", "field7"),  # a project's own name, whatever its length
        ("field*", "*field7"),  # the longer counts
        ("field*", "yards*"),  # none matches both
        ("field*", "Field*"),
    ],
)
def test_other_patterns_stand_beside_each_other(tmp_path: Path, patterns: tuple[str, ...]) -> None:
    tables = "".join(f'[pipelines.segment.dropins."{pattern}"]\n' for pattern in patterns)
    assert tuple(read(tmp_path, tables).pipelines["segment"].dropins) == patterns


def test_the_environment_adds_to_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUPIPE_PIPELINES__SEGMENT__DROPINS__FIELD7__SCORE_THRESHOLD", "0.75")
    config = read(tmp_path, '[pipelines.segment.dropins.field7]\nprompts = ["car"]')
    assert (options(config, "field7")["score_threshold"], options(config, "field7")["prompts"]) == (0.75, ["car"])


@pytest.mark.parametrize("name", ["field7", "field*", "v1.2", 'a"b\\c', "ä ö", ""])
def test_a_key_is_written_as_toml_reads_it(name: str) -> None:
    assert tomllib.loads(f"{toml_key(name)} = 1") == {name: 1}


def test_the_schema_knows_the_options_below_any_pattern() -> None:
    (shapes,) = schema()["properties"]["pipelines"]["patternProperties"].values()
    for shape in shapes["oneOf"]:
        properties = shape["properties"]
        below = properties["dropins"]["additionalProperties"]
        assert below == properties["task_options"]
        assert not below.get("required")
        assert "description" in properties["dropins"]
