"""The longest time without progress, by a clock that ticks."""

from __future__ import annotations

from dataclasses import replace

from tests.soak.stall import Places, Stall, places_of
from tests.ticking import TickingClock

from gpuworker.ledger import ShardRecord, ShardState

SHARD = ShardRecord(job="j", number=0, items=9, state=ShardState.RUNNING, started=1, progress=3, heartbeat_at=5.0)
GIVEN_BACK = replace(SHARD, state=ShardState.PENDING, progress=0)
A_LOOK_S = 4.0


def looked(*places: Places | None) -> Stall:
    """After a look at each of them."""
    clock = TickingClock()
    stall = Stall(clock)
    for one in places:
        stall.look(one)
        clock.sleep(A_LOOK_S)
    return stall


def of(shard: ShardRecord) -> Stall:
    """After a look at SHARD and one at what became of it."""
    return looked(places_of([SHARD]), places_of([shard]))


def test_what_moves_all_the_time_never_stalls() -> None:
    assert looked({0: (1,)}, {0: (2,)}, {0: (2,), 1: (0,)}).longest_s == 0.0


def test_the_longest_of_several_counts_and_says_where() -> None:
    stall = looked({0: (1,)}, {0: (1,)}, {0: (2,)}, {0: (2,)}, {0: (2,)}, {0: (3,)}, {0: (3,)})
    assert (stall.longest_s, stall.at) == (2 * A_LOOK_S, {0: (2,)})


def test_time_in_which_nobody_can_say_counts() -> None:
    assert looked({0: (1,)}, None, None, {0: (1,)}).longest_s == 3 * A_LOOK_S
    assert looked({0: (1,)}, None, None, {0: (2,)}).longest_s == 2 * A_LOOK_S


def test_to_begin_to_go_on_and_to_end_is_progress() -> None:
    begun = replace(SHARD, started=2, progress=0)
    for further in (begun, replace(SHARD, progress=4), replace(SHARD, state=ShardState.DONE)):
        assert of(further).longest_s == 0.0


def test_a_heartbeat_is_no_progress_nor_is_a_shard_that_is_given_back() -> None:
    for no_further in (replace(SHARD, heartbeat_at=50.0), GIVEN_BACK):
        assert of(no_further).longest_s == A_LOOK_S


def test_what_was_given_back_moves_again_from_where_it_begins() -> None:
    stall = looked(places_of([SHARD]), places_of([GIVEN_BACK]), places_of([replace(GIVEN_BACK, progress=1)]))
    assert stall.longest_s == A_LOOK_S
