"""Rooms of a floor plan, found by their walls: the steps in their order, each in its module.

    surround   what lies round the sheet is none of it
    polarity   what is ink: dark lines on light paper, or light lines on dark
    binarise   uneven light -> ink
    deskew     turn the plan upright
    walls      ink in broad strokes; thin lines (doors' swings, furniture, text, dimensions) fall out
    gaps       close doors and windows along the walls
    regions    the floors that are left apart, as outlines, or why they are no rooms
    lines      doors' swings and furniture inside them, which are counted
    labels     what is written in them
    absence    where there are none, why, and what to try

All of it is deterministic and takes a time and memory in proportion to the picture, whatever is in it.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.tasks.detect_rooms.binarise import fine_ink_of, flat_of, ink_of
from gpuworker.tasks.detect_rooms.deskew import skew_of, straightening, turned, turned_back
from gpuworker.tasks.detect_rooms.gaps import bridged, gaps_of, max_gap_px
from gpuworker.tasks.detect_rooms.lines import lines_within
from gpuworker.tasks.detect_rooms.options import Options
from gpuworker.tasks.detect_rooms.polarity import Reading, readings_of
from gpuworker.tasks.detect_rooms.regions import LEAST_BREADTH_WALLS, Bounds, regions_of
from gpuworker.tasks.detect_rooms.surround import sheet_of, without_frame
from gpuworker.tasks.detect_rooms.walls import Walls, walls_of

VERSION = "2"
_MORE = 1.03
"""Rooms of the right reading are larger by more than this: of two plans in three pairs of tones, with from none to 50
pixels of paper round them."""
MAX_DECODE_PX = 2000
"""A long side at which the walls of a whole sheet are told from lines; pictures are reduced to less than twice that."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Room:
    """`corners`: n×2 in pixels of the picture given; `enclosed`: the share of the outline that is wall, 0..1."""

    corners: NDArray[np.float64]
    enclosed: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Rooms:
    """What a plan holds."""

    reading: Reading
    """What was taken for ink."""
    has_ink: bool = True
    rooms: list[Room]
    rejected: Mapping[str, int]
    """Regions that are no rooms, counted by reason."""
    skew_deg: float
    wall_px: float
    """The usual thickness of walls; 0 where there are none."""
    gaps: int

    @property
    def area(self) -> float:
        """Of all rooms together, in pixels."""
        return sum(float(cv2.contourArea(room.corners.astype(np.float32))) for room in self.rooms)


def rooms_of(rgb: NDArray[np.uint8], options: Options, *, scale: float = 1.0) -> Rooms:
    """Find the rooms of an H×W×3 uint8 picture, which is `scale` times as large as the one the options speak of.

    A picture that may be read in several ways is read in all of them, and has the rooms of the one that finds most.
    """
    found = _by_most(rgb, options, scale)
    sheet = sheet_of(rgb)
    if sheet is None:
        return found
    inner = _by_most(sheet.rgb, options, scale)
    better = bool(inner.rooms) if sheet.is_certain else len(inner.rooms) > len(found.rooms)
    return inner if better else found


def _by_most(rgb: NDArray[np.uint8], options: Options, scale: float) -> Rooms:
    found = [_rooms_by(reading, rgb, options, scale) for reading in readings_of(rgb, options.polarity)]
    return functools.reduce(_better, found)


def _better(first: Rooms, second: Rooms) -> Rooms:
    """The reading that finds more rooms; where both find as many, the one whose rooms reach up to the walls.

    Paper read as ink leaves a seam of it beside each line, which looks like a wall and takes from the rooms.
    """
    if len(first.rooms) != len(second.rooms):
        return max(first, second, key=lambda one: len(one.rooms))
    return second if second.area > _MORE * first.area else first


@dataclass(frozen=True, kw_only=True, eq=False)
class _Upright:
    """A plan turned upright: H×W grey on paper of 255, its ink, and the 2×3 matrix that turned it."""

    flat: NDArray[np.uint8]
    ink: NDArray[np.uint8]
    matrix: NDArray[np.float64]
    skew_deg: float

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], reading: Reading, *, deskew: bool) -> _Upright:
        """Of an H×W×3 uint8 picture, read as `reading` says."""
        flat = flat_of(rgb, reading)
        ink = ink_of(flat)
        skew = skew_of(ink) if deskew else 0.0
        height, width = ink.shape
        matrix, size = straightening(height, width, skew)
        if skew:
            flat = turned(flat, matrix, size)
            ink = ink_of(flat)
        return cls(flat=flat, ink=without_frame(ink), matrix=matrix, skew_deg=skew)


def _rooms_by(reading: Reading, rgb: NDArray[np.uint8], options: Options, scale: float) -> Rooms:
    plan = _Upright.of(rgb, reading, deskew=options.deskew)
    nothing = Rooms(
        reading=reading,
        has_ink=bool(plan.ink.any()),
        rooms=[],
        rejected=Counter(),
        skew_deg=plan.skew_deg,
        wall_px=0.0,
        gaps=0,
    )
    walls = walls_of(plan.ink)
    if walls is None:
        return nothing
    gaps = gaps_of(walls, max_gap_px(walls, options.max_gap * scale))
    bounds = _bounds(options, walls, page_px=rgb.shape[0] * rgb.shape[1], scale=scale)
    closed = bridged(walls.mask, gaps)
    found = regions_of(walls.mask, closed, bounds)
    outlines = [region.corners for region in found.regions]
    drawn = lines_within(outlines, plan.ink | fine_ink_of(plan.flat), closed, gaps, bounds.least_area)
    rooms = [Room(corners=turned_back(one.corners, plan.matrix), enclosed=one.enclosed) for one in found.regions]
    return replace(nothing, rooms=rooms, rejected=found.rejected + drawn, wall_px=walls.usual_px, gaps=len(gaps))


def _bounds(options: Options, walls: Walls, *, page_px: int, scale: float) -> Bounds:
    """In pixels of the picture, which is `scale` times as large as the one that the options speak of."""
    page_area = page_px / scale**2
    return Bounds(
        least_area=options.least_area(page_area) * scale**2,
        most_area=options.most_area(page_area) * scale**2,
        least_breadth_px=LEAST_BREADTH_WALLS * walls.usual_px,
        epsilon_factor=options.epsilon_factor,
    )
