"""Which windows of a large image are looked at, and into which a crowded one is split."""

from __future__ import annotations

import math

from gpuworker.engines.options import Options
from gpuworker.tiles.scene import Scene, Window, grid

DEFAULT_TILE_PX = 1008
"""SAM3's own input; georeferenced images are looked at in their native pixels by default."""
SPLITS_AT_MOST = 4
"""How often a crowded window is split, and its parts again; a model magnifies them, which helps only so far."""
SMALLEST_SIDE_PX = 128


def tiles_of(scene: Scene, options: Options) -> tuple[Window, ...]:
    """The windows that an image is looked at by; just one for one that is looked at whole."""
    side = side_of(options, is_geo=bool(scene.geo))
    if side is None:
        return (whole_of(scene),)
    return tuple(grid(scene.height, scene.width, side=side, overlap=options.tile_overlap))


def side_of(options: Options, *, is_geo: bool) -> int | None:
    """The side of the tiles that an image is looked at by; None where it is looked at whole, whatever its size."""
    if options.tile_size == "whole" or (options.tile_size == "auto" and not is_geo):
        return None
    return DEFAULT_TILE_PX if options.tile_size == "auto" else options.tile_size


def pieces_of(scene: Scene, options: Options) -> tuple[Window, ...]:
    """The windows for an image that is too large for the memory in one piece; none for one that is small."""
    windows = tuple(grid(scene.height, scene.width, side=DEFAULT_TILE_PX, overlap=options.tile_overlap))
    return windows if len(windows) > 1 else ()


def whole_of(scene: Scene) -> Window:
    return Window(top=0, left=0, height=scene.height, width=scene.width)


def split(window: Window, *, overlap: float) -> tuple[Window, ...]:
    """Four windows, or two of a narrow one, that cover it and share `overlap` of their sides; none of a small one."""
    return tuple(
        Window(top=window.top + top, left=window.left + left, height=rows, width=columns)
        for top, rows in _halves(window.height, overlap)
        for left, columns in _halves(window.width, overlap)
        if (rows, columns) != (window.height, window.width)
    )


def _halves(length: int, overlap: float) -> list[tuple[int, int]]:
    """Start and length of two pieces, or of the one that would be too small to split."""
    piece = math.ceil(length / (2 - overlap))
    return [(0, piece), (length - piece, piece)] if SMALLEST_SIDE_PX <= piece < length else [(0, length)]
