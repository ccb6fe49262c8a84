"""The file that `init` writes is complete, commented, valid, and the one at the repository's root."""

import re
from pathlib import Path

import pytest

from gpupipe.config import load
from gpupipe.config_file import default_name, render, write_new
from gpupipe.errors import ConfigError, UsageError
from gpupipe.kinds.registry import KINDS

ROOT = Path(__file__).parent.parent


def uncommented(text: str) -> str:
    """The file with every default made explicit."""
    return re.sub(r"^# (\w+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_reference_at_the_root_is_what_init_writes() -> None:
    assert (ROOT / "gpupipe.toml").read_text() == render(
        kinds=["queue", "endpoint"], name="gpupipe-demo", target="local"
    )


def test_uncommenting_everything_changes_nothing(tmp_path: Path) -> None:
    text = render(kinds=["queue", "endpoint"], name="demo", target="local")
    short, long = tmp_path / "short.toml", tmp_path / "long.toml"
    short.write_text(text)
    long.write_text(uncommented(text))
    assert len(uncommented(text)) < len(text)
    assert load(short).model_dump(serialize_as_any=True) == load(long).model_dump(serialize_as_any=True)


def test_the_reference_holds_both_kinds_in_one_stack() -> None:
    config = load(ROOT / "gpupipe.toml")

    assert {name: (one.kind, one.task) for name, one in config.pipelines.items()} == {
        "segment": ("queue", "segment"),
        "rooms": ("endpoint", "detect-rooms"),
    }
    assert config.stack.target == "local"


def test_what_is_set_in_shows_variants_that_are_valid(tmp_path: Path) -> None:
    text = render(kinds=["endpoint"], name="demo", target="local")
    path = tmp_path / "gpupipe.toml"
    path.write_text(re.sub(r"^#   ", "", text, flags=re.MULTILINE))

    (variant,) = load(path).pipelines["rooms"].model_dump()["variants"]
    assert (variant["name"], variant["weight"]) == ("new", 1.0)
    assert all(f"#   {key} = " in text for key in variant)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_new_file_of_each_kind_is_valid(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "gpupipe.toml"
    write_new(path, kind=kind, name="demo", target="local")

    (pipeline,) = load(path).pipelines.values()
    assert pipeline.kind == kind


def test_what_aws_needs_is_there_to_be_filled_in(tmp_path: Path) -> None:
    path = tmp_path / "gpupipe.toml"
    write_new(path, kind="endpoint", name="demo", target="aws")
    with pytest.raises(ConfigError, match=r"pipelines\.rooms\.image: is missing"):
        load(path)

    image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/rooms:1"
    path.write_text(path.read_text().replace('\nimage = ""', f'\nimage = "{image}"'))

    assert load(path).pipelines["rooms"].model_dump()["image"] == image


def test_every_line_with_a_key_is_explained() -> None:
    text = render(kinds=["queue", "endpoint"], name="demo", target="aws")
    bare = [line for line in text.splitlines() if re.match(r"(# )?\w+ = ", line) and "  # " not in line]
    assert [line for line in bare if not line.startswith("kind")] == []


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "gpupipe.toml"
    path.write_text("mine")
    with pytest.raises(UsageError, match="not overwritten"):
        write_new(path, kind="queue", name="demo", target="local")
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("folder", "name"),
    [("Field 7", "field"), ("drone_images", "drone-images"), ("7", "gpupipe"), ("é", "gpupipe"), ("a" * 40, "a" * 20)],
)
def test_a_folder_gives_a_valid_name(folder: str, name: str) -> None:
    assert default_name(folder) == name


@pytest.mark.parametrize("wrong", [{"kind": "quue"}, {"target": "azure"}, {"name": "No Good"}])
def test_wrong_words_are_refused_before_writing(tmp_path: Path, wrong: dict[str, str]) -> None:
    path = tmp_path / "gpupipe.toml"
    with pytest.raises(UsageError):
        write_new(path, **{"kind": "queue", "name": "demo", "target": "local", **wrong})
    assert not path.exists()


def test_options_of_engines_are_read_from_the_file(tmp_path: Path) -> None:
    text = render(kinds=["queue"], name="demo", target="local")
    asked = {
        "engine": '"sam3"',
        "prompts": '["oak crown", "Car"]',
        "negative_prompts": '["shadow"]',
        "prompt_thresholds": '{"Oak crown" = 0.3}',
        "tile_size": "1536",
        "bands": "[4, 3, 2]",
        "weights": '"/weights/sam3"',
    }
    for key, value in asked.items():
        text, count = re.subn(rf"^# {key} = .*$", f"{key} = {value}", text, flags=re.MULTILINE)
        assert count == 1
    path = tmp_path / "gpupipe.toml"
    path.write_text(text)

    options = load(path).pipelines["segment"].task_options.model_dump()
    assert (options["engine"], options["prompts"]) == ("sam3", ("oak crown", "Car"))
    assert (options["negative_prompts"], options["prompt_thresholds"]) == (("shadow",), {"oak crown": 0.3})
    assert (options["tile_size"], options["bands"]) == (1536, (4, 3, 2))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('engine = "sam4"', "engine: Input should be 'auto', 'nanodet', 'sam3' or 'vegetation'"),
        ('engine = "sam3"', 'model.weights: is missing; engine "sam3" carries none'),
        ("tile_size = 12", 'tile_size: must be a whole number of pixels from 64, "auto" or "whole" (got 12)'),
        ('prompts = ["tree"]', "prompts: engine nanodet does not know 'tree'"),
        ("prompt_thresholds = {car = 3}", "prompt_thresholds.car: Input should be less than or equal to 1"),
        ("bands = [1, 2]", "bands: 2 bands make no picture"),
    ],
)
def test_mistakes_in_options_are_told_once_with_their_place(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "gpupipe.toml"
    key = line.partition(" ")[0]
    text = render(kinds=["queue"], name="demo", target="local")
    path.write_text(re.sub(rf"^# {key} = .*$", line, text, flags=re.MULTILINE))
    with pytest.raises(ConfigError) as caught:
        load(path)
    (mistake,) = str(caught.value).splitlines()[1:]
    assert mistake.startswith("  pipelines.segment.")
    assert told in mistake
