"""How long nothing happened while there was something to do, by what the ledger says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from gpupipe.clock import Clock
from gpuworker.ledger import ShardRecord


class Stall:
    """The longest time without progress, in seconds of a clock; time in which the ledger cannot be read counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mark: object = None
        self._since: float | None = None
        self.longest_s = 0.0
        self.at = ""
        """Where the job stood then."""

    def look(self, mark: object | None) -> None:
        """`mark` is another once something has moved; None where nobody can say."""
        now = self._clock.monotonic()
        if self._since is None or (mark is not None and mark != self._mark):
            self._mark, self._since = mark, now
        if now - self._since > self.longest_s:
            self.longest_s, self.at = now - self._since, str(self._mark)


def mark_of(shards: Iterable[ShardRecord]) -> tuple[Any, ...]:
    """Another whenever a worker began a shard or got on with it; a heartbeat alone is no progress."""
    return tuple((one.number, one.generation, str(one.state), one.started, one.progress) for one in shards)
