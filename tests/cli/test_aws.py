"""Target "aws" without credentials, and without permission: every command says what is missing, and no traceback."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.cli.conftest import Types

COMMANDS = [
    *("plan", "up --yes", "status", "down --yes", "submit images --project p", "run images --project p", "watch"),
    *("fetch", "fetch --project p", "jobs", "cancel J", "retry J --failed", "logs", "start", "stop"),
    *("dlq list", "dlq redrive", "dlq purge --yes"),
    "submit s3://mine-dev-segment-data-123456789012-us-east-1/incoming/p/",
]
OPENING = {"plan", "status", "submit images --project p", "fetch", "logs", "dlq list"}
"""One a module of commands: without credentials all end where they open the stack."""
CALLER = b"""<GetCallerIdentityResponse><GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/ada</Arn>
<UserId>A</UserId><Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"""
DENIED_XML = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
DENIED_S3 = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
DENIED_JSON = b'{"__type": "AccessDeniedException", "message": "no", "Message": "no"}'


class Denying(BaseHTTPRequestHandler):
    """An AWS that knows who is calling and allows nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if b"GetCallerIdentity" in body:
            self.answer(200, CALLER)
        else:
            self.answer(403, DENIED_XML if body.startswith(b"Action=") else DENIED_JSON)

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(403, DENIED_S3)

    do_PUT = do_DELETE = do_GET  # noqa: N815

    def do_HEAD(self) -> None:
        self.answer(403, b"")

    def answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quietly."""


@pytest.fixture(scope="module")
def denying() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Denying)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def on_aws(types: Types, folder: Path) -> Path:
    assert types("init", "--target", "aws", "--name", "mine").code == 0
    (folder / "images").mkdir()
    (folder / "images" / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    return folder


@pytest.mark.parametrize(
    "command", [pytest.param(one, marks=[] if one in OPENING else [pytest.mark.exhaustive]) for one in COMMANDS]
)
def test_without_credentials(types: Types, on_aws: Path, command: str) -> None:
    shown = types(*command.split(), "--json")
    assert shown.code == 1
    assert shown.document["error"]["type"] == "CredentialsError"
    for remedy in ("aws configure", "AWS_PROFILE", 'target = "local"'):
        assert remedy in shown.err


@pytest.mark.parametrize("command", COMMANDS)
def test_without_permission(
    types: Types, on_aws: Path, denying: str, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", denying)
    shown = types(*command.split())
    assert shown.code == 1
    assert "could not " in shown.err
    assert "Allow " in shown.err
    assert "mistake in gpupipe" not in shown.err


def test_a_profile_that_does_not_exist(types: Types, on_aws: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    shown = types("plan")
    assert shown.code == 1
    assert "aws configure list-profiles" in shown.err
