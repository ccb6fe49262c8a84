"""The worker's log: JSON lines, each with a time, an event and what it is about, to any number of sinks."""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol, TextIO

from gpuworker.process.threads import start_daemon

_SECRETS = re.compile(
    r"(?i)(X-Amz-(?:Signature|Credential|Security-Token)=|AWSAccessKeyId=|Signature=|Credential=|"
    r"authorization['\"]?\s*[:=]\s*|(?:secret|token|password|api[_-]?key)[\w-]*['\"]?\s*[:=]\s*)"
    r"(?:Bearer\s+)?['\"]?[^\s&'\",}]+"
)
_TOKENS = re.compile(r"\bhf_[A-Za-z0-9]{16,}")
"""Of a hub, wherever they stand."""
_LONGEST_TEXT = 20_000


class Sink(Protocol):
    """Where lines go. `write` never blocks for long and never raises; `close` sends what is left, for so long."""

    def write(self, line: str, at_s: float) -> None: ...

    def close(self, timeout_s: float) -> None: ...


class Log:
    """Writes events; `bind` makes a log that adds fields to each of its events."""

    def __init__(
        self,
        sinks: Sequence[Sink] = (),
        fields: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._sinks = sinks
        self.fields = dict(fields or {})
        """What every event carries."""
        self._clock = clock

    def bind(self, **fields: Any) -> Log:
        """A log whose events carry these fields as well (job, shard, item, machine)."""
        return Log(self._sinks, {**self.fields, **fields}, self._clock)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)

    def error(self, event: str, error: BaseException | None = None, **fields: Any) -> None:
        """An event that somebody should look at, with the traceback of `error`."""
        if error is not None:
            fields["error"] = f"{type(error).__name__}: {error}"
            fields["traceback"] = "".join(traceback.format_exception(error))
        self._write("error", event, fields)

    def _write(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        at_s = self._clock()
        line = to_line(at_s, level, event, {**self.fields, **fields})
        for sink in self._sinks:
            sink.write(line, at_s)

    def close(self, timeout_s: float) -> None:
        """Send what is left, all sinks at once: one that hangs takes no time from the others."""
        closing = [start_daemon(partial(sink.close, timeout_s), name="log-close") for sink in self._sinks]
        deadline = time.monotonic() + timeout_s
        for thread in closing:
            thread.join(max(0.0, deadline - time.monotonic()))


def to_line(at_s: float, level: str, event: str, fields: Mapping[str, Any]) -> str:
    """One JSON line without its newline; whatever looks like a secret is cut out of the texts."""
    at = datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    clean = {name: redacted(value) if isinstance(value, str) else value for name, value in fields.items()}
    line = json.dumps(
        {"at": at, "level": level, "event": event, **clean},
        ensure_ascii=False,
        default=lambda value: redacted(repr(value)),
        separators=(",", ":"),
    )
    # Half of a surrogate pair, as somebody's message may hold, would end the thread that sends the line.
    return line.encode(errors="backslashreplace").decode()


def redacted(text: str) -> str:
    """`text` without the values of signatures, tokens and keys, and not endlessly long."""
    return _TOKENS.sub("***", _SECRETS.sub(r"\1***", text[:_LONGEST_TEXT]))


class Printed:
    """Sink that prints each line at once, for systemd's journal or a terminal."""

    def __init__(self, to: TextIO | None = None) -> None:
        self._to = to or sys.stdout
        self._lock = threading.Lock()

    def write(self, line: str, at_s: float) -> None:
        try:
            with self._lock:
                self._to.write(line + "\n")
                self._to.flush()
        except (OSError, ValueError):  # the reader of a pipe went away; the work goes on
            pass

    def close(self, timeout_s: float) -> None: ...
