"""A desk for each test."""

from __future__ import annotations

import itertools

import pytest
from tests.jobs.desk import Desk, a_desk

from gpupipe.local.emulators import Emulators

_numbers = itertools.count(1)


@pytest.fixture
def desk(emulated: Emulators) -> Desk:
    """A pipeline of its own, in the emulators."""
    return a_desk(emulated, f"desk{next(_numbers)}")
