"""What an endpoint's container, or SageMaker around it, says of a request that it refused or failed; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.jobs.time_limits import time_advice

_SENTENCE = re.compile(
    r"Received (?:client|server) error \((\d+)\) from \S+ with message \"(.*)\"\. See https?://", re.DOTALL
)
"""SageMaker's words around the container's own."""
_IN_PLAIN_WORDS: Mapping[int, str] = {
    400: "it cannot be read",
    406: "it cannot answer in this format",
    413: "it is too large",
    415: "it is not of a type that the model takes",
    422: "it cannot be worked on",
    500: "the container failed",
    503: "the container is not ready",
}
_TOO_LARGE = (
    "Cut it up or convert it to a tiled TIFF, raise max_bytes or max_pixels in task_options, or take a larger instance."
)
_BY_CODE: Mapping[str, str] = {
    "empty": "The file has no content: export or copy it again.",
    "unreadable": "The file is damaged, or is not what its name says: open it, and export it again.",
    "truncated": "The file ends early, usually after a broken copy: copy it from its source again.",
    "too_large": _TOO_LARGE,
    "unsuitable": "Ask with other prompts or options (--prompt, --option).",
    "timeout": "It took longer than an item may: use a smaller image.",
    "out_of_memory": "It did not fit into memory: use a smaller image, or a larger instance type.",
}
_BY_STATUS: Mapping[int, str] = {
    406: "Leave --accept out for the task's own JSON.",
    413: _TOO_LARGE,
    415: "Convert it to JPEG, PNG, WebP or TIFF.",
    503: "It is starting, ending or has too much to do: run the same command again in a minute.",
}


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why there is no result."""

    message: str
    """In plain words, without a full stop."""
    code: str = ""
    """The container's own, such as `unreadable`; "" where it gave none."""
    status: int = 0
    """HTTP status of the container's answer; 0 where there was none."""

    @property
    def words(self) -> str:
        return f"{self.message} ({self.code})" if self.code and self.code not in self.message else self.message

    def hint(self, pipeline: str) -> str:
        """What to do about it."""
        told = time_advice(f"{self.code}: {self.message}") or _BY_CODE.get(self.code) or _BY_STATUS.get(self.status)
        return told or f"`gpupipe logs --pipeline {pipeline} --since 10m` shows what the container said."


def read_refusal(text: str, status: int = 0) -> Refusal:
    """Of the container's error document, of SageMaker's sentence around one, or of whatever else came."""
    told = _SENTENCE.search(text)
    if told:
        return read_refusal(told[2], status or int(told[1]))
    try:
        found = json.loads(text)
    except ValueError:
        return Refusal(message=_first_line(text) or _IN_PLAIN_WORDS.get(status, "it gave no reason"), status=status)
    error = found.get("error") if isinstance(found, Mapping) else None
    if not isinstance(error, Mapping):
        # A failure object may hold SageMaker's sentence as JSON text, or in a document of its own.
        inner = found if isinstance(found, str) else found.get("message") if isinstance(found, Mapping) else None
        return read_refusal(inner, status) if isinstance(inner, str) else Refusal(message=_first_line(text))
    message = str(error.get("message") or _IN_PLAIN_WORDS.get(status, "it gave no reason"))
    return Refusal(message=message.rstrip(". "), code=str(error.get("code", "")), status=status)


def _first_line(text: str) -> str:
    line = text.strip().partition("\n")[0].rstrip(". ")
    return line if len(line) <= 300 else f"{line[:297]}..."
