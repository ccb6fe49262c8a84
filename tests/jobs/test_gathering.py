"""What a submission is of, by its arguments and its task; and what is said where the two do not fit."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.desk import a_photo
from tests.toy_tasks.upper_options import UpperAllOptions, UpperOptions

from gpupipe.errors import InputError, UsageError
from gpupipe.jobs.gathering import Arguments, gather
from gpupipe.jobs.inputs import Inputs
from gpupipe.jobs.values import Values
from gpupipe.tasks import TaskOptions
from gpupipe.tasks.segment import SegmentOptions

TASKS: dict[str, Callable[[], TaskOptions]] = {
    "segment": SegmentOptions,
    "upper": UpperOptions,
    "upper-all": UpperAllOptions,
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Beside photographs JSON that is not for them, and such as is."""
    monkeypatch.chdir(tmp_path)
    a_photo(tmp_path / "photos/a.jpg")
    (tmp_path / "photos/a.jpg.prompts.json").write_text('{"boxes": []}')
    (tmp_path / "photos/notes.json").write_text('{"prompt": "a"}')
    (tmp_path / "words.jsonl").write_text('"fox"\n')
    (tmp_path / "words").mkdir()
    (tmp_path / "words/a.txt").write_text("owl")
    return tmp_path


def gathered(task: str, *paths: str, **given: Any) -> Inputs:
    arguments = Arguments(paths=paths, stdin=BytesIO(b'"dog"'), **given)
    return gather(arguments, options=TASKS[task](), task=task, project="field7", on_found=lambda _: None)


@pytest.mark.parametrize(
    ("task", "paths", "found"),
    [
        ("segment", ["photos"], ["a.jpg"]),
        ("segment", ["photos/a.jpg", "photos/a.jpg.prompts.json"], ["a.jpg"]),
        ("upper", ["words.jsonl", "-"], ["item-00001", "item-00002"]),
        ("upper", ["photos/notes.json"], ["item-00001"]),
        ("upper-all", ["words.jsonl"], ["item-00001"]),
        ("upper-all", ["words"], ["a.txt"]),
    ],
)
def test_arguments_say_what_it_is_of(folder: Path, task: str, paths: list[str], found: list[str]) -> None:
    inputs = gathered(task, *paths)
    assert [file.path for file in inputs.files] == found
    assert isinstance(inputs, Values) == found[0].startswith("item")


@pytest.mark.parametrize(
    ("task", "paths", "values", "message", "hint"),
    [
        ("segment", ["words.jsonl"], [], "task segment takes files, no values (JSON): words.jsonl", "--pipeline"),
        ("segment", ["photos/notes.json"], [], "segment takes files, no values (JSON): photos/notes.json", ""),
        ("segment", ["-"], [], "takes files, no values (JSON): standard input", ""),
        ("segment", ["photos"], ['"a"'], "takes files, no values (JSON): --value", ""),
        ("segment", ["nothing.jsonl"], [], "there is no nothing.jsonl", ""),
        ("upper", ["photos"], [], "task upper takes values (JSON), no files: photos cannot be", ".jsonl or .json file"),
        ("upper", ["photos/a.jpg"], [], "task upper takes values (JSON), no files: photos/a.jpg", "--value"),
        ("upper", ["words/*.txt"], [], "task upper takes values (JSON), no files", "standard input"),
        ("upper", ["words.jsonl", "photos"], [], "photos holds no values (JSON), and other", "Name a .jsonl"),
        ("upper", ["nothing.jsonl"], [], "there is no nothing.jsonl", ""),
        ("upper-all", ["words.jsonl", "words"], [], "words holds no values (JSON), and other", "two jobs"),
        ("upper-all", ["words"], ['"a"'], "words holds no values (JSON), and other", "two jobs"),
    ],
)
def test_what_a_task_does_not_take_is_refused_and_says_what_it_takes(
    folder: Path, task: str, paths: list[str], values: list[str], message: str, hint: str
) -> None:
    with pytest.raises(InputError) as refused:
        gathered(task, *paths, values=values)
    assert message in refused.value.message
    assert hint in refused.value.hint


@pytest.mark.parametrize("task", TASKS)
def test_nothing_at_all_is_refused(task: str) -> None:
    with pytest.raises(UsageError, match="nothing to submit"):
        gathered(task)


def test_a_project_has_a_name_that_can_be_one() -> None:
    with pytest.raises(InputError, match="cannot be a project's name"):
        gather(Arguments(values=['"a"']), options=UpperOptions(), task="upper", project="a/b", on_found=print)
