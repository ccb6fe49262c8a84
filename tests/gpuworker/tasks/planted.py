"""A large map image with objects planted where tiles meet, written block by block; what an engine has to find in it."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.images.window import Window
from gpuworker.masks.box_grid import Box, BoxGrid, intersection

BLOCK_PX = 512
PIXEL_M = 0.25
_GEO = [
    (33550, "d", 3, (PIXEL_M, PIXEL_M, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 400_000.0, 3_300_000.0, 0.0), True),
    # Projected, pixels are areas, EPSG:32617.
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32617), True),
]


@dataclass(frozen=True, kw_only=True, eq=False)
class Planted:
    """An object of one colour; `channel` 0, 1 and 2 are red, green and blue."""

    x: int
    y: int
    mask: NDArray[np.bool_]
    channel: int
    value: int

    @property
    def box(self) -> Box:
        return (self.x, self.y, self.x + self.mask.shape[1], self.y + self.mask.shape[0])

    @property
    def area(self) -> int:
        return int(self.mask.sum())


def planted(side: int, windows: Sequence[Window], *, count: int, seed: int = 0) -> list[Planted]:
    """`count` objects, two pixels apart or more: on seams, on corners, larger than strips and than tiles, and anywhere.

    The image is side×side, looked at by `windows`.
    """
    chance = np.random.default_rng(seed)
    lines = sorted({window.left for window in windows} | {window.right for window in windows})[1:-1]
    tile_px, found = windows[0].width, _Garden(side, chance)
    # Larger than a tile: a field, a river along a row, and one across all rows.
    found.plant(side // 2, side // 3, tile_px * 3 // 2, tile_px * 5 // 4)
    found.plant(side // 2, side // 8, tile_px * 4, 9)
    found.plant(side // 9, side // 2, 12, side - 40)
    for at, other in product(lines[:: max(1, len(lines) // 7)], repeat=2):  # corners of tiles
        found.plant(at, other, *chance.integers(8, 90, 2))
    while len(found.objects) < count * 2 // 5:  # larger than the strip that two tiles share, on a seam
        found.plant(int(chance.choice(lines)), int(chance.integers(0, side)), *chance.integers(150, 420, 2))
    while len(found.objects) < count * 4 // 5:  # small, on a seam
        along = [int(chance.choice(lines)) + int(chance.integers(-4, 5)), int(chance.integers(0, side))]
        found.plant(*chance.permutation(along), *chance.integers(3, 100, 2))
    while len(found.objects) < count - 20:
        found.plant(*chance.integers(0, side, 2), *chance.integers(3, 120, 2))
    while len(found.objects) < count:  # close neighbours, of the same colour, on a seam
        x, y = int(chance.choice(lines)), int(chance.integers(0, side - 40))
        found.plant(x, y, 9, 12, channel=0) and found.plant(x, y + 14, 9, 12, channel=0)
    return found.objects[:count]


class _Garden:
    def __init__(self, side: int, chance: np.random.Generator) -> None:
        self._side, self._chance = side, chance
        self._grid = BoxGrid(1024)
        self.objects: list[Planted] = []

    def plant(self, x: int, y: int, width: int, height: int, *, channel: int | None = None) -> bool:
        """An object of that size with its middle at (x, y), moved into the image; not where there is one already."""
        width, height = min(int(width), self._side), min(int(height), self._side)
        left = min(max(0, int(x) - width // 2), self._side - width)
        top = min(max(0, int(y) - height // 2), self._side - height)
        if self._grid.meeting((left - 2, top - 2, left + width + 2, top + height + 2)):
            return False
        one = Planted(
            x=left,
            y=top,
            mask=self._shape(width, height),
            channel=int(self._chance.integers(0, 3)) if channel is None else channel,
            value=int(self._chance.integers(110, 256)),
        )
        self._grid.add(len(self.objects), one.box)
        self.objects.append(one)
        return True

    def _shape(self, width: int, height: int) -> NDArray[np.bool_]:
        """A rectangle, or an ellipse that touches all four sides."""
        mask = np.ones((height, width), np.uint8)
        if min(width, height) >= 20 and self._chance.random() < 0.6:
            mask[:] = 0
            cv2.ellipse(mask, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, cv2.FILLED)
        rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        assert rows[0] == columns[0] == 0
        return mask[: rows[-1] + 1, : columns[-1] + 1].astype(bool)


def geotiff(side: int, objects: Sequence[Planted]) -> bytes:
    """A tiled, deflated RGB GeoTIFF of 8 bits in EPSG:32617."""
    grid = BoxGrid(2 * BLOCK_PX)
    for number, one in enumerate(objects):
        grid.add(number, one.box)
    empty = zlib.compress(bytes(BLOCK_PX * BLOCK_PX * 3), 1)

    def blocks() -> Iterator[bytes]:
        for top, left in product(range(0, side, BLOCK_PX), repeat=2):
            box = (left, top, left + BLOCK_PX, top + BLOCK_PX)
            here = [objects[i] for i in grid.meeting(box)]
            yield zlib.compress(_block(box, here).tobytes(), 1) if here else empty

    out, options = io.BytesIO(), dict[str, Any](compression="zlib", photometric="rgb", metadata=None)
    tifffile.imwrite(
        out, blocks(), shape=(side, side, 3), dtype=np.uint8, tile=(BLOCK_PX, BLOCK_PX), extratags=_GEO, **options
    )
    return out.getvalue()


def _block(box: Box, objects: Sequence[Planted]) -> NDArray[np.uint8]:
    pixels = np.zeros((BLOCK_PX, BLOCK_PX, 3), np.uint8)
    for one in objects:
        shared = intersection(box, one.box)
        if shared is not None:
            left, top, right, bottom = shared
            place = pixels[top - box[1] : bottom - box[1], left - box[0] : right - box[0], one.channel]
            place[one.mask[top - one.y : bottom - one.y, left - one.x : right - one.x]] = one.value
    return pixels
