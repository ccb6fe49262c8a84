"""Doors and windows: short holes in a straight wall, found as blocks of free runs between two ends of wall."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.rooms.walls import Walls

_AUTO_GAP_PX = 125.0
_AUTO_GAP_WALLS = 12.5
_RUNS_AT_MOST = 400_000
_DRIFT_PX = 2
"""How far the ends of a run may move from one row to the next and still belong to one block."""
_RAGGED_PX = 3
_STRONG = 1.3
"""An end is a wall's own when the wall goes on behind it by this many times the hole's thickness."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A rectangle that closes a hole; right and bottom are outside it."""

    left: int
    top: int
    right: int
    bottom: int


def max_gap_px(walls: Walls, asked_px: float) -> float:
    """How wide a hole in a wall may be. Thick walls are large scale: there doors have more pixels, too."""
    return asked_px if asked_px > 0 else max(_AUTO_GAP_PX, _AUTO_GAP_WALLS * walls.usual_px)


def gaps_of(walls: Walls, max_gap: float) -> list[Gap]:
    """Holes along rows and along columns, top to bottom."""
    across = [_gap(block) for block in _holes(walls, walls.mask, max_gap)]
    mask = np.ascontiguousarray(walls.mask.T)
    down = [_turned(_gap(block)) for block in _holes(walls, mask, max_gap)]
    return sorted({*across, *down}, key=lambda gap: (gap.top, gap.left, gap.bottom, gap.right))


def bridged(walls: NDArray[np.uint8], gaps: list[Gap]) -> NDArray[np.uint8]:
    """The walls with their holes closed."""
    closed = walls.copy()
    for gap in gaps:
        closed[gap.top : gap.bottom, gap.left : gap.right] = 1
    return closed


@dataclass(frozen=True, kw_only=True)
class _Block:
    """Free runs of like ends in rows that follow each other: `left`..`right` of rows `top`..`bottom`."""

    left: int
    right: int
    top: int
    bottom: int


def _gap(block: _Block) -> Gap:
    # Into the ragged ends, which are wall anyway.
    return Gap(left=max(0, block.left - _RAGGED_PX), top=block.top, right=block.right + _RAGGED_PX, bottom=block.bottom)


def _turned(gap: Gap) -> Gap:
    return Gap(left=gap.top, top=gap.left, right=gap.bottom, bottom=gap.right)


def _holes(walls: Walls, mask: NDArray[np.uint8], max_gap: float) -> Iterator[_Block]:
    thinnest, thickest = 0.6 * walls.least_px, 1.5 * walls.most_px + 2
    for block in _blocks(mask, max_gap):
        if thinnest <= block.bottom - block.top <= thickest and _is_hole(mask, block):
            yield block


def _blocks(mask: NDArray[np.uint8], max_gap: float) -> list[_Block]:
    rows, lefts, rights = _free_runs(mask, max_gap)
    if len(rows) > _RUNS_AT_MOST:
        return []
    done: list[_Block] = []
    growing: list[list[int]] = []  # left, right, first left, first right, top
    starts = np.searchsorted(rows, np.arange(mask.shape[0] + 1))
    row_lefts, row_rights = lefts.tolist(), rights.tolist()
    for row in range(mask.shape[0]):
        begin, end = int(starts[row]), int(starts[row + 1])
        growing = _grown(growing, row_lefts[begin:end], row_rights[begin:end], row, done)
    _grown(growing, [], [], mask.shape[0], done)
    return done


def _grown(
    growing: list[list[int]], lefts: list[int], rights: list[int], row: int, done: list[_Block]
) -> list[list[int]]:
    """Blocks that go on in this row, and new ones; what ends here is done. Both sides are sorted by `left`."""
    after: list[list[int]] = []
    at = 0
    for left, right in zip(lefts, rights, strict=True):
        while at < len(growing) and growing[at][0] < left - _DRIFT_PX:
            _finish(growing[at], row, done)
            at += 1
        if at < len(growing) and growing[at][0] <= left + _DRIFT_PX and abs(growing[at][1] - right) <= _DRIFT_PX:
            block = growing[at]
            at += 1
            block[0], block[1] = left, right
            block[2], block[3] = max(block[2], left), min(block[3], right)
            after.append(block)
        else:
            after.append([left, right, left, right, row])
    for block in growing[at:]:
        _finish(block, row, done)
    return after


