"""On the path of a test's processes only: the toys are in the tables of tasks before anybody looks into them.

As its own file for each table, since machines need not have what the person's side imports.
"""

import contextlib
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
from table import OPTIONS, WORKERS

sys.path.pop()

with contextlib.suppress(ImportError):
    from gpuworker import tasks

    tasks.TASKS = {**tasks.TASKS, **WORKERS}
with contextlib.suppress(ImportError):
    from gpupipe import tasks as options

    options.TASKS = {**options.TASKS, **OPTIONS}
