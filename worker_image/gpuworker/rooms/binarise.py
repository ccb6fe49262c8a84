"""Ink and paper: a picture under uneven light becomes a mask of what was drawn."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_BACKGROUND_PX = 256
"""Long side of the picture from which the light is read."""
_LEAST_CONTRAST = 24
"""Ink is darker than its paper by at least this much of 255; less is grain."""
_LEAST_LINE_CONTRAST = 45
"""A line of one pixel is paler than what it was drawn with, and still darker than nearly all grain."""
_SPECK_PX = 6


def flattened(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W grey under any light -> the same with its paper at 255.

    The paper's brightness is what a large dilation and a median of the small picture leave of it: broader than any
    wall, narrower than a shadow.
    """
    height, width = grey.shape
    scale = _BACKGROUND_PX / max(height, width, _BACKGROUND_PX)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.medianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), 3)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((21, 21), np.uint8))
    paper = cv2.resize(cv2.GaussianBlur(paper, (0, 0), 5), (width, height), interpolation=cv2.INTER_LINEAR)
    flat: NDArray[np.uint8] = cv2.divide(grey, cv2.max(paper, 1), scale=255)
    return flat


def ink_of(flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W mask, 1 where there is ink; empty where nothing is darker than its paper. Specks are left out."""
    calm = cv2.medianBlur(flat, 3)
    threshold, _ = cv2.threshold(calm, 0, 255, cv2.THRESH_OTSU)
    threshold = min(threshold, 255 - _LEAST_CONTRAST)
    ink: NDArray[np.uint8] = (calm <= threshold).view(np.uint8)
    return without_small(ink, _SPECK_PX)


def fine_ink_of(flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W mask, 1 where there is any ink: lines of one pixel, which `ink_of` calms away, and specks."""
    return (flat <= 255 - _LEAST_LINE_CONTRAST).view(np.uint8)


def without_small(mask: NDArray[np.uint8], least_px: float) -> NDArray[np.uint8]:
    """The mask without its connected parts of fewer pixels than `least_px`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    keep = stats[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    kept: NDArray[np.uint8] = keep.astype(np.uint8)[labels] if count > 1 else mask
    return kept
