from pathlib import Path
from typing import Any

import pytest

from gpuworker.entries.serving.model_dir import OptionsError, merge, task_options

DEFAULTS = {"min_area": 1000, "epsilon_factor": 0.01, "labels": True, "engine": "a", "prompts": ["x"], "share": None}


def config(folder: Path, text: str) -> Path:
    (folder / "config.json").write_text(text)
    return folder


def test_without_the_file_the_pipelines_options_count(tmp_path: Path) -> None:
    assert task_options(tmp_path, DEFAULTS) == DEFAULTS
    assert task_options(tmp_path / "none", DEFAULTS) == DEFAULTS


def test_file_goes_over_the_pipelines_options(tmp_path: Path) -> None:
    folder = config(tmp_path, '{"task_options": {"min_area": 50, "epsilon_factor": 1, "share": 0.5}}')
    assert task_options(folder, DEFAULTS) == {**DEFAULTS, "min_area": 50, "epsilon_factor": 1, "share": 0.5}


def test_task_without_known_options_judges_by_itself() -> None:
    assert merge({"anything": 1}, {}) == {"anything": 1}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[]", "and nothing else"),
        ('{"options": {}}', "and nothing else"),
        ('{"task_options": []}', "not an object"),
        ('{"task_options": {"min_aera": 1}}', "did you mean 'min_area'"),
        ('{"task_options": {"zzz": 1}}', "it has min_area, epsilon_factor"),
        ('{"task_options": {"min_area": "big"}}', "has to be a whole number"),
        ('{"task_options": {"min_area": true}}', "has to be a whole number"),
        ('{"task_options": {"epsilon_factor": "x"}}', "has to be a number"),
        ('{"task_options": {"labels": 1}}', "has to be true or false"),
        ('{"task_options": {"engine": 3}}', "has to be a text"),
        ('{"task_options": {"prompts": "cat"}}', "has to be a list"),
    ],
)
def test_mistake_is_named_with_its_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(OptionsError, match=r"config\.json") as error:
        task_options(config(tmp_path, text), DEFAULTS)
    assert says in str(error.value)


def test_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    with pytest.raises(OptionsError, match="cannot be read"):
        task_options(tmp_path, DEFAULTS)


def test_none_is_refused_where_a_value_is_expected() -> None:
    options: dict[str, Any] = {"engine": None}
    with pytest.raises(OptionsError, match="not null"):
        merge(options, DEFAULTS)


def test_a_tile_is_a_number_or_a_word_whatever_the_default_is() -> None:
    assert merge({"tile_size": 1008}, {"tile_size": "auto"}) == {"tile_size": 1008}
    assert merge({"tile_size": "whole"}, {"tile_size": 1008}) == {"tile_size": "whole"}
    with pytest.raises(OptionsError, match="a whole number or a text"):
        merge({"tile_size": True}, {"tile_size": "auto"})
