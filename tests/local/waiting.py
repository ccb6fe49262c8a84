"""Waits, with a limit, for what other processes do."""

import os
import signal
import time
from collections.abc import Callable
from typing import TypeVar

import psutil

T = TypeVar("T")


def until(look: Callable[[], T], *, within_s: float = 60.0) -> T:
    """The first true answer of `look`; fails if there is none in time: long after it should be there, because a busy
    machine is no fault (an emulator saves its state the less often the longer that takes)."""
    deadline = time.monotonic() + within_s
    while not (answer := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {within_s:.0f} s")
        time.sleep(0.05)
    return answer


def runs(pid: int) -> bool:
    """Whether there is such a process; one that has ended and was not yet waited for does not run."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(pid: int) -> None:
    """SIGKILL a process and wait until it is gone."""
    os.kill(pid, signal.SIGKILL)
    until(lambda: not runs(pid))
