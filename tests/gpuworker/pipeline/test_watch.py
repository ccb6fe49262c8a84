"""Steps that never end are found; those that turn out to weigh more are given more time."""

from __future__ import annotations

from pathlib import Path

from tests.gpuworker.station import until

from gpuworker.contract import Item, Shard
from gpuworker.pipeline.journal import Journal
from gpuworker.pipeline.shard_run import InFlightItem, ShardRun
from gpuworker.pipeline.watch import Watch
from gpuworker.tasks.base import Decoded


def in_flight(number: int, *, splits: list[int]) -> InFlightItem:
    items = [Item(key=f"inputs/f/{i}", etag="e", size=1, output=f"{i}") for i in range(3)]
    shard = Shard(job="j", number=0, pipeline="p", project="f", task="fake", options={}, items=items)
    made = InFlightItem(shard_run=ShardRun(shard), index=number, item=items[number])
    made.decoded = Decoded(source=made.source, payload="", cost_bytes=1, extra_weight=lambda: sum(splits))
    return made


def test_a_step_that_looks_closer_is_given_time_for_it(tmp_path: Path) -> None:
    watch = Watch(Journal(tmp_path / "journal"), item_timeout_s=0.05)
    splits: list[int] = []
    slow, crowded = in_flight(0, splits=[]), in_flight(1, splits=splits)
    watch.begin("infer", [slow])
    step = watch.begin("infer", [crowded])
    splits.append(10**6)
    (overdue,) = until(watch.abandon_overdue)
    assert overdue.items == [slow]
    # What it has once weighed stays, though the item has been let go of meanwhile.
    crowded.release()
    assert watch.abandon_overdue() == []
    watch.end(step)
