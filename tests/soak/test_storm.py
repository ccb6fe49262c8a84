"""What a seed decides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.soak.storm import BLOWS, CLI, COMMANDS, KINDS, ONLY_IN_WORK, Blow, During, due, round_of, seeds

WORK = During.WORK
SOME = 60
"""Rounds that reach everything at least once."""


@given(st.integers(0, 10**6))
def test_a_seed_says_all_of_a_round(seed: int) -> None:
    one = round_of(seed)
    assert one == round_of(seed)
    assert BLOWS[0] <= len(one.blows) <= BLOWS[1]
    assert list(due(one.blows, During.FETCH, 1e9)) == list(one.blows)
    assert all(blow.during is WORK for blow in one.blows if blow.victim in ONLY_IN_WORK)


def test_some_rounds_reach_every_victim_by_every_command() -> None:
    rounds = [round_of(seed) for seed in seeds(0, SOME)]
    assert {blow.victim for one in rounds for blow in one.blows} == {name for kind in KINDS.values() for name in kind}
    assert {one.commands for one in rounds} == set(COMMANDS)


def test_some_rounds_kill_the_command_in_every_part() -> None:
    blows = [blow for seed in seeds(0, SOME) for blow in round_of(seed).blows]
    assert {blow.during for blow in blows if blow.victim == CLI} == set(During)


def test_a_blow_falls_once_so_much_is_done() -> None:
    blows = [Blow(victim="worker", during=WORK, at=0.2), Blow(victim="moto", during=WORK, at=0.6)]
    assert list(due(blows, WORK, 0.1)) == []
    assert [blow.victim for blow in due(blows, WORK, 0.3)] == ["worker"]
    assert [blow.victim for blow in due(blows, WORK, 1.0)] == ["worker", "moto"]


@pytest.mark.parametrize(("during", "falls"), [(During.SUBMIT, False), (WORK, True), (During.FETCH, True)])
def test_a_blow_of_a_part_that_is_over_falls_at_once(during: During, falls: bool) -> None:
    blow = Blow(victim=CLI, during=During.SUBMIT, at=5.0)
    assert list(due([blow], during, 0.0)) == ([blow] if falls else [])


def test_a_blow_says_when_it_falls() -> None:
    assert str(Blow(victim="moto", during=WORK, at=0.25)) == "moto at 25% of work"
    assert str(Blow(victim=CLI, during=During.FETCH, at=1.25)) == "cli at 1.2 s of fetch"
