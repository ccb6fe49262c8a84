"""How many fit into the device's memory at once, learnt by what did not."""

from __future__ import annotations

GOOD_BATCHES_BEFORE_GROWING = 50


class BatchLimit:
    """Halves where memory ran out, and grows again after a while: what took the memory may be gone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._good_batches = 0
        self.now = most
        """The most to take at once."""

    def did_not_fit(self, items: int) -> None:
        """So many, more than one, were too many."""
        self.now, self._good_batches = items // 2, 0

    def fitted(self) -> None:
        """A batch went well."""
        self._good_batches += 1
        if self._good_batches >= GOOD_BATCHES_BEFORE_GROWING:
            self.now, self._good_batches = min(self._most, self.now * 2), 0
