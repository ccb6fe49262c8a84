"""On the emulators a station and a container, for tests of the worker's entries."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.gpuworker.entries.serving.container import Container
from tests.gpuworker.station import Station

from gpupipe.local.emulators import Emulators


@pytest.fixture
def station(emulated: Emulators, tmp_path: Path) -> Iterator[Station]:
    station = Station(local=emulated, folder=tmp_path / "machine")
    yield station
    station.close()


@pytest.fixture
def container(station: Station) -> Iterator[Container]:
    container = Container(station)
    yield container
    container.close()
