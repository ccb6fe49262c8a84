"""The grid of a TIFF's blocks, and which of them tell its range of values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gpuworker import pictures
from tests.gpuworker.large_tiff import write_stripped, write_tiled

from gpuworker.images.rendering import Rendering
from gpuworker.images.tiff.blocks import Blocks
from gpuworker.images.tiff.file import Tiff
from gpuworker.images.window import Window

DEEP = np.random.default_rng(3).integers(0, 60_000, (100, 150, 3)).astype(np.uint16)


def blocks_of(data: bytes | Path, **rendering: Any) -> Blocks:
    return Blocks(Tiff(data), Rendering(**rendering))


@pytest.mark.parametrize("layout", [{"tile": (32, 64)}, {"rowsperstrip": 7, "compression": "zlib"}, {}], ids=str)
def test_blocks_cover_the_image_once(layout: dict[str, Any]) -> None:
    blocks = blocks_of(pictures.tiff(DEEP, photometric="rgb", **layout))
    seen = np.zeros((100, 150), int)
    for place in blocks.of(Window(top=0, left=0, height=100, width=150)):
        window = blocks.window(place)
        seen[window.top : window.bottom, window.left : window.right] += 1
        assert blocks.raster(place).colour[0].shape == (window.height, window.width)
    assert (seen == 1).all()


def test_only_the_blocks_that_a_window_meets() -> None:
    blocks = blocks_of(pictures.tiff(DEEP, photometric="rgb", tile=(32, 64)))
    assert list(blocks.of(Window(top=0, left=0, height=32, width=64))) == [(0, 0)]
    assert list(blocks.of(Window(top=31, left=63, height=2, width=2))) == [(0, 0), (0, 1), (1, 0), (1, 1)]


def test_only_the_planes_that_are_asked_for_are_decoded() -> None:
    planes = np.ascontiguousarray(DEEP.transpose(2, 0, 1))
    data = pictures.tiff(planes, photometric="minisblack", planarconfig="separate", tile=(32, 64))
    assert blocks_of(data).decoded_bytes == 3 * blocks_of(data, bands=(2,)).decoded_bytes


class TestSample:
    def test_all_of_a_small_image(self) -> None:
        blocks = blocks_of(pictures.tiff(DEEP, photometric="rgb", tile=(32, 64)))
        places, step = blocks.sample()
        assert (len(places), step) == (12, 1)

    @pytest.mark.parametrize("write", [write_tiled, write_stripped])
    def test_of_a_large_one_blocks_from_all_over_it(self, write: Any, tmp_path: Path) -> None:
        write(tmp_path / "large.tif")
        blocks = blocks_of(tmp_path / "large.tif")
        places, step = blocks.sample()
        windows = [blocks.window(place) for place in places]
        assert 10_000_000 < sum(window.pixels for window in windows) <= 16_000_000
        assert step == 4
        rows = {window.top // 5_000 for window in windows}
        columns = {window.left // 5_000 for window in windows} if windows[0].width < 20_000 else {0, 1, 2, 3}
        assert rows == columns == {0, 1, 2, 3}
        assert blocks.sample() == (places, step)
