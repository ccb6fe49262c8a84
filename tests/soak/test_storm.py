"""The parts of a soak that need no storm: what a seed decides, what counts as a fault, and where a soak goes on."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.soak.record import Record
from tests.soak.storm import BLOWS, VICTIMS, Blow, due, faults, round_of, seeds

SENT = ("a.jpg", "b.jpg", "c.jpg")
GOOD = {"items": 3, "done": 3, "failed": 0, "dead": 0, "cancelled": 0}


@given(st.integers(0, 10**6))
def test_a_seed_says_all_of_a_round(seed: int) -> None:
    one = round_of(seed)
    assert one == round_of(seed)
    assert BLOWS[0] <= len(one.blows) <= BLOWS[1]
    assert [blow.at_share for blow in one.blows] == sorted(blow.at_share for blow in one.blows)


def test_some_rounds_reach_every_victim() -> None:
    struck = {blow.victim for seed in seeds(0, 30) for blow in round_of(seed).blows}
    assert struck == set(VICTIMS)


def test_a_blow_falls_once_so_much_is_done() -> None:
    blows = [Blow(victim="worker", at_share=0.2), Blow(victim="moto", at_share=0.6)]
    assert [blow.victim for blow in due(blows, 0.1)] == []
    assert [blow.victim for blow in due(blows, 0.3)] == ["worker"]
    assert [blow.victim for blow in due(blows, 1.0)] == ["worker", "moto"]


def test_a_job_with_everything_once_has_no_fault() -> None:
    assert faults(GOOD, SENT, SENT, jobs=1) == []


@pytest.mark.parametrize(
    ("view", "found", "jobs", "told"),
    [
        ({**GOOD, "done": 4}, SENT, 1, "done is 4 and not 3"),
        ({**GOOD, "dead": 1}, SENT, 1, "dead is 1 and not 0"),
        (GOOD, ("a.jpg", "c.jpg"), 1, "1 lost: b.jpg"),
        (GOOD, (*SENT, "b.jpg"), 1, "1 there twice: b.jpg"),
        (GOOD, (*SENT, "z.jpg"), 1, "1 never sent: z.jpg"),
        (GOOD, SENT, 2, "there are 2 jobs and not one"),
    ],
)
def test_each_fault_is_told(view: dict[str, int], found: tuple[str, ...], jobs: int, told: str) -> None:
    assert faults(view, found, SENT, jobs=jobs) == [told]


def test_a_soak_goes_on_with_what_has_not_ended_well(tmp_path: Path) -> None:
    # given a good round, one with a fault, and one whose line was cut short
    record = Record(path=tmp_path / "soak" / "rounds.jsonl")
    assert record.missing([1, 2, 3]) == [1, 2, 3]
    record.add(1, faults=[], seconds=3.14, blows=["worker at 50%"])
    record.add(2, faults=["1 lost: a.jpg"], seconds=2.0, blows=[])
    with record.path.open("a") as opened:
        opened.write('{"seed": 3, "faul')
    # then only the good one is not done again, until the other is good too
    assert record.missing([1, 2, 3]) == [2, 3]
    with record.path.open("a") as opened:
        opened.write("\n")
    record.add(2, faults=[], seconds=2.0, blows=[])
    assert record.missing([1, 2, 3]) == [3]
