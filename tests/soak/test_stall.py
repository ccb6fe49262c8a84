"""The longest time without progress, by a clock that ticks."""

from __future__ import annotations

from dataclasses import replace

from tests.soak.stall import Stall, mark_of
from tests.ticking import TickingClock

from gpuworker.ledger import ShardRecord, ShardState

SHARD = ShardRecord(job="j", number=0, items=9, state=ShardState.RUNNING, started=1, progress=3, heartbeat_at=5.0)


def looked(*marks: object | None, pause_s: float = 4.0) -> Stall:
    """After looks that far apart."""
    clock = TickingClock()
    stall = Stall(clock)
    for mark in marks:
        stall.look(mark)
        clock.sleep(pause_s)
    return stall


def test_what_moves_all_the_time_never_stalls() -> None:
    assert looked("a", "b", "c").longest_s == 0.0


def test_the_longest_of_several_counts_and_says_where() -> None:
    stall = looked("a", "a", "b", "b", "b", "c", "c")
    assert (stall.longest_s, stall.at) == (8.0, "b")


def test_time_in_which_nobody_can_say_counts() -> None:
    assert looked("a", None, None, "a").longest_s == 12.0
    assert looked("a", None, None, "b").longest_s == 8.0


def test_a_heartbeat_alone_is_no_progress() -> None:
    assert mark_of([SHARD]) == mark_of([replace(SHARD, heartbeat_at=50.0)])
    assert mark_of([SHARD]) != mark_of([replace(SHARD, progress=4)])
    assert mark_of([SHARD]) != mark_of([replace(SHARD, state=ShardState.PENDING, progress=0)])
    assert mark_of([SHARD]) != mark_of([replace(SHARD, started=2)])
