"""AWS as it is on a bad day: single calls answered or refused, the rest going where they always go.

For what emulators do not enforce: propagation, names that are blocked for a while, dependencies, throttling.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from gpupipe.aws import Aws


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str = ""


Answer = Callable[[str], "Refusal | dict[str, Any] | None"]


@contextlib.contextmanager
def answering(aws: Aws, service: str, answer: Answer) -> Iterator[None]:
    """Within, `answer(operation)` speaks for `service`; where it says None, the account does."""

    def before_call(model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]] | None:
        said = answer(model.name)
        if said is None:
            return None
        if isinstance(said, Refusal):
            error = {"Error": {"Code": said.code, "Message": said.message}, "ResponseMetadata": {}}
            return _response(400), error
        return _response(200), {**said, "ResponseMetadata": {}}

    events = aws.client(service).meta.events
    events.register("before-call", before_call)
    try:
        yield
    finally:
        events.unregister("before-call", before_call)


@contextlib.contextmanager
def refusing(
    aws: Aws, service: str, operation: str, code: str, message: str = "", *, times: int = 1
) -> Iterator[list[str]]:
    """Within, the first `times` calls of `operation` are refused; yields the list of all its calls."""
    calls: list[str] = []

    def answer(called: str) -> Refusal | None:
        if called != operation:
            return None
        calls.append(called)
        return Refusal(code, message) if len(calls) <= times else None

    with answering(aws, service, answer):
        yield calls


def _response(status: int) -> AWSResponse:
    return AWSResponse("https://aws", status, HTTPHeaders(), None)
