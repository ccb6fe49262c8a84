"""Where a soak goes on."""

from __future__ import annotations

from pathlib import Path

from tests.soak.record import Record


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
