"""What is sent back: a status and a JSON document; every problem has a code and a message."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gpuworker.contract import Failure

STATUS_OF_ITEM_ERROR: Mapping[str, int] = {
    "empty": 400,
    "truncated": 400,
    "unreadable": 400,
    "too_large": 413,
    "changed": 422,
    "not_found": 422,
    "unsuitable": 422,
    "unsupported": 422,
}
"""Codes of ItemError that are the request's fault; all others are 500."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One response. `body` is JSON."""

    status: int
    body: bytes
    code: str = ""
    """Of the problem; "" where there is none."""
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, document: Mapping[str, Any], *, status: int = 200) -> Answer:
        return cls(status=status, body=to_json(document))


def problem(status: int, code: str, message: str, *, headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
    """`{"error": {"code": …, "message": …, …}}`."""
    document = {"error": {"code": code, "message": message, **more}}
    return Answer(status=status, body=to_json(document), code=code, headers=headers or {})


def of_failure(failure: Failure) -> Answer:
    """The answer for an image that could not be processed."""
    return problem(STATUS_OF_ITEM_ERROR.get(failure.code, 500), failure.code, failure.message)


def to_json(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


class Refused(Exception):  # noqa: N818 - an answer
    """The request cannot be fulfilled; `answer` says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.code)
        self.answer = answer


def refusal(status: int, code: str, message: str, **more: Any) -> Refused:
    """To be raised."""
    return Refused(problem(status, code, message, **more))
