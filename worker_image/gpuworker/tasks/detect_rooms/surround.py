"""What lies round a sheet and is none of its drawing: a scanner's lid, a table, the white of a light table, a frame."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.tasks.detect_rooms.polarity import most, reduced

_UNLIKE = 60
"""Of 255: by how much, in one channel at least, a side of the page has another colour than its middle."""
_PLAIN = 0.6
"""This share of a side has one colour, or there is nothing to tell from the sheet."""
_MIDDLE = 0.2
"""The middle of the page begins so far in, as a share of its sides."""
_SHARP = 40
"""Of 255: by how much the colour changes within a few pixels where a sheet ends; a shadow has no such edge."""
_BESIDE_PX = -3, 3
"""So near to its edge, in a picture of 512 pixels, the colours before and behind it are compared."""
_SOFT_EDGE_PX = 7
_EDGE = 0.015
"""Of the page's shorter side: how far a sheet's own edge (its shadow, a frayed or crooked cut) reaches into it."""
_BROAD = 0.03
"""Of the page's shorter side: a wall at the edge of a plan that was cut out closely is thinner, on the average of its
sides; a margin is broader."""
_NEAR_EDGE = 0.15
_RULED = 0.7
_FRAME_THICK = 0.03
"""A frame is one rectangle of lines, together no thicker than this share of the page."""
_BUILDING, _LONGEST = 0.5, 0.3
"""What stands in a frame is a plan where it reaches over the one share of it, along and across, and has a part that
reaches over the other, along or across; furniture in the walls of a single room does neither."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sheet:
    """`rgb`: H×W×3, the page with its sheet's own colours continued to the page's edge."""

    rgb: NDArray[np.uint8]
    is_certain: bool
    """What was round it is broader than a wall could be."""


def sheet_of(rgb: NDArray[np.uint8]) -> Sheet | None:
    """The sheet that a picture (H×W×3 uint8) shows with something round it; None where the page is the sheet."""
    small = reduced(rgb)
    sides = [turns for turns in range(4) if _is_sharp(np.rot90(small, turns))]
    if not sides:
        return None
    around = np.bitwise_or.reduce([np.rot90(_below(np.rot90(rgb, turns)), -turns) for turns in sides])
    height, width = around.shape
    certain = float(around.sum()) > _BROAD * min(height, width) * 2 * (height + width)
    away = _grown(around, round(_EDGE * min(height, width)) if certain else _SOFT_EDGE_PX // 2)
    return None if away.all() else Sheet(rgb=_continued(rgb, away), is_certain=certain)


def _is_sharp(rgb: NDArray[np.uint8]) -> bool:
    """Whether the top of a picture has a colour of its own that ends at once, and at the paper of the picture's middle:
    not as light falls off, and not at a wall."""
    depths = _below(rgb).sum(0, dtype=np.int64)
    if not depths.any():
        return False
    columns = np.flatnonzero((depths > 0) & (depths < len(rgb)))
    before, behind = (
        rgb[np.clip(depths[columns] + offset, 0, len(rgb) - 1), columns].astype(np.int64) for offset in _BESIDE_PX
    )
    steps = np.abs(behind - before).max(1) > _SHARP
    at_paper = np.abs(behind - _paper(rgb)).max(1) < np.abs(before - _paper(rgb)).max(1) / 2
    return bool((steps & at_paper).mean() > 0.5) if len(columns) else False


def _below(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W, 1 where a straight way leads up to the top of a picture through the top's own colour, if it has one that is
    not the colour of the picture's middle."""
    top, paper = np.median(rgb[0], axis=0), _paper(rgb)
    is_plain = (np.abs(rgb[0] - top).max(1) < _UNLIKE).mean() > _PLAIN
    if not is_plain or not np.abs(top - paper).max() > _UNLIKE:
        return np.zeros(rgb.shape[:2], np.uint8)
    return np.minimum.accumulate(_nearer(np.ascontiguousarray(rgb), top, paper), axis=0)


def _paper(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The colour that most of the middle of a picture has."""
    down, across = (int(length * _MIDDLE) for length in rgb.shape[:2])
    middle = rgb[down : rgb.shape[0] - down : 4, across : rgb.shape[1] - across : 4]
    return np.asarray(np.median(middle.reshape(-1, 3), axis=0), np.float64)


def _grown(mask: NDArray[np.uint8], by_px: int) -> NDArray[np.uint8]:
    grown: NDArray[np.uint8] = cv2.dilate(mask, np.ones((2 * by_px + 1, 2 * by_px + 1), np.uint8))
    return grown


def _nearer(rgb: NDArray[np.uint8], to: NDArray[np.float64], than: NDArray[np.float64]) -> NDArray[np.uint8]:
    """H×W, 1 where a pixel's colour is nearer to the one than to the other, in the channel where each differs most."""
    distances = [most(cv2.absdiff(rgb, np.broadcast_to(colour.astype(np.uint8), rgb.shape))) for colour in (to, than)]
    return (distances[0] < distances[1]).view(np.uint8)


def _continued(rgb: NDArray[np.uint8], away: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with each pixel of `away` in the colour of the nearest one that is not."""
    _, labels = cv2.distanceTransformWithLabels(away, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    stays = away == 0
    colours[labels[stays]] = rgb[stays]
    continued: NDArray[np.uint8] = colours[labels]
    return continued


def without_frame(ink: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The ink (H×W uint8 of 0 and 1) without the rectangle that is drawn round a whole sheet, where there is one."""
    if not _is_ruled(ink):
        return ink
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    frames = [number for number in _reaching(stats, ink.shape, 1 - _NEAR_EDGE) if _is_hollow(labels, number, stats)]
    if not frames:
        return ink
    left = np.where(np.isin(labels, frames), np.uint8(0), ink)
    return left if _is_a_plan(np.delete(stats, [0, *frames], axis=0), stats[frames[0]]) else ink


def _is_a_plan(parts: NDArray[np.int32], frame: NDArray[np.int32]) -> bool:
    """Whether the parts of the ink inside a frame are large enough for a building."""
    if not len(parts):
        return False
    low, sizes = parts[:, :2], parts[:, 2:4]
    reach = ((low + sizes).max(0) - low.min(0)) / frame[2:4]
    return bool((reach >= _BUILDING).all() and (sizes / frame[2:4]).max() >= _LONGEST)


def _is_ruled(ink: NDArray[np.uint8]) -> bool:
    """Whether there is a long line near each side of the page: quickly told, and not so of most plans."""
    for axis in (0, 1):
        filled = ink.mean(1 - axis) > _RULED
        near = max(1, int(len(filled) * _NEAR_EDGE))
        if not (filled[:near].any() and filled[-near:].any()):
            return False
    return True


def _reaching(stats: NDArray[np.int32], shape: tuple[int, ...], share: float) -> list[int]:
    """The parts of the ink that are at least that share of `shape` (height, width) both ways."""
    sizes = stats[:, [cv2.CC_STAT_HEIGHT, cv2.CC_STAT_WIDTH]]
    reach = (sizes >= share * np.array(shape)).all(1)
    return [int(number) for number in np.flatnonzero(reach) if number]


def _is_hollow(labels: NDArray[np.int32], number: int, stats: NDArray[np.int32]) -> bool:
    """Whether a part of the ink keeps to the edge of its own box."""
    left, top, width, height = (int(value) for value in stats[number][:4])
    thick = max(2, round(_FRAME_THICK * min(width, height)))
    inner = labels[top + thick : top + height - thick, left + thick : left + width - thick]
    return not bool((inner == number).any())
