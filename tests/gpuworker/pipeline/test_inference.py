"""The model's thread by itself: what shares a batch, and how long a batch waits to fill."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import until

from gpuworker.contract import Failure, Item, Shard
from gpuworker.pipeline.inference import SHORTEST_WAIT, Inference, Patience
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.shard_run import InFlightItem, ShardRun
from gpuworker.pipeline.stage_runner import StageRunner
from gpuworker.pipeline.watch import Watch
from gpuworker.process.log import Log
from gpuworker.tasks.base import Decoded

FOR_EVER_S = 60.0
"""Longer than any test waits."""


class Waiting(FakeTask):
    def __init__(self, *, batch_wait_s: float, batch_size: int = 8, infer_threads: int = 1) -> None:
        super().__init__(batch_size=batch_size, infer_threads=infer_threads)
        self.batch_wait_s = batch_wait_s


def a_feed(items: int, **options: object) -> ShardRun:
    listed = [Item(key=f"inputs/f/{i}", etag="e", size=1, output=f"{i}") for i in range(items)]
    shard = Shard(job="j", number=0, pipeline="p", project="f", task="fake", options=options, items=listed)
    return ShardRun(shard)


def in_flight(shard_run: ShardRun, index: int) -> InFlightItem:
    made = InFlightItem(shard_run=shard_run, index=index, item=shard_run.shard.items[index])
    made.decoded = Decoded(source=made.source, payload="word", cost_bytes=1)
    return made


Start = Callable[[FakeTask], Inference]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the model's thread of a task."""
    journal = Journal(tmp_path / "journal")
    started: list[tuple[Inference, threading.Thread]] = []

    def begin(task: FakeTask) -> Inference:
        stage_runner = StageRunner(Watch(journal, item_timeout_s=20), Log([]), cores=2)
        inference = Inference(task, stage_runner, on_taken=lambda: None, on_result=lambda one: None)
        for _ in range(task.infer_threads):
            thread = threading.Thread(target=inference.loop, daemon=True)
            started.append((inference, thread))
            thread.start()
        return inference

    yield begin
    for inference, _ in started:
        inference.ready.put(None)
    for _, thread in started:
        thread.join(10)
        assert not thread.is_alive()
    journal.close()


def test_a_batch_waits_for_items_that_are_on_their_way(start: Start) -> None:
    # given a shard of three, of which the model has the first two
    task, shard_run = Waiting(batch_wait_s=FOR_EVER_S), a_feed(3)
    inference = start(task)
    inference.ready.put(in_flight(shard_run, 0))
    inference.ready.put(in_flight(shard_run, 1))
    until(lambda: shard_run.awaiting_infer == 1)
    assert task.batches == []
    # when the third comes, nothing more can
    inference.ready.put(in_flight(shard_run, 2))
    # then all share a batch
    until(lambda: task.batches)
    assert task.batches == [["0", "1", "2"]]
    assert inference.idle_s > 0


def test_threads_do_not_take_items_from_each_others_batches(start: Start) -> None:
    # given two threads of one model, and items that come one by one
    task, shard_run = Waiting(batch_wait_s=FOR_EVER_S, batch_size=4, infer_threads=2), a_feed(8)
    inference = start(task)
    for index in range(8):
        inference.ready.put(in_flight(shard_run, index))
        until(lambda left=7 - index: shard_run.awaiting_infer == left)  # type: ignore[misc]
    # then both of their batches are full
    until(lambda: len(task.batches) == 2)
    assert sorted(task.batches) == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]


def test_a_full_batch_waits_for_nothing(start: Start) -> None:
    task, shard_run = Waiting(batch_wait_s=FOR_EVER_S, batch_size=2), a_feed(9)
    inference = start(task)
    inference.ready.put(in_flight(shard_run, 0))
    inference.ready.put(in_flight(shard_run, 1))
    until(lambda: task.batches)
    assert task.batches == [["0", "1"]]


def test_an_item_that_failed_before_the_model_is_not_waited_for(start: Start) -> None:
    task, shard_run = Waiting(batch_wait_s=FOR_EVER_S), a_feed(2)
    shard_run.settle(
        1, Failure(output="1", key="inputs/f/1", etag="e", code="unreadable", message="this is no picture")
    )
    start(task).ready.put(in_flight(shard_run, 0))
    until(lambda: task.batches)
    assert task.batches == [["0"]]


def test_the_wait_has_an_end(start: Start) -> None:
    task, shard_run = Waiting(batch_wait_s=0.01), a_feed(3)
    start(task).ready.put(in_flight(shard_run, 0))
    until(lambda: task.batches)
    assert task.batches == [["0"]]


def test_without_a_wait_what_is_ready_goes_at_once(start: Start) -> None:
    task, shard_run = FakeTask(batch_size=8), a_feed(3)
    start(task).ready.put(in_flight(shard_run, 0))
    until(lambda: task.batches)
    assert task.batches == [["0"]]


def test_another_options_item_ends_the_wait_and_begins_the_next_batch(start: Start) -> None:
    task, shard_run, other = Waiting(batch_wait_s=FOR_EVER_S), a_feed(3), a_feed(1, prompts=["tree"])
    inference = start(task)
    inference.ready.put(in_flight(shard_run, 0))
    inference.ready.put(in_flight(other, 0))
    until(lambda: len(task.batches) == 2)
    assert [len(batch) for batch in task.batches] == [1, 1]


def test_waiting_in_vain_is_given_up_bit_by_bit_and_comes_back_with_a_full_batch() -> None:
    patience = Patience(longest_s=0.32)
    patience.halve()
    assert patience.wait_s == 0.16
    for _ in range(20):
        patience.halve()
    assert patience.wait_s == 0.32 * SHORTEST_WAIT
    patience.restore()
    assert patience.wait_s == 0.32
