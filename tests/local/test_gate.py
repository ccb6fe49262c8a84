import asyncio
import http.client
from typing import Any

import pytest
from tests.local.clients import Client

from gpupipe.local.emulators import Emulators
from gpupipe.local.gate import Gate

KEY = "123456789012"
SIGNED = f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"


async def passed_on(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def status_of(path: str = "/bucket", query: str = "", method: str = "GET", **headers: str) -> int:
    """The status a gate on port 4566 answers."""
    sent: list[Any] = []
    wire = {"host": "127.0.0.1:4566", "authorization": SIGNED, **headers}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in wire.items() if value],
    }

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        raise AssertionError("the gate reads no bodies")

    asyncio.run(Gate(passed_on, port=4566, access_key=KEY)(scope, receive, send))
    return int(sent[0]["status"])


def test_signed_request_to_this_address_passes() -> None:
    assert status_of() == 299
    assert status_of(host="localhost:4566") == 299


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:4566"},
        {"host": "127.0.0.1:4567"},
        {"host": "127.0.0.1"},
        {"host": "bucket.s3.localhost:4566"},
        {"host": ""},
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "none"},
        {"authorization": ""},
        {"authorization": SIGNED.replace(KEY, "999999999999")},
        {"authorization": f"Basic {KEY}"},
    ],
)
def test_foreign_host_web_page_and_stranger_are_refused(headers: dict[str, str]) -> None:
    assert status_of(**headers) == 403


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_localstack/health", "/moto-api/reset"])
def test_administration_is_closed_even_to_us(path: str) -> None:
    assert status_of(path, method="POST") == 403


@pytest.mark.parametrize("query", [f"X-Amz-Credential={KEY}%2F20260101%2Fus-east-1", f"a=b&AWSAccessKeyId={KEY}&c=d"])
def test_presigned_request_passes(query: str) -> None:
    assert status_of(query=query, authorization="") == 299


def test_presigned_request_of_a_stranger_is_refused() -> None:
    assert status_of(query="X-Amz-Credential=999999999999%2F20260101", authorization="") == 403


def test_presigned_key_does_not_excuse_a_wrong_signature_header() -> None:
    stranger = SIGNED.replace(KEY, "999999999999")
    assert status_of(query=f"X-Amz-Credential={KEY}%2F20260101", authorization=stranger) == 403


def test_readiness_is_told_without_credential_but_not_to_web_pages() -> None:
    assert status_of("/_gpupipe/ready", authorization="") == 200
    assert status_of("/_gpupipe/ready", authorization="", origin="https://evil.example") == 403


@pytest.mark.parametrize("service", ["default", "ec2"])
@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "https://evil.example"}, {}])
def test_both_emulators_stand_behind_the_gate(local: Emulators, service: str, headers: dict[str, str]) -> None:
    # given a request as a web page, a rebound name or another user of the machine would send it
    connection = http.client.HTTPConnection(local.endpoints[service].removeprefix("http://"), timeout=5)
    # when it is sent
    connection.request("GET", "/", headers=headers)
    # then
    assert connection.getresponse().status == 403
    connection.close()


def test_what_boto3_signs_passes(client: Client) -> None:
    assert client("s3").list_buckets()["Buckets"] is not None
    assert client("ec2").describe_vpcs()["Vpcs"]
