"""Tasks that need no model, for tests of everything around a task; in the tables of tasks while a test wants them.

Each has its two sides as any task has: `<toy>.py` for the worker and `<toy>_options.py` for the person. In the test's
process they are put into both tables (`add_toys`). Processes that it starts find them by PYTHONPATH: Python imports
`on_path/sitecustomize.py` before anything else, which puts them into the tables there. Nothing of gpupipe knows of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import cast

import pytest

import gpupipe.tasks
import gpuworker.tasks
from tests.toy_tasks.table import OPTIONS, WORKERS

ON_PATH = Path(__file__).parent / "on_path"
ROOT = Path(__file__).parents[2]


def add_toys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the toys into the tables of this process, and of those that it starts."""
    for module, toys in ((gpupipe.tasks, OPTIONS), (gpuworker.tasks, WORKERS)):
        for name, reference in toys.items():
            monkeypatch.setitem(cast(MutableMapping[str, str], module.TASKS), name, reference)
    places = (str(ON_PATH), str(ROOT), *filter(None, sys.path))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(dict.fromkeys(places)))
