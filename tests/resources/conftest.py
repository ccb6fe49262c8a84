"""An account that lives in this process, by moto."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moto import mock_aws
from tests.ticking import TickingClock

from gpupipe.aws import Aws
from gpupipe.names import Stack

pytest.register_assert_rewrite("tests.resources.contract")

from tests.resources.contract import Stacks  # noqa: E402 - its assertions tell more when registered before

ACCOUNT, REGION = "123456789012", "us-east-1"  # moto's


def stacks_in(account: str) -> Stacks:
    return Stacks(
        mine=Stack(name="demo", environment="dev", account=account, region=REGION, extra_tags=(("team", "fields"),)),
        other=Stack(name="demo-dev", environment="x", account=account, region=REGION),
    )


@pytest.fixture(scope="session")
def clients(mended_moto: None) -> Aws:
    """The clients of all tests: making them takes longer than using them."""
    credentials = {"aws_access_key_id": "testing", "aws_secret_access_key": "testing"}
    return Aws(stack=stacks_in(ACCOUNT).mine, credentials=credentials)


@pytest.fixture
def stacks() -> Stacks:
    return stacks_in(ACCOUNT)


@pytest.fixture
def aws(clients: Aws) -> Iterator[Aws]:
    """An empty account."""
    clients.clock = TickingClock()
    with mock_aws():
        yield clients
    clients.gate = None
