"""Doors and windows: short holes in a straight wall, found as blocks of free runs between two ends of wall."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.tasks.detect_rooms.walls import Walls

# How far each constant carries was measured by halving and doubling it alone: on 40 synthetic plans (seeds 0..39 of
# `benchmarks.plans.TUNING`, 39 of them exact, mean IoU 0.991, 313 rooms matched) and on the three example plans (7, 11
# and 15 rooms). "No plan changes" is said of these 43; such a constant was set by eye on plans like them.
_AUTO_GAP_PX = 125.0
"""Between what parts two rooms in the synthetic plans (at most 110 pixels) and what makes them one (at least 150).
Halved, 14 plans are exact; doubled, 15."""
_AUTO_GAP_WALLS = 7.0
"""About a door of 0.9 m to an inner wall of 0.13 m; where walls are thin `_AUTO_GAP_PX` counts. Doubled, 24 plans are
exact; halved, no plan changes."""
_RUNS_AT_MOST = 200_000
"""Above it a page is noise: none of the synthetic plans has half as many. It bounds the time."""
_HOLES_AT_MOST = 3_000
"""As above, of candidates: each is measured by itself in Python, and none of the synthetic plans has half as many."""
_DRIFT_PX = 2
"""How far the ends of a run may move from one row to the next and still belong to one block: by the anti-aliased edge
of a line. At 1 pixel one plan less is exact; at 4 no plan changes."""
_RAGGED_PX = 3
"""How far a wall's end is ragged by noise and anti-aliasing; a pixel more than `_DRIFT_PX`. At 6 pixels the example
house loses a room; at 2 no plan changes."""
_NUB_PX = 8
"""What a door's swing or leaf leaves at a wall's end: its pen is 1 to 2 pixels wide, met at a slant. Set by eye: at 4
and at 16 no plan changes; of seeds 40..119 one more is exact at 4."""
_ALIKE = 1.2
"""A wall behind an end goes on as thick as the hole when it is at most so many times as thick, and 3 pixels. At 0.6
nothing is found; at 2.4 no plan changes, but a photograph without a plan gets a room."""
_PIER = 0.6
"""Of two ends of one wall the shorter goes on for at least this share of the hole's thickness; and a gap longer than
`_PIER_REACH` has at least this share of the usual wall's. Set by eye: halved and doubled no plan changes, nor any of
seeds 40..119."""
_CERTAIN = 2.0
"""One end that goes on for so many thicknesses is a wall, whatever the other is. Set by eye: halved and doubled no plan
changes, nor any of seeds 40..119."""
_SMALL_WALLS = 5
"""A part of the walls so many usual thicknesses long stands for itself; letters and columns are smaller. At 2 the
examples have two gaps more and no room less; at 10 no plan changes."""
_PIER_LEAST = 1.15
"""Gaps at a thin pier are at least so many times as thick as the thinnest wall. Doubled, one plan less is exact;
halved, no plan changes."""
_PIER_REACH = 6
"""A thin pier holds doors of up to so many times its own length; a letter may lie between two walls far apart. Set by
eye: halved and doubled no plan changes, nor any of seeds 40..119."""
_STUB_LEASTS = 6
"""A part shorter than so many times the thinnest wall is a thin pier, of which the two above are asked. Set by eye:
halved and doubled no plan changes, nor any of seeds 40..119."""
_TINY_LEASTS = 4.0
"""A part shorter than so many times the thinnest wall is a piece of a letter unless it is solid. At 8 two plans less
are exact and the example house loses a room; at 2 no plan changes."""
_COLUMN = 0.85
"""A part that fills this share of its box is solid: a column, or a pier that lies straight; noise takes some of the
edge. Halved, 30 plans are exact; above 1, which makes nothing solid, no plan changes."""
_BROADER = 1.4
"""A column broader than so many times the gap, and 3 pixels, is none of the wall it stands in line with. Halved, 32
plans are exact; doubled, no plan changes."""
_OBLONG = 3
"""A solid thing so many times as long as broad is a piece of wall, no column. At 6 one plan less is exact; at 2 no plan
changes."""
_STRONG = 1.3
"""An end is a wall's own when the wall goes on behind it by this many times the hole's thickness. Halved, 32 plans are
exact; doubled, 38."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A rectangle that closes a hole; right and bottom are outside it."""

    along: str
    """"x" where the wall runs along rows, "y" along columns."""
    left: int
    top: int
    right: int
    bottom: int

    @property
    def across(self) -> tuple[int, int]:
        """Where it lies through the wall."""
        return (self.top, self.bottom) if self.along == "x" else (self.left, self.right)

    @property
    def length(self) -> int:
        return self.right - self.left if self.along == "x" else self.bottom - self.top

    @property
    def thickness(self) -> int:
        return self.across[1] - self.across[0]


