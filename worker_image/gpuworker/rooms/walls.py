"""Walls told from thin ink by the width of their strokes."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.rooms.binarise import without_small

_WIDEST_PX = 400
_LINE_AT_MOST_PX = 4
"""A plan whose ink is nowhere broader than this is drawn in lines alone; then those are its walls."""
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
    """The ink in strokes of a wall's width; None where there is none."""
    histogram = _histogram(stroke_widths(ink), ink)
    if not histogram.any():
        return None
    usual = _quantile(histogram, 0.75)
    least = _valley(histogram, usual) if usual > _LINE_AT_MOST_PX else 1
    mask = _broad(ink, least) if least > 1 else ink
    if not mask.any():
        return None
    of_walls = np.where(np.arange(len(histogram)) >= least, histogram, 0)
    return Walls(mask=mask, least_px=least, usual_px=_quantile(of_walls, 0.5), most_px=_quantile(of_walls, 0.97))


def _broad(ink: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """Strokes into which a disc of this diameter fits; corners, which it rounds off, come back within the ink."""
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (least, least))
    thick = cv2.morphologyEx(ink, cv2.MORPH_OPEN, disc, borderType=cv2.BORDER_CONSTANT, borderValue=0)
    grown = cv2.dilate(thick, np.ones((3, 3), np.uint8)) & ink
    return without_small(grown, 1.5 * least * least)


def stroke_widths(ink: NDArray[np.uint8]) -> NDArray[np.uint16]:
    """For each pixel of ink the shorter of its runs along row and column: exact for upright strokes."""
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
    most = max(4, round(_LEAST_OF_USUAL * usual_px))
    # A window in proportion to the width makes a valley of a fine drawing that of the same drawing at any size.
    scores = [histogram[width - max(1, width // 6) : width + max(1, width // 6)].sum() for width in range(3, most + 1)]
    return 3 + int(np.argmin(scores))
