"""How the tests run, and the emulators, started once for all tests of a worker that need an account."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import is_hypothesis_test

from gpupipe.local import emulators
from gpupipe.local.emulators import Emulators
from tests import moto_in_process, process, properties, scheduling
from tests.account import Account

process.compute_in_one_thread()
process.heed_ctrl_c()
properties.register_profiles()

_numbers = itertools.count(1)


@pytest.hookimpl(tryfirst=True)  # before a plugin shuffles
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if is_hypothesis_test(getattr(item, "obj", None)):
            item.add_marker("property")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: scheduling.longest_first(item.nodeid))


def pytest_runtest_setup(item: pytest.Item) -> None:
    scheduling.check_stack(item)


def pytest_sessionfinish(session: pytest.Session) -> None:
    if hasattr(session.config, "workerinput"):
        process.ignore_ctrl_c()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    return scheduling.scheduler(config, log) if config.getoption("dist") == "loadgroup" else None


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: much of a test is waiting for other processes."""
    return min(max(2 * (os.cpu_count() or 1), 2), 8)


@pytest.fixture(scope="session", autouse=True)
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Which local targets are whose is noted here, and not in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    """Both emulators, without supervisor or runners."""
    with emulators.running(tmp_path_factory.mktemp("account")) as running:
        yield running


@pytest.fixture(scope="session")
def mended_moto() -> None:
    moto_in_process.mend()


@pytest.fixture(params=["in process", pytest.param("emulators", marks=pytest.mark.exhaustive)])
def new_account(request: pytest.FixtureRequest) -> Iterator[Callable[[], Account]]:
    """Makes stacks that never share a name, in one account: of moto in this process, or of the local target."""
    if request.param == "emulators":
        emulated: Emulators = request.getfixturevalue("emulated")
        yield lambda: Account.in_emulators(emulated, f"stack{next(_numbers)}")
    else:
        request.getfixturevalue("mended_moto")
        with moto_in_process.mocked():
            yield lambda: Account.in_process(f"stack{next(_numbers)}")


@pytest.fixture
def account(new_account: Callable[[], Account]) -> Account:
    return new_account()
