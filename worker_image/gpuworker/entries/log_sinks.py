"""Sinks that carry log lines away in the background: CloudWatch Logs, and one file a day in the bucket.

Lines that come faster than they can be sent are dropped and counted, and the count is sent: logging never holds up
the work.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpuworker.contract import log_key
from gpuworker.process.log import to_line
from gpuworker.process.threads import start_daemon
from gpuworker.storage.objects import Storage, StorageError

_WAITING_AT_MOST = 10_000
_EVENTS_A_BATCH = 1_000
_BYTES_A_BATCH = 900_000
"""PutLogEvents takes 1,048,576 bytes with 26 for each event, 10,000 events."""
_BYTES_A_LINE = 200_000


class CloudWatch:
    """Batches lines into one stream of a log group, about every two seconds."""

    def __init__(self, client: Any, group: str, stream: str, *, pause_s: float = 2.0) -> None:
        """`client` is boto3's for `logs`."""
        self._client, self._group, self._stream = client, group, stream
        self._pause_s = pause_s
        self._lines: queue.Queue[tuple[float, str]] = queue.Queue(_WAITING_AT_MOST)
        self.dropped = 0
        self._told = 0
        self._closing = threading.Event()
        self._thread = start_daemon(self._run, name="log-cloudwatch")

    def write(self, line: str, at_s: float) -> None:
        try:
            self._lines.put_nowait((at_s, line))
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float) -> None:
        self._closing.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        """Send until closed; what could not be sent stays for the next time, and the pause grows."""
        batch: list[tuple[float, str]] = []
        pause_s = self._pause_s
        while True:
            closing = self._closing.wait(pause_s)
            batch = batch or self._next_batch()
            while batch and self._send(batch):
                pause_s = self._pause_s
                batch = self._next_batch()
            if closing:
                return
            pause_s = min(pause_s * 2, 60.0) if batch else self._pause_s

    def _next_batch(self) -> list[tuple[float, str]]:
        batch: list[tuple[float, str]] = []
        size = 0
        while len(batch) < _EVENTS_A_BATCH and size < _BYTES_A_BATCH - _BYTES_A_LINE:
            try:
                at_s, line = self._lines.get_nowait()
            except queue.Empty:
                break
            line = line.encode()[:_BYTES_A_LINE].decode(errors="ignore")
            batch.append((at_s, line))
            size += len(line.encode()) + 26
        if self.dropped > self._told:
            now_s = time.time()
            batch.append((now_s, to_line(now_s, "warning", "log_lines_dropped", {"lines": self.dropped - self._told})))
            self._told = self.dropped
        return batch

    def _send(self, batch: Sequence[tuple[float, str]]) -> bool:
        events = [{"timestamp": int(at_s * 1000), "message": line} for at_s, line in sorted(batch)]
        names = {"logGroupName": self._group, "logStreamName": self._stream}
        try:
            try:
                self._client.put_log_events(**names, logEvents=events)
            except self._client.exceptions.ResourceNotFoundException:
                self._client.create_log_stream(**names)
                self._client.put_log_events(**names, logEvents=events)
        except Exception:  # whatever keeps the log from being sent must not end its thread
            return False
        return True


class DayFiles:
    """Appends lines to a file a day in the work folder and uploads that file whole every minute or so."""

    def __init__(self, storage: Storage, folder: Path, machine: str, *, pause_s: float = 60.0) -> None:
        self._storage, self._folder, self._machine = storage, folder, machine
        folder.mkdir(parents=True, exist_ok=True)
        self._pause_s = pause_s
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._closing = threading.Event()
        self._thread = start_daemon(self._run, name="log-files")

    def write(self, line: str, at_s: float) -> None:
        date = datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d")
        try:
            with self._lock, self._path(date).open("a", encoding="utf-8") as file:
                file.write(line + "\n")
                self._changed.add(date)
        except OSError:  # a full disk must not end the work
            pass

    def close(self, timeout_s: float) -> None:
        self._closing.set()
        self._thread.join(timeout_s)

    def _path(self, date: str) -> Path:
        return self._folder / f"{date}.{self._machine}.log"

    def _run(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self._pause_s)
            with self._lock:
                dates, self._changed = self._changed, set()
            for date in sorted(dates):
                if not self._upload(date):
                    with self._lock:
                        self._changed.add(date)

    def _upload(self, date: str) -> bool:
        try:
            self._storage.put(log_key(date, self._machine), self._path(date).read_bytes(), "application/x-ndjson")
        except (StorageError, OSError):
            return False
        return True
