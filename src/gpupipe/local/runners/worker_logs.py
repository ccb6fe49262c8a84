"""Ships what workers print to log groups of the emulated CloudWatch, as AWS does; the group must be there."""

import contextlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupipe.clock import SYSTEM, Clock
from gpupipe.local.documents import write_json
from gpupipe.local.runners.process_host import WorkerProcess, read_note

SHIPPED_FILE = "shipped.json"
_PAUSE_S = 1.0
_PAUSE_WITHOUT_GROUP_S = 10.0
_MAX_EVENTS = 1000
_MAX_BYTES = 512 * 1024  # PutLogEvents takes 1 MiB with 26 bytes an event


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Where the lines of one worker go."""

    worker: WorkerProcess
    group: str
    name: str


class WorkerLogs:
    """Reads the log files on, from where it was, which is noted in each worker's folder."""

    def __init__(self, client: Callable[[str], Any], *, clock: Clock = SYSTEM) -> None:
        self._client = client
        self._clock = clock
        self._streams: set[tuple[str, str]] = set()
        self._next_at: dict[Path, float] = {}

    def ship(self, streams: Iterable[Stream]) -> None:
        """Put the lines that have come since the last time."""
        now = self._clock.monotonic()
        for stream in streams:
            log = stream.worker.log
            if now >= self._next_at.get(log, 0.0) and log.exists():
                self._next_at[log] = now + (_PAUSE_S if self._ship(stream) else _PAUSE_WITHOUT_GROUP_S)

    def _ship(self, stream: Stream) -> bool:
        """False if there is no log group."""
        noted = stream.worker.folder / SHIPPED_FILE
        start = int(read_note(noted).get("bytes", 0))
        lines, end = _complete_lines(stream.worker.log, start)
        if not lines:
            return True
        if not self._put(stream.group, stream.name, lines):
            return False
        write_json(noted, {"bytes": end})
        return True

    def _put(self, group: str, stream: str, lines: list[str]) -> bool:
        logs = self._client("logs")
        now_ms = int(time.time() * 1000)
        events = [{"timestamp": now_ms, "message": line} for line in lines]
        try:
            self._make_stream(logs, group, stream)
            logs.put_log_events(logGroupName=group, logStreamName=stream, logEvents=events)
        except logs.exceptions.ResourceNotFoundException:
            self._streams.discard((group, stream))
            return False
        return True

    def _make_stream(self, logs: Any, group: str, stream: str) -> None:
        if (group, stream) in self._streams:
            return
        with contextlib.suppress(logs.exceptions.ResourceAlreadyExistsException):
            logs.create_log_stream(logGroupName=group, logStreamName=stream)
        self._streams.add((group, stream))


def _complete_lines(log: Path, start: int) -> tuple[list[str], int]:
    """The lines from byte `start` on, as many as one call takes, and where the next begins."""
    if log.stat().st_size < start:
        start = 0  # the file was begun anew
    with log.open("rb") as stream:
        stream.seek(start)
        content = stream.read(_MAX_BYTES)
    cut = content.rfind(b"\n") + 1 or (len(content) if len(content) == _MAX_BYTES else 0)
    kept = content[:cut].splitlines(keepends=True)[:_MAX_EVENTS]
    texts = [line.decode(errors="replace").rstrip("\r\n") for line in kept]
    return [text for text in texts if text], start + sum(len(line) for line in kept)
