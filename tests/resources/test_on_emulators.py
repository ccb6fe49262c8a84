"""Every kind keeps the contract of kinds in the local target's emulators too, where answers differ in their details."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest
from tests.resources.contract import Contract, Stacks

from gpupipe.aws import Aws
from gpupipe.local import emulators
from gpupipe.names import Stack

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def local_clients(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aws]:
    with emulators.running(tmp_path_factory.mktemp("emulators")) as local:
        account = local.account
        yield Aws(
            stack=Stack(name="none", environment="dev", account=account.account_id, region=account.region),
            endpoints=local.endpoints,
            credentials={"aws_access_key_id": account.access_key, "aws_secret_access_key": account.secret_key},
        )


class TestOnEmulators(Contract):
    """See `Contract`. The account stays, so every test has stacks of its own."""

    @pytest.fixture
    def stacks(self, local_clients: Aws) -> Stacks:
        mine = replace(local_clients.stack, name=f"demo{next(_numbers)}", extra_tags=(("team", "fields"),))
        return Stacks(mine=mine, other=replace(mine, name=mine.id, environment="x", extra_tags=()))

    @pytest.fixture
    def aws(self, local_clients: Aws, stacks: Stacks) -> Iterator[Aws]:
        local_clients.stack = stacks.mine
        yield local_clients
        local_clients.gate = None
