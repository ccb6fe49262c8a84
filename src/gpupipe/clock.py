"""Time as it passes for whoever waits: a value, so that a test's clock can tick where this machine's would sleep."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Protocol

LONGEST_PAUSE_S = 5.0
"""A person who presses Ctrl-C waits no longer for an answer."""
GROWTH = 1.6


class Clock(Protocol):
    """Tells time and lets it pass. Not the time of day: of two readings only the difference counts."""

    def monotonic(self) -> float:
        """Seconds since some moment; never less than before."""
        ...

    def sleep(self, seconds: float) -> None:
        """Return after so many seconds."""
        ...


class SystemClock:
    """This machine's."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


SYSTEM: Clock = SystemClock()


def looks(clock: Clock, *, within_s: float, pause_s: float) -> Iterator[float]:
    """The seconds waited so far, for a look at each; the pauses between looks begin with `pause_s` and grow.

    At least one look, and none that would come later than `within_s`.
    """
    begun = clock.monotonic()
    while True:
        yield clock.monotonic() - begun
        if clock.monotonic() - begun + pause_s > within_s:
            return
        clock.sleep(pause_s)
        pause_s = min(pause_s * GROWTH, LONGEST_PAUSE_S)
