"""A clock for what waits: it ticks where this machine's would sleep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class TickingClock:
    """As much time passes as is slept, at once."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    """How long was slept each time."""
    meanwhile: Callable[[], None] = lambda: None
    """What happens during each pause."""

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        self.meanwhile()
