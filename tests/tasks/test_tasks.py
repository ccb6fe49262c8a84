"""The two tables of tasks: each task is in both, and both say the same of what it takes."""

from __future__ import annotations

import importlib

import pytest
from tests.gpuworker.fake_task import FakeTask
from tests.toy_tasks.table import OPTIONS, WORKERS

from gpupipe.tasks import TASKS, TaskOptions, inputs_of, options_class, takes_files
from gpuworker.tasks import TASKS as WORKER_TASKS
from gpuworker.tasks.base import Task


def worker_class(reference: str) -> type[Task]:
    module, _, name = reference.partition(":")
    found: type[Task] = getattr(importlib.import_module(module), name)
    return found


def test_a_task_is_in_both_tables() -> None:
    assert set(TASKS) == set(WORKER_TASKS)
    assert set(OPTIONS) == set(WORKERS)


@pytest.mark.parametrize("task", TASKS)
def test_both_sides_of_a_task_take_the_same(task: str) -> None:
    options = options_class(task)
    assert options.takes == worker_class(WORKER_TASKS[task]).takes
    assert bool(options.input_suffixes) == ("object" in options.takes)


def test_options_that_do_not_say_what_their_task_takes_cannot_be_made() -> None:
    with pytest.raises(TypeError, match=r"Silent does not set takes"):
        type("Silent", (TaskOptions,), {"__module__": __name__})


def test_a_workers_task_that_does_not_say_so_cannot_be_made() -> None:
    hooks = {name: one for name, one in vars(FakeTask).items() if not name.startswith("_")}
    own = {"let_go": hooks.pop("let_go")}
    assert own
    hooks.pop("takes")
    with pytest.raises(TypeError, match=r"Silent does not set takes"):
        type("Silent", (Task,), hooks)


def test_what_inputs_are_called() -> None:
    assert inputs_of("segment") == inputs_of("of a newer version") == ("image", "images")
    assert takes_files("segment")
    assert takes_files("of a newer version")


def test_inputs_of_a_task_of_values_are_items(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.toy_tasks import add_toys

    add_toys(monkeypatch)
    assert inputs_of("upper") == inputs_of("upper-all") == ("item", "items")
    assert (takes_files("upper"), takes_files("upper-all")) == (False, True)
