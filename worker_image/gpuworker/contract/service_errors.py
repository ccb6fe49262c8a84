"""What an AWS service said, out of botocore's exception; by its form, so that whoever asks needs no botocore."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

NO_OBJECT = frozenset({"404", "NoSuchKey", "NotFound"})
"""S3's codes for an object that is not there; a HEAD request has no body to name one in, and answers 404."""
OVERTAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict", "412", "409"})
"""S3's codes for a conditional write that somebody else was faster with."""
OVERTAKEN_OR_GONE = OVERTAKEN | NO_OBJECT
"""Its codes where a certain version was to be replaced: somebody may also have deleted it."""


def error_code(error: BaseException) -> str:
    """The service's code of a botocore ClientError ("NoSuchKey"), else ""."""
    return str(_part(error, "Error").get("Code", ""))


def error_message(error: BaseException) -> str:
    """The service's own words of a botocore ClientError, else what the exception says."""
    return str(_part(error, "Error").get("Message", error))


def http_status(error: BaseException) -> int:
    """The HTTP status of the answer that a botocore ClientError stands for; 0 where there was none."""
    return int(_part(error, "ResponseMetadata").get("HTTPStatusCode", 0))


def _part(error: BaseException, name: str) -> Mapping[str, Any]:
    response = getattr(error, "response", None)  # other libraries' exceptions have one that is no mapping
    part = response.get(name) if isinstance(response, Mapping) else None
    return part if isinstance(part, Mapping) else {}
