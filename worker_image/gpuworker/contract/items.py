"""What every step of the worker knows of one item: its names, a file of its result, and why it cannot be processed.

Not among what `gpuworker.contract` imports: commands and functions need none of it, and start sooner without.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


class ItemError(Exception):
    """One item cannot be processed; its neighbours can.

    `code` is one of the stable words that users meet in failures.json: `empty`, `unreadable`, `truncated`,
    `unsupported`, `unsuitable` (the job's options do not suit the input or the engine), `too_large` (bytes or pixels),
    `timeout`, `out_of_memory`, `killed_worker`, `not_found`, `changed`, `internal_error`. `message` says what was wrong
    and, where there is one, the remedy.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, kw_only=True)
class Source:
    """What a task may know of its input: the name chosen for its output and the name it came with."""

    output: str
    """Output name: path below the project, without extension (or whole where two inputs would share it)."""
    file_name: str
    """Path below the project with its extension, `/`-separated, as written into COCO."""
    sidecar: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the person has written beside this input (`contract.Item.sidecar`)."""


@dataclass(frozen=True, kw_only=True)
class File:
    """One artefact: its bytes and media type."""

    data: bytes
    content_type: str
