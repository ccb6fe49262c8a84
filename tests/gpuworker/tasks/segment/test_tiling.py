"""Which windows are looked at: they cover the image, share strips with their neighbours, and split into parts."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import examples

from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.images.tiff.file import GeoTag
from gpuworker.tasks.segment.tiling import SMALLEST_SIDE_PX, split, tiles_of
from gpuworker.tiles.scene import Scene, WholeScene, Window


def scene(height: int, width: int, *, is_on_earth: bool = False) -> Scene:
    geo = (GeoTag(code=33550, dtype=12, count=3, value=(0.1, 0.1, 0.0)),) if is_on_earth else ()
    rgb = np.zeros((1, 1, 3), np.uint8)
    return WholeScene(image=Image(rgb=rgb, height=height, width=width, bands=3, dtype="uint8", geo=geo))


def test_a_photograph_is_looked_at_whole_and_a_map_image_by_tiles() -> None:
    assert tiles_of(scene(3000, 4000), Options()) == (Window(top=0, left=0, height=3000, width=4000),)
    tiles = tiles_of(scene(3000, 4000, is_on_earth=True), Options())
    assert len(tiles) == 4 * 5
    assert {(tile.height, tile.width) for tile in tiles} == {(1008, 1008)}
    assert len(tiles_of(scene(3000, 4000, is_on_earth=True), Options(tile_size="whole"))) == 1
    assert len(tiles_of(scene(3000, 4000), Options(tile_size=2000, tile_overlap=0.0))) == 4


def test_a_small_map_image_is_one_tile() -> None:
    assert tiles_of(scene(400, 1008, is_on_earth=True), Options()) == (Window(top=0, left=0, height=400, width=1008),)


@examples(200)
@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 0.5))
def test_parts_cover_the_window_and_share_strips(height: int, width: int, overlap: float) -> None:
    window = Window(top=70, left=30, height=height, width=width)
    parts = split(window, overlap=overlap)
    if not parts:
        assert max(height, width) <= 2 * SMALLEST_SIDE_PX
        return
    tops, bottoms = {part.top for part in parts}, {part.bottom for part in parts}
    lefts, rights = {part.left for part in parts}, {part.right for part in parts}
    assert (min(tops), max(bottoms), min(lefts), max(rights)) == (70, 70 + height, 30, 30 + width)
    assert len(parts) == len(tops) * len(lefts)
    for starts, ends in ((tops, bottoms), (lefts, rights)):
        if len(starts) == 2:
            piece = min(ends) - min(starts)
            assert piece >= SMALLEST_SIDE_PX
            assert min(ends) - max(starts) >= int(overlap * piece)


def test_what_is_small_is_not_split() -> None:
    assert split(Window(top=0, left=0, height=200, width=200), overlap=0.125) == ()
    assert len(split(Window(top=0, left=0, height=200, width=300), overlap=0.125)) == 2
    assert len(split(Window(top=0, left=0, height=1008, width=1008), overlap=0.125)) == 4
