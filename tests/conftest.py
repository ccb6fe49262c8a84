"""The emulators, started once for all tests that need an account."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from gpupipe.local import emulators
from gpupipe.local.emulators import Emulators
from tests.account import Account

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Both emulators, without supervisor or machine room."""
    with emulators.running(tmp_path_factory.mktemp("account")) as running:
        yield running


@pytest.fixture
def new_account(emulated: Emulators) -> Callable[[], Account]:
    """Makes stacks that never share a name, in one emulated account."""
    return lambda: Account.in_emulators(emulated, f"stack{next(_numbers)}")


@pytest.fixture
def account(new_account: Callable[[], Account]) -> Account:
    return new_account()
