"""The emulators, and on them a station and a container, for tests of the worker's entries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gpuworker.serving.container import Container
from tests.gpuworker.station import Station

from gpupipe.local import emulators
from gpupipe.local.emulators import Emulators


@pytest.fixture(scope="session")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Emulators]:
    with emulators.running(tmp_path_factory.mktemp("emulators")) as running:
        yield running


@pytest.fixture
def station(local: Emulators, tmp_path: Path) -> Iterator[Station]:
    station = Station(local=local, folder=tmp_path / "machine")
    yield station
    station.close()


@pytest.fixture
def container(station: Station) -> Iterator[Container]:
    container = Container(station)
    yield container
    container.close()
