"""The table of tasks by name, and how one is made; importing this imports no model library."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gpuworker.tasks.base import Task


TASKS: Mapping[str, str] = {
    "segment": "gpuworker.tasks.segment.task:Segment",
    "detect-rooms": "gpuworker.tasks.detect_rooms.task:DetectRooms",
}
"""Task name -> "module:Class". A new task is one file and one line here."""


def make_task(name: str) -> Task:
    """Make the task called `name`. Raises KeyError for an unknown one."""
    module, _, attribute = TASKS[name].partition(":")
    task: Task = getattr(importlib.import_module(module), attribute)()
    return task