def _finish(block: list[int], row: int, done: list[_Block]) -> None:
    _, _, left, right, top = block
    if right > left:
        done.append(_Block(left=left, right=right, top=top, bottom=row))


def _free_runs(
    mask: NDArray[np.uint8], max_gap: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row, first and last-but-one column of free runs with wall at both ends, not longer than `max_gap`."""
    width = mask.shape[1]
    padded = np.ones((mask.shape[0], width + 1), np.uint8)
    padded[:, :width] = mask
    changes = np.flatnonzero(np.diff(padded.ravel(), prepend=np.uint8(1)))
    begins, ends = changes[0::2], changes[1::2]
    rows, lefts = np.divmod(begins[: len(ends)], width + 1)
    rights = ends % (width + 1)
    good = (rights - lefts <= max_gap) & (lefts > 0) & (rights < width)
    return rows[good], lefts[good], rights[good]


def _is_hole(mask: NDArray[np.uint8], block: _Block) -> bool:
    """Whether it lies free on both sides, between ends of which at least one is a wall's own."""
    thickness = block.bottom - block.top
    if not (_lies_free(mask, block, block.top - 3) and _lies_free(mask, block, block.bottom + 2)):
        return False
    ends = [_depth(mask, block, towards) for towards in (-1, 1)]
    strong = [depth >= _STRONG * thickness for depth in ends]
    if all(strong):
        return True
    if not any(strong):
        return False
    weak = 0 if strong[1] else 1
    return ends[weak] >= 0.6 * thickness or _goes_on(mask, block, -1 if weak == 0 else 1)


def _lies_free(mask: NDArray[np.uint8], block: _Block, row: int) -> bool:
    if not 0 <= row < mask.shape[0]:
        return True
    return float(mask[row, block.left : block.right].mean()) < 0.25


def _depth(mask: NDArray[np.uint8], block: _Block, towards: int) -> float:
    """For how many pixels the wall goes on behind an end, in most of the hole's rows."""
    reach = 4 * (block.bottom - block.top)
    rows = slice(block.top, block.bottom)
    # An end is ragged by some pixels; behind those it counts.
    if towards < 0:
        behind = mask[rows, max(0, block.left - _RAGGED_PX - reach) : max(0, block.left - _RAGGED_PX)][:, ::-1]
    else:
        behind = mask[rows, block.right + _RAGGED_PX : block.right + _RAGGED_PX + reach]
    solid = np.minimum.accumulate(behind, axis=1).sum(1)
    return float(np.median(solid)) + _RAGGED_PX if len(solid) else 0.0


def _goes_on(mask: NDArray[np.uint8], block: _Block, towards: int) -> bool:
    """Whether the end is the face of a wall that crosses: it goes on above or below the hole."""
    thickness = block.bottom - block.top
    column = block.left - _RAGGED_PX if towards < 0 else block.right + _RAGGED_PX - 1
    column = min(max(column, 0), mask.shape[1] - 1)
    above = mask[max(0, block.top - thickness) : block.top, column]
    below = mask[block.bottom : block.bottom + thickness, column]
    return bool(len(above) and above.mean() > 0.8) or bool(len(below) and below.mean() > 0.8)


def mask_of(gaps: list[Gap], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """H×W uint8, 1 where a hole was closed."""
    mask = np.zeros(shape, np.uint8)
    for gap in gaps:
        cv2.rectangle(mask, (gap.left, gap.top), (gap.right - 1, gap.bottom - 1), 1, cv2.FILLED)
    return mask
