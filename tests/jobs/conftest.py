"""A desk for each test, and work for those who look at what came of a job."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.jobs.crew import Crew
from tests.jobs.desk import Desk, a_desk, a_photo
from tests.jobs.finished_work import Work, clients_of, some_work

from gpupipe.aws import Aws
from gpupipe.local.emulators import Emulators

_numbers = itertools.count(1)


@pytest.fixture
def desk(emulated: Emulators) -> Desk:
    """A pipeline of its own, in the emulators."""
    return a_desk(emulated, f"desk{next(_numbers)}")


@pytest.fixture
def served_desk(emulated: Emulators) -> Desk:
    """The same, with an endpoint."""
    return a_desk(emulated, f"served{next(_numbers)}", kind="endpoint")


@pytest.fixture
def crew(desk: Desk) -> Crew:
    return Crew(desk=desk)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of three photographs."""
    for name in "abc":
        a_photo(tmp_path / f"images/{name}.jpg")
    return tmp_path / "images"


@pytest.fixture(scope="session")
def clients(emulated: Emulators) -> Aws:
    return clients_of(emulated)


@pytest.fixture
def work(clients: Aws) -> Work:
    """A pipeline's bucket and ledger of its own, to be filled with jobs as workers leave them."""
    return some_work(clients, f"work{next(_numbers)}")