def max_gap_px(walls: Walls, asked_px: float) -> float:
    """How wide a hole in a wall may be. Thick walls are large scale: there doors have more pixels, too."""
    return asked_px if asked_px > 0 else max(_AUTO_GAP_PX, _AUTO_GAP_WALLS * walls.usual_px)


def gaps_of(walls: Walls, max_gap: float) -> list[Gap]:
    """Holes along rows and along columns, in the order in which they were found."""
    found = _round(walls, max_gap)
    # A door beside a junction may face another door; that one is wall by now.
    closed = replace(walls, mask=bridged(walls.mask, found))
    return [*found, *_round(closed, max_gap)]


def _round(walls: Walls, max_gap: float) -> list[Gap]:
    across = [_gap(block, along="x") for block in _holes(walls, walls.mask, max_gap)]
    down = [_gap(block, along="y") for block in _holes(walls, np.ascontiguousarray(walls.mask.T), max_gap)]
    return _without_loose_ends(walls, [*across, *down])


def _without_loose_ends(walls: Walls, gaps: list[Gap]) -> list[Gap]:
    """The gaps without those that end at a small thing and lead no further: a letter, a column, a piece of furniture.

    A pier between two windows is as small, but its wall goes on behind it.
    """
    _, labels, stats, _ = cv2.connectedComponentsWithStats(walls.mask, connectivity=8, ltype=cv2.CV_32S)
    held = [(gap, _end_labels(gap, labels)) for gap in gaps]
    while True:
        at: dict[int, list[tuple[Gap, str]]] = {}
        for gap, (first, last) in held:
            at.setdefault(first, []).append((gap, "first"))
            at.setdefault(last, []).append((gap, "last"))
        loose = {label for label, led_to in at.items() if _is_loose(stats[label].tolist(), led_to, walls)}
        if not loose:
            return [gap for gap, _ in held]
        held = [(gap, ends) for gap, ends in held if not loose & {*ends}]


def _is_loose(part: list[int], led_to: list[tuple[Gap, str]], walls: Walls) -> bool:
    """Whether a part of the walls (its box and area) is small and no pier or corner between two gaps."""
    _, _, width, height, area = part
    if max(width, height) >= _SMALL_WALLS * walls.usual_px:
        return False
    solid = area >= _COLUMN * width * height
    if max(width, height) < _TINY_LEASTS * walls.least_px and not solid:
        return True
    thick = led_to
    if max(width, height) < _STUB_LEASTS * walls.least_px:
        reach = _PIER_REACH * max(width, height)
        thick = [
            (gap, end)
            for gap, end in led_to
            if gap.thickness >= _PIER_LEAST * walls.least_px
            and (gap.length <= reach or gap.thickness >= _PIER * walls.usual_px)
        ]
    if solid and max(width, height) < _OBLONG * min(width, height):
        # A column is broader than the wall that it happens to stand in line with.
        thick = [
            (gap, end) for gap, end in thick if (height if gap.along == "x" else width) <= _BROADER * gap.thickness + 3
        ]
    return not _leads_on(thick)


def _leads_on(led_to: list[tuple[Gap, str]]) -> bool:
    """Whether there is a gap of the same thickness on either side, or one along and one across."""
    if {gap.along for gap, _ in led_to} == {"x", "y"}:
        return True
    before = [gap.across for gap, end in led_to if end == "last"]
    after = [gap.across for gap, end in led_to if end == "first"]
    return any(abs(a[0] - b[0]) <= 3 and abs(a[1] - b[1]) <= 3 for a in before for b in after)


def _end_labels(gap: Gap, labels: NDArray[np.int32]) -> tuple[int, int]:
    """Which parts of the wall a gap lies between; an end overlaps its gap by `_RAGGED_PX`."""
    y, x = (gap.top + gap.bottom) // 2, (gap.left + gap.right) // 2
    line, start, end = (labels[y], gap.left, gap.right) if gap.along == "x" else (labels[:, x], gap.top, gap.bottom)
    return int(line[max(0, start - 1) : start + _RAGGED_PX].max()), int(line[end - _RAGGED_PX : end + 1].max())


def bridged(walls: NDArray[np.uint8], gaps: list[Gap]) -> NDArray[np.uint8]:
    """The walls (H×W uint8, 1 where there is wall) with their holes closed."""
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


