"""Pictures of blocks that neighbouring windows share, bounded in bytes; each is made once however many wait for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Chunk:
    """A block as a picture."""

    rgb: NDArray[np.uint8]
    valid_mask: NDArray[np.bool_] | None
    """H×W; None where every pixel means something."""

    @property
    def nbytes(self) -> int:
        return self.rgb.nbytes + (0 if self.valid_mask is None else self.valid_mask.nbytes)


@dataclass(slots=True, eq=False)
class _Slot:
    making: threading.Lock = field(default_factory=threading.Lock)
    chunk: Chunk | None = None


class ChunkCache:
    """The most recently used chunks, never more than `limit_bytes` of them (but one, where that alone is larger)."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0
        self.made = 0
        """How many chunks had to be made; each again after it was dropped."""
        self._slots: OrderedDict[Hashable, _Slot] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], Chunk]) -> Chunk:
        """The chunk of this key; raises what `make` raises, and lets the next caller try again."""
        with self._lock:
            slot = self._slots.setdefault(key, _Slot())
            self._slots.move_to_end(key)
        with slot.making:
            if slot.chunk is not None:
                return slot.chunk
            try:
                chunk = make()
            except BaseException:
                with self._lock:
                    self._slots.pop(key, None)
                raise
            self._keep(key, slot, chunk)
            return chunk

    def _keep(self, key: Hashable, slot: _Slot, chunk: Chunk) -> None:
        with self._lock:
            self.made += 1
            if self._slots.setdefault(key, slot) is not slot:  # another's failure took it out: being made again
                return
            slot.chunk = chunk
            self.used_bytes += chunk.nbytes
            for old in list(self._slots):
                if self.used_bytes <= self.limit_bytes:
                    break
                if old != key and (dropped := self._slots[old].chunk) is not None:
                    del self._slots[old]
                    self.used_bytes -= dropped.nbytes
