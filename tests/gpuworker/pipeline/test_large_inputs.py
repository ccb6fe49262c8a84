"""A GeoTIFF through the worker's stream, from the bucket by way of the disk to the files of its result."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.gpuworker.large_tiff import MARK_PX, write_tiled
from tests.gpuworker.station import PIPELINE, PROJECT, Station, until

from gpuworker.contract import Item, ItemResult, Shard
from gpuworker.pipeline.budget import ByteBudget
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.pipeline.spool import Spool
from gpuworker.tasks.segment.task import Segment

OPTIONS = {"engine": "colour", "prompts": ["red"], "stretch": "none"}
COLOUR = dict.fromkeys(("colour", "nanodet"), "tests.colour_engine:Colour")
"""The isolated process loads the default engine first, which is not what is tested here."""
MIB = 1024**2


class Colours(Segment):
    """`segment` with the engine for tests, made with no arguments as the isolated process makes it."""

    def __init__(self) -> None:
        super().__init__(engines=COLOUR)


def shard_of(station: Station, path: Path) -> Shard:
    key, size = f"inputs/{PROJECT}/field/{path.name}", path.stat().st_size
    version = station.storage.put(key, path.read_bytes(), "image/tiff").version_id
    item = Item(key=key, etag=station.storage.get(key).etag, size=size, output="field/large", version_id=version)
    fields: Any = {"job": "20261121-113052-field7-0001", "pipeline": PIPELINE, "project": PROJECT, "number": 0}
    return Shard(**fields, task="segment", options=OPTIONS, items=[item])


@pytest.mark.parametrize(("side", "budget_mib"), [(6_000, 130), pytest.param(8_000, 300, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("alone", [False, True], ids=["in the stream", "alone in a process"])
def test_it_is_found_once_and_leaves_nothing_behind(
    station: Station, tmp_path: Path, *, side: int, budget_mib: int, alone: bool
) -> None:
    # given an image that takes more than the budget when it is decoded whole
    write_tiled(tmp_path / "large.tif", side=side)
    shard, task = shard_of(station, tmp_path / "large.tif"), Colours()
    task.load("cpu", OPTIONS)
    spool, budget = Spool(tmp_path / "spool", from_bytes=MIB), ByteBudget(budget_mib * MIB)
    stream: Any = station.stream(
        task,
        station.journal(),
        spool=spool,
        budget=budget,
        isolated="tests.gpuworker.pipeline.test_large_inputs:Colours",
    )
    # when
    shard_run = ShardRun(shard)
    stream.add(shard_run, [0], alone=[0] if alone else [])
    assert shard_run.wait(200)
    # then
    (outcome,) = shard_run.outcomes()
    assert isinstance(outcome, ItemResult), outcome
    record = json.loads(station.storage.get(outcome.artifacts["annotations.json"].key).data)
    assert [one["bbox"] for one in record["annotations"]] == [[200, 100, MARK_PX, MARK_PX]]
    assert (record["images"][0]["width"], record["images"][0]["height"]) == (side, side)
    until(lambda: budget.used_bytes == 0)
    assert list((tmp_path / "spool").iterdir()) == []
