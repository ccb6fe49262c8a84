"""The functions' log: JSON lines on standard output, as Lambda sends them to CloudWatch; never a secret."""

from __future__ import annotations

import json
import traceback
from datetime import UTC, datetime
from typing import Any


def info(event: str, **fields: Any) -> None:
    _write("info", event, fields)


def warning(event: str, **fields: Any) -> None:
    _write("warning", event, fields)


def error(event: str, cause: BaseException, **fields: Any) -> None:
    """Something that a person should look at, with where it happened."""
    where = "".join(traceback.format_exception(cause))
    _write("error", event, {**fields, "error": f"{type(cause).__name__}: {cause}", "traceback": where})


def _write(level: str, event: str, fields: dict[str, Any]) -> None:
    at = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    line = json.dumps({"at": at, "level": level, "event": event, **fields}, default=str, ensure_ascii=False)
    # Half of a surrogate pair in somebody's key is no character, and no reason to lose the line or the whole batch.
    print(line.encode(errors="backslashreplace").decode(), flush=True)
