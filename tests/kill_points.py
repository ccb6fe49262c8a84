"""Where a test kills what it tests: before which of the calls that it makes.

In `make test` before the first call of each distinct operation, in `make test-exhaustive` before every call. A process
that was killed before a call is one that was killed after the call before it.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import pytest

KillPoints = Callable[[Sequence[Hashable]], list[int]]
"""From the operations that are called when nobody is killed, in order, to the numbers of those to be killed before."""


def first_of_each(operations: Sequence[Hashable]) -> list[int]:
    return sorted({operation: number for number, operation in reversed([*enumerate(operations)])}.values())


def every(operations: Sequence[Hashable]) -> list[int]:
    return list(range(len(operations)))


at_kill_points = pytest.mark.parametrize(
    "kill_points", [first_of_each, pytest.param(every, marks=pytest.mark.exhaustive)], ids=["first of each", "every"]
)
"""For tests with an argument `kill_points: KillPoints`."""
