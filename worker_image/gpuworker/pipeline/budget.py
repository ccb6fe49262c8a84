"""One number of bytes that bounds everything in flight."""

from __future__ import annotations

import threading
from collections.abc import Callable

_SHARE_FOR_NEW = 0.5
"""New items come in only while this share is enough; the other half is for those inside to grow (decoded pixels),
or bytes that wait for memory to be decoded into would lock each other out for ever."""


class BudgetClosed(Exception):  # noqa: N818 - not an error of the program: the stream is shutting down
    """The budget was closed while a thread waited for bytes."""


class ByteBudget:
    """Bytes in flight, never more than `limit_bytes`; only an item that is larger by itself exceeds it, alone.

    An item is *admitted* with the bytes it is downloaded into and *grows* to those it is decoded into. Both wait in
    line, so that a large item is not overtaken for ever by small ones. Admitted items wait only for grown ones, and
    grown ones for nobody: no order of events can lock up.
    """

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.peak_bytes = 0
        self._used = 0
        self._grown = 0
        self._closed = False
        self._changed = threading.Condition(threading.Lock())
        self._admission = threading.Lock()
        self._growth = threading.Lock()

    @property
    def used_bytes(self) -> int:
        return self._used

    def admit(self, size_bytes: int) -> Reservation:
        """Wait for room for a new item. Raises BudgetClosed."""
        room = int(self.limit_bytes * _SHARE_FOR_NEW)
        with self._admission:
            self._wait_and_take(size_bytes, lambda: self._used == 0 or self._used + size_bytes <= room)
        return Reservation(self, size_bytes)

    def _grow(self, by_bytes: int) -> None:
        def fits() -> bool:
            return self._grown == 0 or self._used + by_bytes <= self.limit_bytes

        with self._growth:
            self._wait_and_take(by_bytes, fits, grown=1)

    def _wait_and_take(self, size_bytes: int, fits: Callable[[], bool], grown: int = 0) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._closed or fits())
            if self._closed:
                raise BudgetClosed
            self._add(size_bytes)
            self._grown += grown

    def _add(self, size_bytes: int) -> None:
        self._used += size_bytes
        self.peak_bytes = max(self.peak_bytes, self._used)

    def _give(self, size_bytes: int, *, grown: bool) -> None:
        with self._changed:
            self._add(-size_bytes)
            self._grown -= grown
            self._changed.notify_all()

    def _settle(self, by_bytes: int) -> None:
        with self._changed:
            self._add(by_bytes)
            if by_bytes < 0:
                self._changed.notify_all()

    def close(self) -> None:
        """Let nobody wait any more: whoever waits or comes raises BudgetClosed."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


class Reservation:
    """The bytes that one item holds; used by one thread at a time, except `release`, which anyone may call again."""

    def __init__(self, budget: ByteBudget, size_bytes: int) -> None:
        self._budget = budget
        self._size = size_bytes
        self._grown = False
        self._released = threading.Lock()

    def grow(self, by_bytes: int) -> None:
        """Wait for room to decode into, on top of what is held; once an item. Raises BudgetClosed."""
        self._budget._grow(by_bytes)
        self._size += by_bytes
        self._grown = True

    def correct(self, size_bytes: int) -> None:
        """Hold what turned out to be needed; the bytes are there already, so this never waits."""
        self._budget._settle(size_bytes - self._size)
        self._size = size_bytes

    def release(self) -> None:
        """Give everything back; a second call does nothing."""
        if self._released.acquire(blocking=False):
            self._budget._give(self._size, grown=self._grown)