def _gap(block: _Block, *, along: str) -> Gap:
    """Into the ragged ends, which are wall anyway; blocks along "y" are those of the mask turned over its diagonal."""
    start, end = max(0, block.left - _RAGGED_PX), block.right + _RAGGED_PX
    if along == "x":
        return Gap(along=along, left=start, top=block.top, right=end, bottom=block.bottom)
    return Gap(along=along, left=block.top, top=start, right=block.bottom, bottom=end)


def _holes(walls: Walls, mask: NDArray[np.uint8], max_gap: float) -> list[_Block]:
    """The holes of rows; none at all where there are more candidates than any plan has: that is noise."""
    thinnest, thickest = 0.8 * walls.least_px, 1.2 * walls.most_px + 2
    blocks = [block for block in _blocks(mask, max_gap) if block.bottom - block.top <= thickest]
    candidates = [block for block in [*blocks, *_joined(blocks)] if thinnest <= block.bottom - block.top <= thickest]
    return [block for block in candidates if _is_hole(mask, block)] if len(candidates) <= _HOLES_AT_MOST else []


def _joined(blocks: list[_Block]) -> list[_Block]:
    """Blocks one upon the other whose ends differ by a nub, such as the foot of a door's swing, as one."""
    by_top: dict[int, list[_Block]] = {}
    for block in blocks:
        by_top.setdefault(block.top, []).append(block)
    return [
        _Block(left=max(a.left, b.left), right=min(a.right, b.right), top=a.top, bottom=b.bottom)
        for a in blocks
        for b in by_top.get(a.bottom, ())
        if abs(a.left - b.left) <= _NUB_PX and abs(a.right - b.right) <= _NUB_PX
        if max(a.left, b.left) < min(a.right, b.right)
    ]


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
    """Whether it lies free on both sides, between two ends of one wall, or an end and the face of a wall across."""
    if not (_lies_free(mask, block, block.top - 3) and _lies_free(mask, block, block.bottom + 2)):
        return False
    thickness = block.bottom - block.top
    across = [_thickness_behind(mask, block, towards) for towards in (-1, 1)]
    own = [behind <= _ALIKE * thickness + 3 for behind in across]
    deep = [_depth(mask, block, towards) / thickness for towards in (-1, 1)]
    if all(own):
        return (min(deep) >= _PIER and max(deep) >= 1.0) or max(deep) >= _CERTAIN
    return any(is_own and depth >= _STRONG for is_own, depth in zip(own, deep, strict=True))


def _thickness_behind(mask: NDArray[np.uint8], block: _Block, towards: int) -> int:
    """How thick the wall is behind an end, measured through it: far more than the hole where it runs across.

    The middle of some columns, since a door's leaf may stand just at the end, or a nub before a wall.
    """
    thickness = block.bottom - block.top
    reach, middle = 2 * thickness + 8, (block.top + block.bottom) // 2
    near = block.left - _RAGGED_PX - 1 if towards < 0 else block.right + _RAGGED_PX
    columns = np.clip(near + towards * np.arange(0, thickness + 1, 2), 0, mask.shape[1] - 1)
    below = mask[middle : middle + reach, columns]
    above = mask[max(0, middle - reach) : middle, columns][::-1]
    through = np.minimum.accumulate(below, axis=0).sum(0) + np.minimum.accumulate(above, axis=0).sum(0)
    through = np.sort(through[through > 0])
    return int(through[(len(through) - 1) // 2]) if len(through) else 0


def _lies_free(mask: NDArray[np.uint8], block: _Block, row: int) -> bool:
    if not 0 <= row < mask.shape[0]:
        return True
    return float(mask[row, block.left : block.right].mean()) < 0.25


def _depth(mask: NDArray[np.uint8], block: _Block, towards: int) -> float:
    """For how many pixels the wall goes on behind an end, in four of five of the hole's rows."""
    reach = 4 * (block.bottom - block.top)
    rows = slice(block.top, block.bottom)
    # An end is ragged by some pixels; behind those it counts.
    if towards < 0:
        behind = mask[rows, max(0, block.left - _RAGGED_PX - reach) : max(0, block.left - _RAGGED_PX)][:, ::-1]
    else:
        behind = mask[rows, block.right + _RAGGED_PX : block.right + _RAGGED_PX + reach]
    solid = np.minimum.accumulate(behind, axis=1).sum(1)
    return float(np.quantile(solid, 0.2)) + _RAGGED_PX if len(solid) else 0.0


def mask_of(gaps: list[Gap], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """H×W uint8, 1 where a hole was closed."""
    mask = np.zeros(shape, np.uint8)
    for gap in gaps:
        cv2.rectangle(mask, (gap.left, gap.top), (gap.right - 1, gap.bottom - 1), 1, cv2.FILLED)
    return mask
