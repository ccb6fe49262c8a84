"""Bounded concurrent work."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import examples
from tests.ticking import TickingClock

from gpupipe.jobs.flow import concurrently

LONG_S = 20.0


@given(work=st.lists(st.integers(0, 50), max_size=60), threads=st.integers(1, 8), budget=st.integers(0, 60))
@examples(60)
def test_every_piece_comes_back_once_with_its_result_or_its_error(work: list[int], threads: int, budget: int) -> None:
    def do(number: int) -> int:
        if number % 3 == 0:
            raise ValueError(number)
        return number * 2

    outcomes = list(
        concurrently(work, do, threads=threads, cost=lambda number: number, budget=budget, clock=TickingClock())
    )
    assert sorted(piece for piece, _ in outcomes) == sorted(work)
    for piece, outcome in outcomes:
        assert isinstance(outcome, ValueError) if piece % 3 == 0 else outcome == piece * 2


def test_costs_in_progress_stay_within_the_budget_and_a_large_piece_runs_alone() -> None:
    lock, running, most = threading.Lock(), [0], [0]
    alone: list[bool] = []

    def do(cost: int) -> None:
        with lock:
            running[0] += cost
            most[0] = max(most[0], running[0] if cost <= 10 else 0)
            alone.append(running[0] == cost or cost <= 10)
        with lock:
            running[0] -= cost

    list(concurrently([3, 4, 5, 25, 6, 1, 9] * 20, do, threads=6, cost=lambda cost: cost, budget=10))
    assert most[0] <= 10
    assert all(alone)


def test_pieces_run_at_the_same_time() -> None:
    together = threading.Barrier(4, timeout=LONG_S)
    outcomes = list(concurrently(range(4), lambda _: together.wait(), threads=4))
    assert not [outcome for _, outcome in outcomes if isinstance(outcome, Exception)]


def test_work_is_drawn_only_as_it_is_done() -> None:
    drawn: list[int] = []

    def endless() -> Iterator[int]:
        for number in range(1_000_000):
            drawn.append(number)
            yield number

    for piece, _ in concurrently(endless(), lambda number: number, threads=3):
        if piece >= 10:
            break
    assert len(drawn) < 100_000


def test_a_failing_source_is_raised_where_the_results_are_read() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(concurrently(source(), lambda number: number, threads=2))


def test_leaving_early_does_not_wait_for_what_is_in_progress() -> None:
    release = threading.Event()
    try:
        for piece, _ in concurrently(range(3), lambda number: number == 0 or release.wait(LONG_S), threads=3):
            assert piece == 0
            break
    finally:
        assert not release.is_set()
        release.set()
