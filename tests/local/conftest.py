"""Emulators for the tests of the local target."""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.clients import Client, client_of
from tests.local.containers import write_container_python
from tests.local.runners.sagemaker.rig import Rig
from tests.local.stacks import Stack
from tests.local.stand_in import write_config, write_worker_python

from gpupipe.local import emulators
from gpupipe.local.emulators import Account, Emulators, Substitute, bound_socket
from gpupipe.local.runners.sagemaker.runner import SageMakerRunner as Runner
from gpupipe.local.runners.sagemaker.runtime_server import RuntimeServer
from gpupipe.local.state import Folder


@pytest.fixture(scope="session")
def local(emulated: Emulators) -> Emulators:
    """Both emulators, without supervisor or runners; what tests make there has names that no other uses."""
    return emulated


@pytest.fixture(scope="session")
def client(local: Emulators) -> Client:
    """service -> boto3 client of the emulators."""

    @functools.cache
    def make(service: str) -> Any:
        return client_of(local.account, local.endpoints, service)

    return make


@pytest.fixture
def worker_python(tmp_path: Path) -> Path:
    """A stand-in for the Python that runs the worker."""
    return write_worker_python(tmp_path)


@pytest.fixture
def config_file(tmp_path: Path) -> Path:
    """A gpupipe.toml whose machines run the stand-in worker."""
    return write_config(tmp_path)


@pytest.fixture
def stack(config_file: Path) -> Iterator[Stack]:
    """A target that is not there yet."""
    stack = Stack(config_file)
    yield stack
    stack.stop()


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """One target for all tests that need a whole one: to start it takes four seconds of processor time."""
    stack = Stack(write_config(tmp_path_factory.mktemp("shared")))
    yield stack
    stack.stop()


@pytest.fixture
def running(shared: Stack) -> Stack:
    """A target that runs and holds nothing of other tests, whatever they did to it."""
    shared.up()
    shared.clear()
    return shared


@pytest.fixture(scope="session")
def hosted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RuntimeServer, Emulators]]:
    """Emulators whose endpoints are in service when a runner says so, and sagemaker-runtime."""
    account = Account.new("us-east-1")
    server = RuntimeServer(bound_socket(0), signatures=account.signatures)
    folder = tmp_path_factory.mktemp("hosted")
    played = Substitute(port=server.port, services=Runner.serves, environment=Runner.emulator_environment)
    with emulators.running(folder, account=account, substitutes=[played]) as running:
        yield server, running
    server.close()


@pytest.fixture(scope="session")
def hosted_client(hosted: tuple[RuntimeServer, Emulators]) -> Client:
    """service -> boto3 client of those emulators; a refusal is seen, not waited out."""
    local = hosted[1]

    @functools.cache
    def make(service: str) -> Any:
        return client_of(local.account, local.endpoints, service, attempts=1)

    return make


@pytest.fixture
def rig(tmp_path: Path, hosted: tuple[RuntimeServer, Emulators], hosted_client: Client) -> Iterator[Rig]:
    """A SageMaker runner on a disk of its own."""
    server, running = hosted
    folder = Folder(tmp_path / "stack")
    folder.create()
    rig = Rig(running, server, folder, write_container_python(tmp_path), hosted_client)
    yield rig
    rig.forget_endpoints()
    rig.runner.close()
