"""What thin lines enclose inside rooms: doors' swings and furniture, which are no rooms, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.tasks.detect_rooms.gaps import Gap

_BESIDE_PX = 4
"""A swing begins this near to the hole that its door closes."""


def lines_within(
    rooms: Sequence[NDArray[np.float64]],
    ink: NDArray[np.uint8],
    closed: NDArray[np.uint8],
    gaps: Sequence[Gap],
    least_area: float,
) -> Counter[str]:
    """Parts of rooms of at least `least_area` that ink cuts off from the floor: `door_swing` beside a gap, or
    `furniture`; `ink` and `closed` are H×W uint8 of 0 and 1, `rooms` n×2 float64 corners on the same canvas."""
    owners = np.zeros(ink.shape, np.int32)
    for number, corners in enumerate(rooms, 1):
        cv2.fillPoly(owners, [np.round(corners).astype(np.int32)], number)
    paper = ((owners > 0) & ((ink | closed) == 0)).view(np.uint8)
    _, parts, stats, _ = cv2.connectedComponentsWithStats(paper, connectivity=4, ltype=cv2.CV_32S)
    beside = _beside(parts, gaps)
    large = [int(part) for part in np.flatnonzero(stats[:, cv2.CC_STAT_AREA] >= least_area) if part > 0]
    floors: dict[int, int] = {}
    owner_of = {part: _owner(part, parts, owners, stats[part].tolist()) for part in large}
    for part in large:
        best = floors.setdefault(owner_of[part], part)
        if stats[part, cv2.CC_STAT_AREA] > stats[best, cv2.CC_STAT_AREA]:
            floors[owner_of[part]] = part
    enclosed = [part for part in large if floors[owner_of[part]] != part]
    return Counter("door_swing" if part in beside else "furniture" for part in enclosed)


def _owner(part: int, parts: NDArray[np.int32], owners: NDArray[np.int32], box: list[int]) -> int:
    """The room of a part, read in its topmost row."""
    left, top, width, *_ = box
    at = left + int((parts[top, left : left + width] == part).argmax())
    return int(owners[top, at])


def _beside(parts: NDArray[np.int32], gaps: Sequence[Gap]) -> set[int]:
    """The parts that lie against the middle of a gap."""
    found: set[int] = set()
    for gap in gaps:
        rows = slice(max(0, gap.top - _BESIDE_PX), gap.bottom + _BESIDE_PX)
        columns = slice(max(0, gap.left - _BESIDE_PX), gap.right + _BESIDE_PX)
        quarter = gap.length // 4
        if gap.along == "x":
            columns = slice(gap.left + quarter, gap.right - quarter)
        else:
            rows = slice(gap.top + quarter, gap.bottom - quarter)
        found.update(int(part) for part in np.unique(parts[rows, columns]))
    return found
