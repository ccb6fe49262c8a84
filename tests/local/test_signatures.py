"""Requests signed by botocore, with the right secret and a wrong one, as they are and changed on their way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gpupipe.local.signatures import LINK_S, SKEW_S, RefusedError, Request, Signatures

KEY, SECRET = "123456789012", "a secret that nobody knows"
ENDPOINT = "http://127.0.0.1:4566"
OWN = Signatures(access_key=KEY, secret_key=SECRET)


def wire(request: Any) -> Request:
    """As the gate sees what botocore would send."""
    address = urlsplit(request.url)
    headers = {name.lower(): value for name, value in request.headers.items()}
    headers.setdefault("host", address.netloc)
    return Request(method=request.method, path=address.path or "/", query=address.query, headers=headers)


def signed(
    path: str = "/", *, service: str = "sqs", body: bytes = b"", secret: str = SECRET, method: str = "POST", **more: str
) -> Request:
    request = AWSRequest(method=method, url=f"{ENDPOINT}{path}", data=body, headers=dict(more))
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    kind(Credentials(KEY, secret), service, "us-east-1").add_auth(request)
    return wire(request.prepare())


def link(version: str, *, secret: str = SECRET, expires_s: int = 600, key: str = "a key/ä+b.jpg") -> Request:
    """A presigned GET."""
    client = boto3.client(
        "s3",
        aws_access_key_id=KEY,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        endpoint_url=ENDPOINT,
        config=Config(signature_version=version, s3={"addressing_style": "path"}),
    )
    url = client.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": key}, ExpiresIn=expires_s)
    address = urlsplit(url)
    return Request(method="GET", path=address.path, query=address.query, headers={"host": address.netloc})


def refusal(request: Request, body: bytes = b"", by: Signatures = OWN) -> str:
    """Why not, or ""."""
    try:
        by.require_own(request, body)
    except RefusedError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("service", ["sqs", "lambda", "ec2", "iam", "sagemaker", "secretsmanager", "s3"])
def test_the_right_secret_passes_and_a_wrong_one_does_not(service: str) -> None:
    own = signed("/2015/functions/arn%3Aaws?b=2&a=1&a=0&c", service=service, body=b"{}")
    assert refusal(own, b"{}") == ""
    stranger = signed("/2015/functions/arn%3Aaws?b=2&a=1&a=0&c", service=service, body=b"{}", secret="wrong")
    assert "secret key" in refusal(stranger, b"{}")


@given(
    key=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    value=st.text(st.characters(codec="utf-8", exclude_characters="\0")),
)
def test_any_key_and_query_of_s3_passes(key: str, value: str) -> None:
    path = quote(f"/bucket/{key}", safe="/~")
    assert refusal(signed(f"{path}?prefix={quote(value, safe='-_.~')}", service="s3", method="GET")) == ""


CHANGES: dict[str, Callable[[Request], Request]] = {
    "method": lambda one: replace(one, method="DELETE"),
    "path": lambda one: replace(one, path="/other"),
    "query": lambda one: replace(one, query="Action=Other"),
    "host": lambda one: replace(one, headers={**one.headers, "host": "127.0.0.1:1"}),
    "a header that was not signed": lambda one: replace(one, headers={**one.headers, "x-amz-target": "AWSLambda"}),
    "a header that was": lambda one: replace(one, headers={**one.headers, "x-amz-date": _now(-1)}),
}


def _now(shift_s: float) -> str:
    return datetime.fromtimestamp(datetime.now(UTC).timestamp() + shift_s, UTC).strftime("%Y%m%dT%H%M%SZ")


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_changed_after_signing_is_refused(change: str) -> None:
    assert refusal(CHANGES[change](signed("/queue?Action=Send", body=b"x")), b"x")


def test_another_body_is_refused_but_of_s3_whose_declared_hash_is_signed() -> None:
    queue, stored = signed(body=b"a message"), signed("/bucket/key", service="s3", body=b"bytes", method="PUT")
    assert OWN.needs_body(queue)
    assert "secret key" in refusal(queue, b"another")
    assert not OWN.needs_body(stored)
    changed = {**stored.headers, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    assert "secret key" in refusal(replace(stored, headers=changed))


@pytest.mark.parametrize("kind", ["UNSIGNED-PAYLOAD", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"])
def test_s3_may_sign_that_it_does_not_sign_the_body(kind: str) -> None:
    request = AWSRequest(method="PUT", url=f"{ENDPOINT}/b/k", data=b"x", headers={"X-Amz-Content-SHA256": kind})
    auth = S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1")
    auth.payload = lambda _: kind  # type: ignore[method-assign]
    auth.add_auth(request)
    own = wire(request.prepare())
    assert own.headers["x-amz-content-sha256"] == kind
    assert refusal(own) == ""


@pytest.mark.parametrize(("shift_s", "passes"), [(0, True), (SKEW_S - 5, True), (SKEW_S + 5, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_signature_is_good_for_five_minutes_around_its_time(shift_s: int, passes: bool, sign: int) -> None:
    request = signed()
    now = datetime.now(UTC).timestamp()
    later = Signatures(access_key=KEY, secret_key=SECRET, clock=lambda: now + sign * shift_s)
    assert (refusal(request, by=later) == "") is passes


@pytest.mark.parametrize("version", ["s3v4", "s3"])
class TestLinks:
    def test_one_of_ours_passes_for_its_time(self, version: str) -> None:
        own, now = link(version), datetime.now(UTC).timestamp()
        assert refusal(own) == ""
        for shift_s, passes in ((590, True), (605, False)):
            later = Signatures(access_key=KEY, secret_key=SECRET, clock=lambda at=now + shift_s: at)  # type: ignore[misc]
            assert (refusal(own, by=later) == "") is passes

    def test_one_by_another_secret_does_not(self, version: str) -> None:
        assert "secret key" in refusal(link(version, secret="wrong"))

    @pytest.mark.parametrize(
        "change",
        [
            lambda one: replace(one, method="PUT"),
            lambda one: replace(one, path="/bucket/other"),
            lambda one: replace(one, headers={**one.headers, "x-amz-target": "DynamoDB_20120810.Scan"}),
            lambda one: replace(one, query=one.query.replace("Signature=", "Signature=0")),
            lambda one: replace(one, query=one.query.replace(KEY, "999999999999")),
        ],
    )
    def test_it_is_good_for_nothing_else(self, version: str, change: Callable[[Request], Request]) -> None:
        assert refusal(change(link(version)))

    def test_it_cannot_be_made_to_last(self, version: str) -> None:
        own = link(version)
        name = "X-Amz-Expires=" if version == "s3v4" else "Expires="
        head, _, rest = own.query.partition(name)
        longer = replace(own, query=f"{head}{name}{LINK_S + 10**9}{rest[rest.find('&') :] if '&' in rest else ''}")
        assert refusal(longer)


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        f"Basic {KEY}",
        f"AWS {KEY}:c2lnbmF0dXJl",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3, SignedHeaders=host, Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=date, "
        f"Signature={'0' * 64}",
        f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, "
        f"Signature={'0' * 64}",
    ],
)
def test_words_in_the_place_of_a_signature_are_none(authorization: str) -> None:
    headers = {"host": "127.0.0.1:4566"} | ({"authorization": authorization} if authorization else {})
    request = Request(method="GET", path="/", query="", headers=headers)
    assert refusal(request)
    with pytest.raises(RefusedError):
        OWN.needs_body(request)


def test_a_link_does_not_excuse_a_wrong_header() -> None:
    own = link("s3v4")
    wrong = signed("/bucket", service="s3", secret="wrong").headers["authorization"]
    assert refusal(replace(own, headers={**own.headers, "authorization": wrong}))


@pytest.mark.parametrize("query", ["Action=ListQueues", "QueueUrl=x", "X=1", "Action=Subscribe&Endpoint=http://x"])
def test_a_link_by_version_2_takes_no_name_that_it_does_not_sign(query: str) -> None:
    own = link(version="s3")
    assert refusal(own) == ""
    assert "does not sign" in refusal(replace(own, query=f"{own.query}&{query}"))


@pytest.mark.parametrize("version", ["s3", "s3v4"])
def test_a_link_brings_no_form_along(version: str) -> None:
    own = link(version=version)
    form = {**own.headers, "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    assert refusal(own) == ""
    assert "calls no action" in refusal(replace(own, headers=form))
