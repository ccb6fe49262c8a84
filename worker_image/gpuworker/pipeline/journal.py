"""What this machine is working on, kept on disk so that it is still known after the process was killed.

A shared memory map of fixed slots: marking an item is one copy of a few bytes, without a system call, and the kernel
keeps the pages when the process is killed with SIGKILL. A power loss may lose it; then every unfinished item of the
shard counts as a suspect, which is slower and as safe.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from gpuworker.contract import Message, Shard, ShardResult

_SLOT_BYTES = 256
_SLOTS = 1024


class ShardId(NamedTuple):
    """A shard of one generation."""

    job: str
    number: int
    generation: int

    @classmethod
    def of(cls, document: Shard | ShardResult | Message) -> ShardId:
        """The one that a document is of."""
        return cls(*document.place)


class JournalBusyError(RuntimeError):
    """Another live worker uses the same work folder."""


class Journal:
    """Marks of items in flight. `suspects` are those an earlier, killed process of this machine left behind."""

    def __init__(self, path: Path) -> None:
        """Open or create the journal. Raises JournalBusyError while another process has it open."""
        self.folder = path.parent
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise JournalBusyError(f"{path.parent} is the work folder of another worker that is running") from error
        os.ftruncate(self._file, _SLOTS * _SLOT_BYTES)
        self._map = mmap.mmap(self._file, _SLOTS * _SLOT_BYTES)
        self._lock = threading.RLock()
        self._shards: dict[ShardId, list[int]] = {}
        self._free: list[int] = []
        self._suspects = self._read()

    def _read(self) -> dict[ShardId, set[int]]:
        """What an earlier process left; its slots stay taken until `forget`, should this process be killed as well."""
        left: dict[ShardId, set[int]] = {}
        for slot in range(_SLOTS):
            entry = _parse(self._map[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES])
            if entry is None:
                self._free.append(slot)
                continue
            shard, item = entry
            left.setdefault(shard, set()).update(() if item is None else (item,))
            self._shards.setdefault(shard, []).append(slot)
        if len(self._free) < _SLOTS // 2:  # crumbs of shards that others finished long ago
            return self._wipe()
        return left

    def _wipe(self) -> dict[ShardId, set[int]]:
        self._map[:] = bytes(len(self._map))
        self._free, self._shards = list(range(_SLOTS)), {}
        return {}

    @property
    def left_behind(self) -> Mapping[ShardId, frozenset[int]]:
        """Shards that an earlier process was working on when it was killed, and the items it had in its hands."""
        return {shard: frozenset(items) for shard, items in self._suspects.items()}

    def suspects(self, shard: ShardId) -> frozenset[int] | None:
        """Items of `shard` that were in flight when a process of this machine was killed; None: it was not here."""
        items = self._suspects.get(shard)
        return None if items is None else frozenset(items)

    def begin(self, shard: ShardId) -> None:
        """Note that this machine works on `shard`, so that after a crash "nothing was in flight" can be told apart."""
        with self._lock:
            if shard not in self._shards:
                self._shards[shard] = [self.mark(shard, None)]

    def forget(self, shard: ShardId) -> None:
        """The shard is finished or was given back in good order."""
        with self._lock:
            slots = self._shards.pop(shard, [])
            self._suspects.pop(shard, None)
            for slot in slots:
                self.clear(slot)
            for at in range(0, len(self._map), _SLOT_BYTES):  # of steps that go on; their threads will free the slots
                entry = _parse(self._map[at : at + _SLOT_BYTES])
                if entry is not None and entry[0] == shard:
                    self._map[at] = 0

    def mark(self, shard: ShardId, item: int | None) -> int:
        """Note an item before something is done to it that could kill the process; returns the slot to `clear`."""
        line = f"{shard.job} {shard.number} {shard.generation} {'' if item is None else item}\n".encode()
        if len(line) > _SLOT_BYTES:
            raise ValueError(f"the job's name is too long for the journal: {shard.job}")
        with self._lock:
            slot = self._free.pop()
            start = slot * _SLOT_BYTES
            self._map[start : start + len(line)] = line
        return slot

    def clear(self, slot: int) -> None:
        """The process survived what was done to the item in `slot`."""
        with self._lock:
            self._map[slot * _SLOT_BYTES] = 0
            self._free.append(slot)

    def items_marked(self) -> set[tuple[ShardId, int]]:
        """Items in flight now, and suspects that were left behind."""
        entries = (_parse(self._map[at : at + _SLOT_BYTES]) for at in range(0, len(self._map), _SLOT_BYTES))
        return {(entry[0], entry[1]) for entry in entries if entry is not None and entry[1] is not None}

    def close(self) -> None:
        """Let go of the file; its marks stay."""
        self._map.close()
        os.close(self._file)


def _parse(slot: bytes) -> tuple[ShardId, int | None] | None:
    """The entry of a slot; None for a free one and for one cut short by the kill."""
    line, newline, _ = slot.partition(b"\n")
    if not newline or not line or line[0] == 0:
        return None
    try:
        job, number, generation, item = line.decode().split(" ")
        return ShardId(job, int(number), int(generation)), int(item) if item else None
    except ValueError:
        return None
