"""How long nothing happened while there was something to do, by what the ledger says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gpupipe.clock import Clock
from gpuworker.ledger import ShardRecord, ShardState

Places = Mapping[int, tuple[int, ...]]
"""Shard number -> how far it is; more is further."""


class Stall:
    """The longest time without progress, in seconds of a clock; time in which the ledger cannot be read counts."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._places: Places = {}
        self._since: float | None = None
        self.longest_s = 0.0
        self.at: Places = {}
        """Where the job's shards stood then."""

    def look(self, places: Places | None) -> None:
        """Note where the shards are; None where nobody can say."""
        now = self._clock.monotonic()
        if self._since is None or (places is not None and self._is_further(places)):
            self._since = now
        self._places = self._places if places is None else places
        if now - self._since > self.longest_s:
            self.longest_s, self.at = now - self._since, self._places

    def _is_further(self, places: Places) -> bool:
        return any(place > self._places.get(number, ()) for number, place in places.items())


def places_of(shards: Iterable[ShardRecord]) -> Places:
    """By which it is progress that a worker begins a shard, gets on with it or ends it, and none that it gives a sign
    of life or gives the shard back."""
    return {
        one.number: (one.generation, int(one.state is ShardState.DONE), one.started, one.progress) for one in shards
    }
