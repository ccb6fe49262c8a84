"""`max_pixels` that nobody has set is told apart from one that is, on its way from gpupipe.toml to the worker."""

from __future__ import annotations

import json

import pytest
from pydantic import ValidationError

from gpupipe.tasks import TaskOptions, options_class

TASKS = ("segment", "detect-rooms")


def stored(options: TaskOptions) -> object:
    """As job.json has it."""
    return json.loads(json.dumps(options.model_dump(mode="json")))["max_pixels"]


@pytest.mark.parametrize("task", TASKS)
def test_not_set_is_null_in_a_job_and_zero_in_the_file(task: str) -> None:
    options = options_class(task)
    assert stored(options()) is None
    assert stored(options.model_validate({"max_pixels": 0})) is None
    assert options.model_validate(options().model_dump(mode="json")) == options()


@pytest.mark.parametrize("task", TASKS)
def test_a_number_stays_a_number(task: str) -> None:
    options = options_class(task)
    explicit = options.model_validate({"max_pixels": 400_000_000})
    assert stored(explicit) == 400_000_000
    assert explicit != options()


@pytest.mark.parametrize("task", TASKS)
def test_a_job_may_take_back_what_its_pipeline_says(task: str) -> None:
    explicit = options_class(task).model_validate({"max_pixels": 5})
    assert stored(explicit.changed({"max_pixels": "0"})) is None
    assert stored(explicit.changed({"max_pixels": "7"})) == 7


@pytest.mark.parametrize("wrong", [-1, "many", 1.5])
def test_nonsense_is_refused(wrong: object) -> None:
    with pytest.raises(ValidationError):
        options_class("segment").model_validate({"max_pixels": wrong})
