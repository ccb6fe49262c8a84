"""What SageMaker's notifications say of asynchronous invocations that failed; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from gpuworker.contract import MESSAGE_BYTES, ContractError, parse_shard_key, read_json

REASON_MAX = 500
_CODE = re.compile(r'\\*"code\\*"\s*:\s*\\*"([a-z_]+)')


@dataclass(frozen=True, kw_only=True)
class ShardFailed:
    """The request for a shard failed."""

    notice: str
    """Id of the notification: SNS may bring it more than once."""
    job: str
    number: int
    generation: int
    at: float
    """When SNS was told."""
    expired: bool
    code: str
    """Of the container's own answer; "" where it came to none."""
    reason: str


@dataclass(frozen=True, kw_only=True)
class Unrelated:
    """A notification that is not about a shard of ours: a third party's request."""

    notice: str
    location: str
    status: str
    reason: str


Notice = ShardFailed | Unrelated


def notice_of(record: Mapping[str, Any], *, bucket: str, now: float) -> Notice:
    """What a record of an SNS event tells; raises anything for one that SNS has not made."""
    sns = record["Sns"]
    try:
        told = read_json(sns["Message"], limit_bytes=MESSAGE_BYTES)
    except ContractError:
        told = None
    if not isinstance(told, Mapping):
        return Unrelated(notice=sns["MessageId"], location="", status="", reason="it is no notification of SageMaker")
    status, reason = str(told.get("invocationStatus", "")), str(told.get("failureReason", ""))
    parameters = told.get("requestParameters")
    location = str(parameters.get("inputLocation", "")) if isinstance(parameters, Mapping) else ""
    other = Unrelated(notice=sns["MessageId"], location=location, status=status, reason=reason)
    if status.lower() == "completed" or not location.startswith(f"s3://{bucket}/"):
        return other
    try:
        job, number, generation = parse_shard_key(location.removeprefix(f"s3://{bucket}/"))
    except ContractError:
        return other
    code = code_in(reason)
    return ShardFailed(
        notice=sns["MessageId"],
        job=job,
        number=number,
        generation=generation,
        at=_moment(sns.get("Timestamp"), _moment(told.get("eventTime"), now)),
        expired=status.lower() == "expired" or (not code and "expired" in reason.lower()),
        code=code,
        reason=brief(reason) or f"its invocation ended as {status or 'failed'}",
    )


def code_in(reason: str) -> str:
    """The `code` of the container's error body, which SageMaker quotes in its own sentence; "" where there is none."""
    found = _CODE.search(reason)
    return found[1] if found else ""


def brief(reason: str) -> str:
    """One line that fits into a row and a status."""
    line = " ".join(reason.split())
    return line if len(line) <= REASON_MAX else f"{line[: REASON_MAX - 1]}…"


def _moment(text: object, otherwise: float) -> float:
    """Unix time of `2026-11-21T15:44:03.023Z`; where it cannot be read, `otherwise`."""
    try:
        return datetime.fromisoformat(str(text)).timestamp()
    except ValueError:
        return otherwise
