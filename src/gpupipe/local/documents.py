"""The local target's small JSON files: read whole, written whole, and seen by their owner only."""

import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpupipe.errors import TargetError
from gpupipe.plain_files import read_plain

SMALL_BYTES = 64 * 1024
"""Of a document that holds a few words and paths; a path has at most 4 KB."""


def private(path: str, flags: int) -> int:
    """As `opener` of `open`: a file that is made by it is seen by its owner only, and a link is not followed."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, mode=0o600)


def is_plain(path: Path) -> bool:
    """Is this a file, and no link, pipe or device?"""
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def read_small(file: Path) -> dict[str, Any] | None:
    """A document that anybody may have written; None where it is none. Neither follows a link nor waits for a pipe."""
    try:
        document = json.loads(read_plain(file, limit_bytes=SMALL_BYTES))
    except (OSError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def read_json(file: Path) -> dict[str, Any] | None:
    """A JSON document, or None where there is no such file."""
    try:
        document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return document
    except (FileNotFoundError, NotADirectoryError):
        return None
    except json.JSONDecodeError as error:
        raise TargetError(f"{file} is damaged: {error}.", hint="`gpupipe down` starts afresh.") from error


def write_json(file: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document so that readers see the old one or the new one, and only the owner sees either."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = file.with_name(f"{file.name}.{os.getpid()}.{secrets.token_hex(4)}.draft")
    with open(draft, "x", encoding="utf-8", opener=private) as stream:
        json.dump(document, stream)
    draft.replace(file)
