"""A line of the log: what CloudWatch hands out, read as what the worker or a function wrote, and shown to people."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

# What Lambda says of each invocation, whoever is called.
_PLATFORM = ("START RequestId:", "END RequestId:", "REPORT RequestId:", "INIT_START ", "INIT_REPORT ", "XRAY TraceId:")
_TROUBLE = ("[ERROR]", "Task timed out", "Status: timeout", "Status: error", "Traceback (most recent call last)")


@dataclass(frozen=True, kw_only=True)
class LogLine:
    """One line of the log."""

    at: float
    """Unix time."""
    pipeline: str
    source: str
    """"worker i-…", "dispatch" or "guard"."""
    level: str
    """debug, info, warning or error."""
    event: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """What it tells besides; empty where it is plain text."""
    text: str
    """As it was written."""

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        about = {"event": self.event, **self.fields} if self.event else {"text": self.text}
        return {**about, "at": self.at, "pipeline": self.pipeline, "source": self.source, "level": self.level}


def parsed(event: Mapping[str, Any], *, pipeline: str, source: str) -> LogLine | None:
    """The line of a CloudWatch event; None for what Lambda says of every invocation that went well."""
    text = str(event["message"]).rstrip()
    who = f"worker {event['logStreamName']}" if source == "worker" else source
    fields = _json_object(text)
    if fields is not None and isinstance(fields.get("event"), str):
        about = {name: value for name, value in fields.items() if name not in ("at", "level", "event")}
        at = _unix_time(fields.get("at"), event["timestamp"] / 1000)
        level = str(fields.get("level", "info"))
        return LogLine(
            at=at, pipeline=pipeline, source=who, level=level, event=fields["event"], fields=about, text=text
        )
    in_trouble = any(sign in text for sign in _TROUBLE)
    if not text or (text.startswith(_PLATFORM) and not in_trouble):
        return None
    level = "error" if in_trouble else "info"
    return LogLine(at=event["timestamp"] / 1000, pipeline=pipeline, source=who, level=level, text=text)


def _json_object(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text) if text.startswith("{") else None
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _unix_time(at: Any, otherwise: float) -> float:
    try:
        return datetime.fromisoformat(at).timestamp()
    except (TypeError, ValueError):
        return otherwise


def render(line: LogLine, *, with_pipeline: bool = False) -> str:
    """For people: local time, source, level, event, key=value; a traceback on lines of its own."""
    when = time.strftime("%m-%d %H:%M:%S", time.localtime(line.at))
    source = f"{line.pipeline} {line.source}" if with_pipeline else line.source
    told = [f"{when}  {source:<26}  {line.level:<7}  {_printable(line.event or line.text)}"]
    told += [f"{name}={_value(value)}" for name, value in line.fields.items() if _is_news(line, name)]
    trace = _printable(str(line.fields.get("traceback", "")).rstrip())
    return " ".join(told) + ("\n" + "\n".join(f"    {part}" for part in trace.split("\n")) if trace else "")


def _is_news(line: LogLine, name: str) -> bool:
    return name != "traceback" and not (name == "machine" and line.source == f"worker {line.fields[name]}")


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _printable(value) if value and not set(value) & set(" \"'=") else json.dumps(value, ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str, separators=(",", ":"))


def _printable(text: str) -> str:
    """A log may hold file names from anywhere: nothing in it may give orders to the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)
