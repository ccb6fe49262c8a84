"""Five storms in one stack: nothing lost, double or half-written, exact counts, one job, nothing stands still for long.

A hundred of them, each in a stack of its own, are `make soak`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Person, settle, standing
from tests.soak.growth import memory, pass_through
from tests.soak.play import PIPELINES, play
from tests.soak.storm import CLI, KINDS, During, round_of, seeds

pytestmark = pytest.mark.exhaustive
SEEDS = seeds(9, 5)
"""The first five that reach every kind of victim, and a command in every part of a job."""
IMAGES = 200


@pytest.fixture(scope="module")
def stormed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose stack is up for all five."""
    with standing(settle(tmp_path_factory.mktemp("storm"), name="storm", pipelines=PIPELINES)) as person:
        yield person


def test_they_reach_all_there_is() -> None:
    blows = [blow for seed in SEEDS for blow in round_of(seed).blows]
    assert all(any(blow.victim in names for blow in blows) for names in KINDS.values())
    assert {blow.during for blow in blows if blow.victim == CLI} == set(During)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_round_is_good(stormed: Person, seed: int) -> None:
    told: list[str] = []
    played = play(stormed, round_of(seed), images=IMAGES, report=told.append)
    assert played.faults == [], "\n".join([*told, *played.failures])


def test_growth_is_seen_of_every_process(stormed: Person) -> None:
    pass_through(stormed, 1, 20)
    found = memory(stormed)
    assert {name.split()[0] for name in found} >= {"ministack", "moto", "supervisor", "machine", "worker", "guard"}
    assert all(mb > 1 for mb in found.values())
