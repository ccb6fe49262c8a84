"""Large inputs on disk instead of in memory, for as long as somebody works on them."""

from __future__ import annotations

import itertools
import os
import shutil
import stat
from pathlib import Path

from gpuworker.contract.items import ItemError
from gpuworker.pipeline.budget import ByteBudget, Reservation

SPOOL_FROM_BYTES = 256 * 1024**2
"""Smaller inputs are held in memory, which is faster."""
_SHARE_OF_FREE_DISK = 0.8
_SUFFIX = ".spooled"


class Spool:
    """A folder of its own in the work folder, which no other process uses (the journal's lock sees to that)."""

    def __init__(self, folder: Path, *, from_bytes: int = SPOOL_FROM_BYTES, limit_bytes: int | None = None) -> None:
        """What a process that was killed has left in it is removed. `limit_bytes`: of all files together."""
        self.from_bytes = from_bytes
        _make_own(folder)
        for left_behind in folder.glob(f"*{_SUFFIX}"):
            left_behind.unlink()
        self._folder = folder
        self._numbers = itertools.count(1)
        free = int(shutil.disk_usage(folder).free * _SHARE_OF_FREE_DISK)
        self.limit_bytes = free if limit_bytes is None else limit_bytes
        self._room = ByteBudget(2 * self.limit_bytes)  # of which new items get a half

    def reserve(self, size_bytes: int) -> Spooled:
        """Wait for room for a file. Raises ItemError `too_large` where there can never be, and BudgetClosed."""
        if size_bytes > self.limit_bytes:
            raise ItemError(
                "too_large",
                f"the file has {size_bytes:,} bytes; the worker's disk has room for {self.limit_bytes:,}. "
                "The pipeline's compute.volume_gb makes it larger",
            )
        return Spooled(self._folder / f"{next(self._numbers)}{_SUFFIX}", self._room.admit(size_bytes))

    def close(self) -> None:
        """Let nobody wait for room any more: whoever waits or comes raises BudgetClosed."""
        self._room.close()


def _make_own(folder: Path) -> None:
    """A folder that nobody else writes into: what is verified as it is written is opened again to be decoded.

    Raises PermissionError where it is another's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise PermissionError(f"{folder} is not a folder of this worker's own: remove it")
    folder.chmod(0o700)


class Spooled:
    """One input's file, and its room."""

    def __init__(self, path: Path, room: Reservation) -> None:
        self.path, self._room = path, room

    def remove(self) -> None:
        """Remove the file and give its room back; a second call does nothing. Who has it open can go on reading."""
        self.path.unlink(missing_ok=True)
        self._room.release()
