import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gpuworker.pipeline.journal import Journal, JournalBusyError, ShardId

SHARD = ShardId("20261121-113052-field7-1f3a", 3, 1)


def killed_while(path: Path, marked: list[int], cleared: list[int]) -> None:
    """Let a process mark and clear items of SHARD and die by SIGKILL."""
    done = subprocess.run([sys.executable, "-c", _DYING, str(path), *map(str, marked), "-", *map(str, cleared)])
    assert done.returncode == -signal.SIGKILL


_DYING = f"""
import os, signal, sys
from pathlib import Path
from gpuworker.pipeline.journal import Journal, ShardId
shard = ShardId{tuple(SHARD)!r}
journal = Journal(Path(sys.argv[1]))
journal.begin(shard)
at = sys.argv.index("-")
slots = {{item: journal.mark(shard, int(item)) for item in sys.argv[2:at]}}
for item in sys.argv[at + 1:]:
    journal.clear(slots[item])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_marks_survive_a_killed_process(tmp_path: Path) -> None:
    killed_while(tmp_path / "journal", [4, 5, 6], [5])
    journal = Journal(tmp_path / "journal")
    assert journal.suspects(SHARD) == {4, 6}
    assert journal.suspects(ShardId("another", 3, 1)) is None
    journal.close()


def test_shard_without_items_in_flight_is_known_all_the_same(tmp_path: Path) -> None:
    killed_while(tmp_path / "journal", [1], [1])
    journal = Journal(tmp_path / "journal")
    assert journal.suspects(SHARD) == frozenset()
    journal.close()


def test_suspects_outlive_a_second_crash_until_the_shard_is_done(tmp_path: Path) -> None:
    killed_while(tmp_path / "journal", [4], [])
    killed_while(tmp_path / "journal", [7], [])
    journal = Journal(tmp_path / "journal")
    assert journal.suspects(SHARD) == {4, 7}
    journal.forget(SHARD)
    assert journal.suspects(SHARD) is None
    journal.close()
    again = Journal(tmp_path / "journal")
    assert not again.left_behind
    again.close()


def test_forgetting_an_unknown_shard_does_nothing(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.forget(SHARD)
    assert not journal.left_behind
    journal.close()


def test_given_back_shard_leaves_no_suspects_though_steps_still_go_on(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    journal.begin(SHARD)
    going_on = journal.mark(SHARD, 3)
    journal.forget(SHARD)
    assert not journal.items_marked()
    journal.clear(going_on)
    assert len({journal.mark(SHARD, item) for item in range(100)}) == 100, "each slot is given out once"
    journal.close()


def test_garbage_is_no_suspect(tmp_path: Path) -> None:
    (tmp_path / "journal").write_bytes(b"half a li" + bytes(247) + b"no numbers here\n")
    journal = Journal(tmp_path / "journal")
    assert not journal.left_behind
    journal.close()


def test_slots_are_used_again_for_ever(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for item in range(5000):
        journal.clear(journal.mark(SHARD, item))
    journal.close()
    assert (tmp_path / "journal").stat().st_size < 1_000_000


def test_two_workers_cannot_share_a_folder(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with pytest.raises(JournalBusyError, match="work folder of another worker"):
        Journal(tmp_path / "journal")
    journal.close()
    Journal(tmp_path / "journal").close()


def test_crumbs_of_many_shards_are_swept_away(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    for number in range(600):
        journal.mark(ShardId("old", number, 0), None)
    journal.close()
    again = Journal(tmp_path / "journal")
    assert not again.left_behind
    again.close()
