"""A task or an engine whose hook is misspelt fails where its class is made, not in the middle of a job."""

from __future__ import annotations

import importlib

import pytest
from tests.gpuworker.fake_task import FakeTask

from gpuworker.checks.hooks import Hooks
from gpuworker.engines import ENGINES
from gpuworker.engines.base import Engine
from gpuworker.tasks import TASKS
from gpuworker.tasks.base import Task


@pytest.mark.parametrize(
    ("body", "name", "meant"),
    [
        ({"decode_bytes": lambda *_: 0}, "decode_bytes", "decoded_bytes"),
        ({"use_model": lambda *_: None}, "use_model", "use_models"),
        ({"take_files": True}, "take_files", "takes_files"),
        ({"__annotations__": {"batch_waits_s": "float"}}, "batch_waits_s", "batch_wait_s"),
    ],
)
def test_a_misspelt_hook_of_a_task_is_named_with_what_was_meant(body: dict[str, object], name: str, meant: str) -> None:
    with pytest.raises(TypeError, match=rf"Misspelt has {name}, which Task does not know.*Did you mean {meant}\?"):
        type("Misspelt", (FakeTask,), body)


def test_a_misspelt_hook_of_an_engine_is_named_with_what_was_meant() -> None:
    with pytest.raises(TypeError, match=r"detect_frugaly.*Did you mean detect_frugally\?"):
        type("Misspelt", (Engine,), {"detect_frugaly": lambda *_: None})


def test_what_is_a_classs_own_is_declared_and_inherited() -> None:
    class Own(FakeTask, own={"words"}):
        words = 3

    class Below(Own):
        words = 4

    with pytest.raises(TypeError, match="has sentences"):
        type("Other", (Below,), {"sentences": 1})


def test_an_attribute_without_a_default_must_be_set() -> None:
    class Interface(Hooks):
        record_name: str

    with pytest.raises(TypeError, match="does not set record_name"):
        type("Nameless", (Interface,), {})


@pytest.mark.parametrize(("table", "interface"), [(TASKS, Task), (ENGINES, Engine)])
def test_everything_in_the_tables_is_made_of_its_interface(table: dict[str, str], interface: type) -> None:
    for reference in table.values():
        module, _, name = reference.partition(":")
        assert issubclass(getattr(importlib.import_module(module), name), interface)
