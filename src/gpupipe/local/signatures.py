"""Whether a request is signed with the stack's own secret: AWS signature version 4, and links presigned by version 2.

Written from https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and, for the
links that boto3 presigns unless told otherwise, https://docs.aws.amazon.com/AmazonS3/latest/API/RESTAuthentication.html.
The access key's id proves nothing: it is the account's number, which every bucket's name carries.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

SKEW_S = 300
"""How far a signature's time may lie from ours, as AWS has it."""
LINK_S = 7 * 24 * 3600
"""The longest that a link may be presigned for."""
_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"
_AUTHORIZATION = re.compile(
    rf"{_ALGORITHM}\s+Credential=(?P<credential>[^,\s]+),\s*"
    r"SignedHeaders=(?P<signed>[^,\s]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_UNRESERVED = "-_.~"
_LINK_NAMES = frozenset({"AWSAccessKeyId", "Signature", "Expires", "x-amz-security-token"})
"""What a link by version 2 has in its query besides the names that are signed."""
_FORM = "application/x-www-form-urlencoded"
"""The body of a request to a service that is called by `Action`, which S3 never is."""


class RefusedError(Exception):
    """The request is not let in; says why."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is signed of a request, as it came over the wire."""

    method: str
    path: str
    """Percent-encoded, without the query."""
    query: str
    headers: Mapping[str, str]
    """Names in lower case; the values of a repeated one joined by commas."""

    @property
    def pairs(self) -> Sequence[tuple[str, str]]:
        """The query's names and values, decoded, in their order."""
        parts = (part.partition("=") for part in self.query.split("&") if part)
        return [(unquote(name), unquote(value)) for name, _, value in parts]


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A signature of version 4, and what it says of itself."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: Sequence[str]
    signature: str
    signed_at: str
    """As YYYYMMDDTHHMMSSZ."""
    payload: str | None
    """The body's hash as declared; None where the body has to be hashed."""
    link_s: int | None
    """For how long a presigned link is good; None for a signature in the headers."""

    @property
    def scope(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, kw_only=True)
class Signatures:
    """Knows the stack's own signatures from all others."""

    access_key: str
    secret_key: str
    clock: Callable[[], float] = time.time

    def needs_body(self, request: Request) -> bool:
        """Whether `require_own` has to be given the body: S3 alone says its hash in a header.

        Raises RefusedError where no body could make the signature good, so that none is read for a stranger.
        """
        if _is_version_2(request):
            return False
        return self._claim(request).payload is None

    def require_own(self, request: Request, body: bytes = b"") -> None:
        """Raises RefusedError where the request is not signed with this stack's secret, or not at this time."""
        if is_link(request) and request.headers.get("content-type", "").lower().startswith(_FORM):
            raise RefusedError("a link is good for an object, and calls no action")
        if _is_version_2(request):
            self._require_version_2(request)
            return
        claim = self._claim(request)
        payload = claim.payload or hashlib.sha256(body).hexdigest()
        declared = request.headers.get("x-amz-content-sha256", payload)
        if declared != payload:
            raise RefusedError("the body is not the one that was signed")
        expected = [self._version_4(request, claim, path, payload) for path in _paths(request, claim)]
        if not any(hmac.compare_digest(one, claim.signature) for one in expected):
            raise RefusedError("the signature was not made with this stack's secret key")

    def _claim(self, request: Request) -> Claim:
        """Raises RefusedError where it cannot be one of ours."""
        claim = _claim(request)
        self._require_key(claim.access_key)
        self._require_time(claim)
        if stray := _unsigned(request, claim):
            raise RefusedError(f"headers are not signed: {', '.join(stray)}")
        return claim

    def _require_key(self, access_key: str) -> None:
        if access_key != self.access_key:
            raise RefusedError("the request is not signed with this stack's access key")

    def _require_time(self, claim: Claim) -> None:
        try:
            signed_at = datetime.strptime(claim.signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        except ValueError:
            raise RefusedError("the request does not say when it was signed") from None
        if not claim.signed_at.startswith(claim.date):
            raise RefusedError("the request names two different days of its signing")
        age_s = self.clock() - signed_at
        if not -SKEW_S <= age_s <= (SKEW_S if claim.link_s is None else claim.link_s):
            raise RefusedError("the signature is too old, or of a time that is still to come")

    def _version_4(self, request: Request, claim: Claim, path: str, payload: str) -> str:
        query = sorted((_encoded(name), _encoded(value)) for name, value in request.pairs if name != "X-Amz-Signature")
        canonical = "\n".join(
            [
                request.method,
                path,
                "&".join(f"{name}={value}" for name, value in query),
                *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in claim.signed_headers),
                "",
                ";".join(claim.signed_headers),
                payload,
            ]
        )
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        key = f"AWS4{self.secret_key}".encode()
        for part in claim.scope.split("/"):
            key = _hmac(key, part)
        return _hmac(key, "\n".join([_ALGORITHM, claim.signed_at, claim.scope, digest])).hex()

    def _require_version_2(self, request: Request) -> None:
        from botocore.auth import HmacV1Auth
        from botocore.compat import HTTPHeaders, urlsplit
        from botocore.credentials import Credentials

        pairs = dict(request.pairs)
        self._require_key(pairs["AWSAccessKeyId"])
        expires = pairs.get("Expires", "")
        if not expires.isdecimal() or not 0 <= int(expires) - self.clock() <= LINK_S:
            raise RefusedError("the link has expired, or does not say when it will")
        headers: Any = HTTPHeaders.from_dict(request.headers)
        signer = HmacV1Auth(Credentials(self.access_key, self.secret_key))
        if stray := set(pairs) - _LINK_NAMES - set(signer.QSAOfInterest):
            raise RefusedError(f"the link does not sign {', '.join(sorted(stray))}")
        lines = [request.method, headers.get("content-md5", ""), headers.get("content-type", ""), expires]
        custom = signer.canonical_custom_headers(headers)
        resource = signer.canonical_resource(urlsplit(f"{request.path}?{request.query}"))
        expected = signer.sign_string("\n".join([*lines, *([custom] if custom else []), resource]))
        if not hmac.compare_digest(expected, pairs.get("Signature", "")):
            raise RefusedError("the signature was not made with this stack's secret key")


def is_link(request: Request) -> bool:
    """Is it signed in its query, as whoever was given it may send it? Links are to objects of S3."""
    return "authorization" not in request.headers


def _is_version_2(request: Request) -> bool:
    return "authorization" not in request.headers and "AWSAccessKeyId" in dict(request.pairs)


def _claim(request: Request) -> Claim:
    """What the request says of its signature of version 4. Raises RefusedError where it has none."""
    if "authorization" in request.headers:
        found = _AUTHORIZATION.fullmatch(request.headers["authorization"].strip())
        words = found.groupdict() if found else {}
        signed_at, link = request.headers.get("x-amz-date", ""), None
    else:
        pairs = dict(request.pairs)
        names = {"credential": "X-Amz-Credential", "signed": "X-Amz-SignedHeaders", "signature": "X-Amz-Signature"}
        is_ours = pairs.get("X-Amz-Algorithm") == _ALGORITHM
        words = {key: pairs.get(name, "") for key, name in names.items()} if is_ours else {}
        signed_at, link = pairs.get("X-Amz-Date", ""), pairs.get("X-Amz-Expires", "")
    credential = words.get("credential", "").split("/")
    if len(credential) != 5 or credential[4] != "aws4_request":
        raise RefusedError("the request is not signed with this stack's access key")
    if link is not None and not (link.isdecimal() and 0 < int(link) <= LINK_S):
        raise RefusedError("the link does not say for how long it is good")
    signed = words["signed"].split(";")
    if "host" not in signed:
        raise RefusedError("the Host header is not signed")
    access_key, date, region, service, _ = credential
    return Claim(
        access_key=access_key,
        date=date,
        region=region,
        service=service,
        signed_headers=signed,
        signature=words["signature"],
        signed_at=signed_at,
        payload=_declared(request, service, is_link=link is not None),
        link_s=None if link is None else int(link),
    )


def _declared(request: Request, service: str, *, is_link: bool) -> str | None:
    """S3's clients sign what this header says (a hash, UNSIGNED-PAYLOAD, STREAMING-…), and a link signs no body."""
    if service != "s3":
        return None
    return request.headers.get("x-amz-content-sha256", _UNSIGNED if is_link else None)


def _unsigned(request: Request, claim: Claim) -> list[str]:
    """As AWS refuses them: who was given a presigned link must not make another request of it (X-Amz-Target)."""
    return sorted(name for name in request.headers if name.startswith("x-amz-") and name not in claim.signed_headers)


def _paths(request: Request, claim: Claim) -> Sequence[str]:
    """The path as it may have been signed: S3's as sent, by whichever rules it was encoded; others' encoded again."""
    if claim.service == "s3":
        return sorted({request.path, quote(unquote(request.path), safe=f"/{_UNRESERVED}")})
    return [quote(request.path, safe=f"/{_UNRESERVED}")]


def _encoded(text: str) -> str:
    return quote(text, safe=_UNRESERVED)


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.new(key, text.encode(), hashlib.sha256).digest()
