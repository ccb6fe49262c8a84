"""The AWS CLI, version 1, as a client of the local target: what reaches it, and what goes elsewhere."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.recording import recording

from gpupipe.local import emulators
from gpupipe.local.emulators import Account, Emulators

AWS = Path(sys.executable).with_name("aws")


@pytest.fixture
def proxy() -> Iterator[tuple[str, list[str]]]:
    """Where everything goes that does not stay on this machine, and the hosts that were asked for; nothing goes on."""
    with recording() as server:
        yield server


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port where nobody listens, and nobody else will."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])


def types(*arguments: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    quick = {"AWS_MAX_ATTEMPTS": "1", "AWS_PAGER": "", **environment}
    return subprocess.run([str(AWS), *arguments], env=quick, capture_output=True, text=True, timeout=120)


def test_it_asks_aws_itself_for_sqs_and_for_nothing_else(proxy: tuple[str, list[str]], dead_port: int) -> None:
    # given all that `gpupipe local env` can say, to where nobody answers
    url, asked = proxy
    addresses = emulators.endpoints({"moto": dead_port, "ministack": dead_port})
    environment = emulators.environment(Account.new("us-east-1"), addresses)
    environment |= {"AWS_ENDPOINT_URL_SQS": addresses["default"], "HTTPS_PROXY": url, "HTTP_PROXY": url}
    # when services are asked
    for command in (("s3", "ls"), ("lambda", "list-functions"), ("secretsmanager", "list-secrets")):
        failed = types(*command, environment=environment)
        assert f"http://127.0.0.1:{dead_port}" in failed.stderr, failed
    assert asked == []
    types("sqs", "list-queues", environment=environment)
    # then one of them is AWS's own (if it is not any more, `gpupipe local env` need not warn of it)
    assert asked
    assert {host.partition(":")[0].removeprefix("us-east-1.") for host in asked} <= {
        "queue.amazonaws.com",
        "sqs.us-east-1.amazonaws.com",
    }
    # and not where it is told on its command line
    asked.clear()
    types("sqs", "list-queues", "--endpoint-url", addresses["default"], environment=environment)
    assert asked == []


@pytest.mark.exhaustive  # a second for each command; what botocore signs: test_gate.py, test_signatures.py
def test_what_it_signs_passes_the_gate_and_a_wrong_key_does_not(local: Emulators, tmp_path: Path) -> None:
    address = local.endpoints["default"]
    file = tmp_path / "file"
    file.write_bytes(os.urandom(9 * 2**20))  # in parts
    commands = [
        ("s3", "mb", "s3://aws-cli"),
        ("s3", "cp", str(file), "s3://aws-cli/a key+with=signs/ö.bin"),
        ("s3", "cp", "s3://aws-cli/a key+with=signs/ö.bin", str(tmp_path / "back")),
        ("s3api", "put-object", "--bucket", "aws-cli", "--key", "one", "--body", str(AWS)),
        ("lambda", "list-functions"),
        ("ec2", "describe-instances"),
        ("sqs", "list-queues", "--endpoint-url", address),
        ("s3", "rb", "--force", "s3://aws-cli"),
    ]
    for command in commands:
        done = types(*command, environment=local.environment)
        assert done.returncode == 0, done
    assert (tmp_path / "back").read_bytes() == file.read_bytes()
    wrong = {**local.environment, "AWS_SECRET_ACCESS_KEY": "wrong"}
    for command in (("s3", "ls"), ("lambda", "list-functions"), ("ec2", "describe-instances")):
        refused = types(*command, environment=wrong)
        assert refused.returncode != 0
        assert "the signature was not made with this stack's secret key" in refused.stderr, refused


def test_a_link_that_it_signs_is_good(local: Emulators) -> None:
    import urllib.error
    import urllib.request

    for command in (("s3", "mb", "s3://aws-cli-link"), ("s3", "cp", str(AWS), "s3://aws-cli-link/key")):
        assert types(*command, environment=local.environment).returncode == 0
    link = types("s3", "presign", "s3://aws-cli-link/key", environment=local.environment).stdout.strip()
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(link, timeout=20) as answer:
        assert answer.read() == AWS.read_bytes()
    with pytest.raises(urllib.error.HTTPError, match="403"):
        direct.open(link.replace("/key?", "/other?"), timeout=20)
