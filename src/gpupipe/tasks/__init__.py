"""The person's side of each task: its options with their defaults, and how long an item takes.

A task is one file here (what may be asked for) and one in `gpuworker.tasks` (how it is done). Importing this
imports no task.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict

from gpuworker.contract import InputKind

TASKS: Mapping[str, str] = {
    "segment": "gpupipe.tasks.segment:SegmentOptions",
    "detect-rooms": "gpupipe.tasks.detect_rooms:DetectRoomsOptions",
}
"""Task name -> "module:Class". A new task is one file and one line here."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """The pipeline that a job is for, as far as it matters to what may be asked of it."""

    pipeline: str
    weights: str = ""
    """What `[pipelines.<name>.model]` names; "" where it names none."""
    on_cpu: bool = False


class TaskOptions(BaseModel):
    """Options of one task, as in `[pipelines.<name>.task_options]` and `--option key=value`; frozen.

    Validation makes them canonical (prompts become category names), so that `model_dump(mode="json")` is what a job
    carries and the worker trusts.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    takes: ClassVar[frozenset[InputKind]]
    """What an input may be: a file, which becomes an object in S3, or a value, which is JSON and travels with the job.
    The same as the worker's task of this name says."""
    input_suffixes: ClassVar[frozenset[str]] = frozenset()
    """File name endings, lower case with the dot, that folders and archives are searched for; none where the task takes
    no files."""
    finds: ClassVar[tuple[str, str]] = ("thing", "things")
    """What one of its annotations is called, and many of them."""

    sidecar_suffix: ClassVar[str] = ""
    """What follows a whole file name in the name of a JSON file that says more of it; "" where there is no such."""

    takes_places: ClassVar[bool] = False
    """Whether it matters where an image lies on earth, which world files beside it say."""

    example: ClassVar[Mapping[str, Any]] = {}
    """What a new configuration shows where some options replace others."""

    @classmethod
    def __pydantic_init_subclass__(cls, **settings: Any) -> None:
        super().__pydantic_init_subclass__(**settings)
        if not getattr(cls, "takes", None):
            raise TypeError(f"{cls.__module__}.{cls.__qualname__} does not set takes")

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """With a job's own options over these. Raises pydantic's ValidationError."""
        return type(self).model_validate({**self.model_dump(), **changes})

    def differing_from(self, others: TaskOptions) -> Mapping[str, Any]:
        """Those whose values others of the same task do not have, as JSON's values."""
        known = others.model_dump(mode="json")
        return {name: one for name, one in self.model_dump(mode="json").items() if one != known[name]}

    def at_place(self, place: Place) -> Self:
        """As a job there carries them. Raises UsageError for what cannot be done there, InputError for its prompts."""
        return self

    def reads_sidecars(self, place: Place) -> bool:
        """Is what lies beside inputs of any use to such a job?"""
        return False

    def read_sidecar(self, data: bytes) -> Mapping[str, Any]:
        """What an item carries of it; empty where it says nothing. Raises ValueError, which names the field."""
        raise NotImplementedError

    def has_aim(self, sidecar: Mapping[str, Any]) -> bool:
        """Is there anything to look for in an input with this sidecar (empty for one without)?"""
        return True

    def seconds_per_item(self) -> float:
        """Default estimate for one item on the default machine, before there is a measurement."""
        raise NotImplementedError

    def weight(self, path: str, size_bytes: int) -> float:
        """How many ordinary items' work a file is, guessed by its name and size; 1 where all are alike."""
        return 1.0

    def notice(self, place: Place | None = None, *, made_by: Sequence[str] = ()) -> str:
        """What every place which shows this task's results repeats; "" where nothing is needed.

        `place` is where they will be made, if that is still to come; `made_by` is what made those that are there, as
        `ShardResult.made_by` says it.
        """
        return ""


def options_class(task: str) -> type[TaskOptions]:
    """The options of the task called `task`. Raises KeyError for an unknown one."""
    module, _, attribute = TASKS[task].partition(":")
    options: type[TaskOptions] = getattr(importlib.import_module(module), attribute)
    return options


def inputs_of(task: str) -> tuple[str, str]:
    """What an input of the task called `task` is called, one and many; also for one of another version."""
    return ("item", "items") if "value" in _taken(task) else ("image", "images")


def takes_files(task: str) -> bool:
    """Whether an input of the task called `task` may be a file."""
    return "object" in _taken(task)


def _taken(task: str) -> frozenset[InputKind]:
    return options_class(task).takes if task in TASKS else frozenset({"object"})


def finds_of(task: str) -> tuple[str, str]:
    """What annotations of the task called `task` are called, one and many; also for one of another version."""
    return options_class(task).finds if task in TASKS else TaskOptions.finds
