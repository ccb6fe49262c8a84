"""Waits, with a limit, for what other processes do."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(look: Callable[[], T], *, within_s: float = 20.0) -> T:
    """The first true answer of `look`; fails if there is none in time."""
    deadline = time.monotonic() + within_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s:.0f} s")
        time.sleep(0.05)
    return answer
