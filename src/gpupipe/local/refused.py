"""A refusal in the form that each service's client reads, so that a person is told it and sees no parser's error."""

from __future__ import annotations

import json
import re
from xml.sax.saxutils import escape

CODE = "AccessDenied"
_SERVICE = re.compile(r"(?:Credential=|X-Amz-Credential=)[^/,&\s%]+(?:/|%2F)\d+(?:/|%2F)[\w-]+(?:/|%2F)([\w-]+)")
_BY_FORMS = frozenset({"autoscaling", "elasticloadbalancing", "iam", "monitoring", "sns", "ses", "sts"})
"""Services of the query protocol, by the names that signatures have."""


def service_of(authorization: str, query: str) -> str:
    """The service that a request says it is for; "s3" where it says nothing, as a bare link does."""
    found = _SERVICE.search(authorization) or _SERVICE.search(query)
    return found.group(1) if found else "s3"


def refused(service: str, message: str) -> tuple[str, bytes]:
    """Content type and body."""
    error = f"<Code>{CODE}</Code><Message>{escape(message)}</Message>"
    if service == "s3":
        return "application/xml", f"<Error>{error}</Error>".encode()
    if service == "ec2":
        return "text/xml", f"<Response><Errors><Error>{error}</Error></Errors></Response>".encode()
    if service in _BY_FORMS:
        return "text/xml", f"<ErrorResponse><Error><Type>Sender</Type>{error}</Error></ErrorResponse>".encode()
    return "application/json", json.dumps({"__type": CODE, "message": message}).encode()
