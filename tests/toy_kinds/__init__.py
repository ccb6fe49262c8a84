"""Two kinds that are no product of ours: proof that a kind is one folder and one registration, and nothing else.

`pushed` has a transport of its own and no machines; `staged` has an execution of two stages and a callback. Each is
registered as a package of anybody's would be, by its line in `registration/`, which a test puts on PYTHONPATH.
"""

from __future__ import annotations

import os
from pathlib import Path

REGISTRATION = Path(__file__).parent / "registration"
"""What an installer of packages would have written: the entry points."""
ROOT = Path(__file__).parents[2]
"""What the toys are imported from."""


def python_path(before: str | None) -> str:
    """PYTHONPATH of a process that finds both kinds installed, beside what was on it `before`."""
    return os.pathsep.join([*([before] if before else []), str(REGISTRATION), str(ROOT)])
