"""Walls told from thin ink by the width of their strokes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_WIDEST_PX = 400
_LINE_AT_MOST_PX = 4
"""A plan whose ink is nowhere broader than this is drawn in lines alone; then those are its walls."""
_LINE_OF_USUAL = 0.22
_FEW = 0.003
_THIN_WALLS, _RISE = 0.025, 3
"""Thin walls hold at least this share of all ink, and so many times what lies in the valley before them."""
_TEXT_WALLS = (2.5, 10.0)
_TEXT_THICK, _TEXT_PIECE = 0.6, 0.8
_LONG_WALLS, _SOLID = 7, 0.35
_LEAST_OF_USUAL = 0.45
"""Inner walls have at least this share of the usual wall's thickness, by area; lines have less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Walls:
    """`mask`: H×W uint8, 1 where there is wall. Widths in pixels: `least` of a wall, `usual`, and `most`."""

    mask: NDArray[np.uint8]
    least_px: int
    usual_px: float
    most_px: float


def walls_of(ink: NDArray[np.uint8]) -> Walls | None:
    """The ink (H×W uint8 of 0 and 1) in strokes of a wall's width; None where there is none."""
    histogram = _histogram(stroke_widths(ink), ink)
    if not histogram.any():
        return None
    usual = _quantile(histogram, 0.75)
    least = _valley(histogram, usual) if usual > _LINE_AT_MOST_PX else 1
    mask = _broad(ink, least, usual) if least > 1 else ink
    if not mask.any():
        return None
    of_walls = np.where(np.arange(len(histogram)) >= least, histogram, 0)
    of_usual = _quantile(of_walls, 0.5)
    return Walls(mask=mask, least_px=least, usual_px=of_usual, most_px=min(_quantile(of_walls, 0.95), 2.5 * of_usual))


def _broad(ink: NDArray[np.uint8], least: int, usual_px: float) -> NDArray[np.uint8]:
    """Strokes into which an upright square of this side fits, which keeps corners, or a disc, for oblique walls."""
    square = np.ones((least, least), np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (least, least))
    by_square, by_disc = _opened(ink, square), _opened(ink, disc)
    thick = by_square | by_disc
    return _wall_like(thick & _not_text(ink, thick, usual_px), least)


def _opened(ink: NDArray[np.uint8], shape: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Morphological opening; cv2's own moves everything by a pixel where the shape's side is even."""
    middle = shape.shape[0] // 2
    back = shape.shape[0] - 1 - middle
    edge = {"borderType": cv2.BORDER_CONSTANT, "borderValue": 0}
    opened: NDArray[np.uint8] = cv2.dilate(
        cv2.erode(ink, shape, anchor=(middle, middle), **edge), shape[::-1, ::-1], anchor=(back, back), **edge
    )
    return opened


def _not_text(ink: NDArray[np.uint8], thick: NDArray[np.uint8], usual_px: float) -> NDArray[np.uint8]:
    """1 but where a small thing stands alone of which most is thin: letters and words, however bold."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8, ltype=cv2.CV_32S)
    sides = np.sort(stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]], axis=1)
    small = (sides[:, 0] < _TEXT_WALLS[0] * usual_px) & (sides[:, 1] < _TEXT_WALLS[1] * usual_px)
    left = np.bincount(labels[thick > 0], minlength=len(stats))
    text = small & (left < _TEXT_THICK * stats[:, cv2.CC_STAT_AREA]) & (left < _TEXT_PIECE * usual_px**2)
    kept: NDArray[np.uint8] = (~text).astype(np.uint8)[labels]
    return kept


def _wall_like(mask: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """The mask's parts that are long, or solid as a pier between two windows is; letters are neither."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    long = stats[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(1)
    area = stats[:, cv2.CC_STAT_AREA]
    solid = area >= _SOLID * stats[:, cv2.CC_STAT_WIDTH] * stats[:, cv2.CC_STAT_HEIGHT]
    keep = (long >= _LONG_WALLS * least) | (solid & (area >= 3 * least * least))
    keep[0] = False
    kept: NDArray[np.uint8] = keep.astype(np.uint8)[labels]
    return kept


def stroke_widths(ink: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """For each pixel of ink (H×W uint8 of 0 and 1) the shorter of its runs along row and column: exact for upright
    strokes."""
    return np.minimum(_runs(ink), _runs(np.ascontiguousarray(ink.T)).T)


def _runs(ink: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """The length of the run of ink along the row that each pixel is part of; 0 for paper."""
    height, width = ink.shape
    padded = np.zeros((height, width + 1), np.uint8)
    padded[:, :width] = ink
    flat = padded.ravel()
    changes = np.flatnonzero(np.diff(flat, prepend=np.uint8(0)))
    lengths = changes[1::2] - changes[0::2]
    runs = np.zeros(flat.size, np.uint16)
    runs[flat > 0] = np.repeat(np.minimum(lengths, _WIDEST_PX), lengths)
    return runs.reshape(height, width + 1)[:, :width]


def _histogram(widths: NDArray[np.uint16], ink: NDArray[np.uint8]) -> NDArray[np.int64]:
    histogram = np.bincount(widths[ink > 0], minlength=_WIDEST_PX + 1)
    return histogram.astype(np.int64)


def _quantile(histogram: NDArray[np.int64], share: float) -> float:
    running = np.cumsum(histogram)
    return float(np.searchsorted(running, share * running[-1]))


def _valley(histogram: NDArray[np.int64], usual_px: float) -> int:
    """The least width of walls: where, between lines and the usual wall, there is the least ink."""
    first = max(4 if usual_px >= 2 * _LINE_AT_MOST_PX else 3, round(_LINE_OF_USUAL * usual_px))
    last = max(first + 1, round(_LEAST_OF_USUAL * usual_px))
    # A window in proportion to the width makes a valley of a fine drawing that of the same drawing at any size.
    windows = [(width, max(1, width // 6)) for width in range(first, last + 1)]
    scores = [int(histogram[width - reach : width + reach].sum()) for width, reach in windows]
    few = max(1.3 * min(scores), _FEW * int(histogram.sum()))
    low = [*(score <= few for score in scores), False]
    begin = low.index(True)
    valley = first + (begin + low.index(False, begin) - 1) // 2
    return _before_thin_walls(histogram, first, valley)


def _before_thin_walls(histogram: NDArray[np.int64], first: int, valley: int) -> int:
    """A narrower valley than that of least ink, where walls much thinner than the usual one stand behind it."""
    enough = _THIN_WALLS * int(histogram.sum())
    for width in range(first, valley - 1):
        reach = max(1, width // 6)
        here = int(histogram[width - reach + 1 : width + reach].max())
        beyond = int(histogram[width + reach : valley].max(initial=0))
        if beyond >= max(enough, _RISE * here):
            return width
    return valley
