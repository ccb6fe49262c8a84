"""Pictures that are large for the worker's memory, through its stream: they wait for each other, or fail alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.gpuworker import pictures
from tests.gpuworker.huge_png import png_of
from tests.gpuworker.pipeline.test_large_inputs import Colours
from tests.gpuworker.station import PIPELINE, PROJECT, Station

from gpuworker.contract import Failure, Item, Shard
from gpuworker.pipeline.budget import ByteBudget
from gpuworker.pipeline.shard_run import ShardRun

OPTIONS = {"engine": "colour", "prompts": ["red"], "overlays": False, "thumbnails": False}
SIDE = 1_000


def _marked(side: int) -> NDArray[np.uint8]:
    """Black with one red square."""
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[10:50, 10:50, 0] = 255
    return rgb


FITTING = pictures.png(_marked(SIDE))
LARGE = pictures.png(_marked(2 * SIDE))
BUDGET = 2 * 8 * SIDE**2 + 2_000_000
"""Two of the fitting ones at once, with their masks and files; a large one alone takes 24 MB to be decoded."""


def shard_of(station: Station, images: Sequence[bytes], **options: Any) -> Shard:
    items = []
    for number, data in enumerate(images):
        key = f"inputs/{PROJECT}/{number}.png"
        version = station.storage.put(key, data, "image/png").version_id
        etag = station.storage.get(key).etag
        items.append(Item(key=key, etag=etag, size=len(data), output=f"{number}", version_id=version))
    fields: Any = {"job": "20261121-113052-field7-0001", "pipeline": PIPELINE, "project": PROJECT, "number": 0}
    return Shard(**fields, task="segment", options={**OPTIONS, **options}, items=items)


def worked_on(
    station: Station, images: Sequence[bytes], budget: ByteBudget, alone: Sequence[int] = (), **options: Any
) -> list[Failure | None]:
    """The failure of each image; None where there is a result."""
    task: Any = Colours()
    task.load("cpu", OPTIONS)
    isolated = "tests.gpuworker.pipeline.test_large_inputs:Colours"
    stream = station.stream(task, station.journal(), budget=budget, isolated=isolated)
    shard_run = ShardRun(shard_of(station, images, **options))
    stream.add(shard_run, range(len(images)), alone=alone)
    assert shard_run.wait(60)
    return [outcome if isinstance(outcome, Failure) else None for outcome in shard_run.outcomes()]


def test_several_at_once_wait_for_each_other(station: Station) -> None:
    budget = ByteBudget(BUDGET)
    assert worked_on(station, [FITTING] * 6, budget) == [None] * 6
    assert 8 * SIDE**2 < budget.peak_bytes <= BUDGET
    assert budget.used_bytes == 0


def test_one_that_is_too_large_alone_fails_alone(station: Station) -> None:
    budget = ByteBudget(BUDGET)
    before, failed, after = worked_on(station, [FITTING, LARGE, FITTING], budget)
    assert (before, after) == (None, None)
    assert failed is not None
    assert failed.code == "too_large"
    assert "2000×2000 pixels (4 megapixels); decoding it needs 0.03 GB of memory, and this worker had 0.01 GB" in (
        failed.message
    )
    assert budget.peak_bytes <= BUDGET


def test_with_an_explicit_number_it_is_done_by_itself(station: Station) -> None:
    assert worked_on(station, [FITTING, LARGE], ByteBudget(BUDGET), max_pixels=4 * SIDE**2) == [None, None]


def test_a_suspect_is_measured_by_what_its_own_process_may_take(station: Station) -> None:
    # given 1.2 GB of pixels where the process has 1 GiB, its own modules included
    (failed,) = worked_on(station, [png_of(20_000, 10_000)], ByteBudget(10**10), alone=[0])
    assert failed is not None
    assert failed.code == "too_large"
    assert "needs 1.20 GB of memory, and this worker had 0." in failed.message


@pytest.mark.parametrize("alone", [[], [0]], ids=["in the stream", "alone in a process"])
def test_ordinary_images_have_room_enough(station: Station, alone: list[int]) -> None:
    assert worked_on(station, [FITTING], ByteBudget(BUDGET), alone=alone) == [None]
