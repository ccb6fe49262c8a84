import asyncio
import http.client
from collections.abc import Callable
from typing import Any

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from tests.local.clients import Client, client_of

from gpupipe.local import gate
from gpupipe.local.emulators import Account, Emulators
from gpupipe.local.gate import BODY_MAX_BYTES, Gate, Receive

ACCOUNT = Account(account_id="123456789012", secret_key="nobody knows", region="us-east-1")


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers 299 and what it was sent."""
    message = await receive()
    await send({"type": "http.response.start", "status": 299, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def answer_of(
    path: str = "/bucket",
    *,
    service: str = "s3",
    method: str = "GET",
    body: bytes = b"",
    secret: str = ACCOUNT.secret_key,
    received: bytes | None = None,
    **headers: str,
) -> tuple[int, bytes]:
    """Status and body that a gate on port 4566 answers; the headers given come after signing."""
    sent: list[Any] = []
    request = AWSRequest(method=method, url=f"http://127.0.0.1:4566{path}", data=body)
    kind = S3SigV4Auth if service == "s3" else SigV4Auth
    kind(Credentials(ACCOUNT.access_key, secret), service, ACCOUNT.region).add_auth(request)
    changed = {name.replace("_", "-"): value for name, value in headers.items()}
    wire = {"host": "127.0.0.1:4566", **{k.lower(): v for k, v in request.prepare().headers.items()}, **changed}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in wire.items() if value],
    }
    parts = [body if received is None else received]

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": parts.pop() if parts else b"", "more_body": False}

    asyncio.run(Gate(echo, port=4566, signatures=ACCOUNT.signatures)(scope, receive, send))
    return int(sent[0]["status"]), sent[1]["body"]


@pytest.mark.parametrize("service", ["s3", "sqs"])
def test_signed_request_to_this_address_passes_with_its_body(service: str) -> None:
    assert answer_of(service=service, method="POST", body=b"all of it") == (299, b"all of it")


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
        {"authorization": f"Basic {ACCOUNT.access_key}"},
        {"x_amz_target": "AWSLambda.CreateFunction"},
    ],
)
def test_foreign_host_web_page_and_stranger_are_refused(headers: dict[str, str]) -> None:
    assert answer_of(**headers)[0] == 403


@pytest.mark.parametrize("service", ["s3", "sqs", "lambda"])
def test_who_knows_the_account_number_alone_is_refused(service: str) -> None:
    assert answer_of(service=service, secret="wrong")[0] == 403


def test_a_body_other_than_the_one_signed_is_refused() -> None:
    assert answer_of(service="lambda", method="POST", body=b"code", received=b"other code")[0] == 403


def test_no_more_is_read_than_any_request_has() -> None:
    status, told = answer_of(service="lambda", method="POST", received=bytes(BODY_MAX_BYTES + 1))
    assert status == 403
    assert str(BODY_MAX_BYTES).encode() in told


def never_ending(said: bytes) -> Receive:
    """A body of which no more comes than this."""
    parts = [said]

    async def receive() -> Any:
        if not parts:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": parts.pop(), "more_body": True}

    return receive


def test_bodies_on_trust_hold_so_much_memory_together_and_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    # given strangers who know the account's number, and begin bodies that never end
    monkeypatch.setattr(gate, "ON_TRUST_MAX_BYTES", 100)
    monkeypatch.setattr(gate, "BODY_S", 0.05)
    own = Gate(echo, port=4566, signatures=ACCOUNT.signatures)

    async def at_once() -> list[Any]:
        return await asyncio.gather(*(own._body(never_ending(bytes(40))) for _ in range(4)), return_exceptions=True)

    # then what is too much is refused at once, and the rest in time, and nothing of either is held
    refusals = sorted(str(one) for one in asyncio.run(at_once()))
    assert [text.partition(" ")[2].split(",")[0] for text in refusals] == [
        *["body did not come within 0 s"] * 2,
        *[f"body is larger than {BODY_MAX_BYTES} bytes"] * 2,
    ]
    assert own._on_trust == 0


@pytest.mark.parametrize("path", ["/_ministack/reset", "/_localstack/health", "/moto-api/reset"])
def test_administration_is_closed_even_to_us(path: str) -> None:
    assert answer_of(path, method="POST")[0] == 403


def test_readiness_is_told_without_credential_but_not_to_web_pages() -> None:
    assert answer_of("/_gpupipe/ready", authorization="")[0] == 200
    assert answer_of("/_gpupipe/ready", authorization="", origin="https://evil.example")[0] == 403


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


ATTACKS: dict[str, Callable[[Any], Any]] = {
    "s3": lambda client: client.list_buckets(),
    "sqs": lambda client: client.list_queues(),
    "dynamodb": lambda client: client.list_tables(),
    "lambda": lambda client: client.list_functions(),
    "secretsmanager": lambda client: client.list_secrets(),
    "ec2": lambda client: client.describe_vpcs(),
    "iam": lambda client: client.list_roles(),
    "sagemaker": lambda client: client.list_endpoints(),
    "sns": lambda client: client.list_topics(),
    "autoscaling": lambda client: client.describe_auto_scaling_groups(),
    "cloudwatch": lambda client: client.describe_alarms(),
    "logs": lambda client: client.describe_log_groups(),
}


@pytest.mark.parametrize("service", ATTACKS)
def test_no_service_answers_who_has_not_the_secret(local: Emulators, service: str) -> None:
    # given what anybody may know of a stack: its ports, and its account's number
    stranger = Account(account_id=local.account.account_id, secret_key="wrong", region=local.account.region)
    # then the owner is answered, and the other told why not, in words that the SDK understands
    ATTACKS[service](client_of(local.account, local.endpoints, service, attempts=1))
    with pytest.raises(ClientError, match=r"AccessDenied.*secret key"):
        ATTACKS[service](client_of(stranger, local.endpoints, service, attempts=1))
