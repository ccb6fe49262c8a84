"""Which rounds a soak plays, and what it says of all of them."""

from __future__ import annotations

from pathlib import Path

from tests.soak.__main__ import first_seed, longest
from tests.soak.record import Record


def test_the_first_seed_is_that_of_the_last_time_unless_one_is_given(tmp_path: Path) -> None:
    drawn = first_seed(tmp_path / "soak", None)
    assert first_seed(tmp_path / "soak", None) == drawn
    assert first_seed(tmp_path / "soak", 7) == 7
    assert first_seed(tmp_path / "soak", None) == 7


def test_the_longest_stall_is_that_of_all_rounds(tmp_path: Path) -> None:
    record = Record(path=tmp_path / "rounds.jsonl")
    assert longest(record) == 0.0
    for seed, stall_s in ((1, 3.5), (2, 21.0), (3, 8.0)):
        record.add(seed, faults=[], stall_s=stall_s)
    assert longest(record) == 21.0
