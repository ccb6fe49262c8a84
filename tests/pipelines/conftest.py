"""An account that lives in this process, by moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws

from gpupipe.aws import Aws
from gpupipe.local import moto_shims
from gpupipe.names import Stack

MOTOS = Stack(name="demo", environment="dev", account="123456789012", region="us-east-1")


@pytest.fixture(scope="session")
def clients() -> Aws:
    """The clients of all tests: making them takes longer than using them."""
    moto_shims.install()
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return Aws(stack=MOTOS, credentials=credentials)


@pytest.fixture
def aws(clients: Aws) -> Iterator[Aws]:
    """An empty account."""
    with mock_aws():
        yield clients
    clients.gate = None
