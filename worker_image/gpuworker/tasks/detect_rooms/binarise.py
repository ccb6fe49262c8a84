"""Ink and paper: a picture under uneven light becomes a mask of what was drawn."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.tasks.detect_rooms.polarity import Reading

_BACKGROUND_PX = 256
"""Long side of the picture from which the light is read."""
_PAPER_PX = 21
"""Strokes of that picture narrower than this are none of its paper: broader than any wall, narrower than a shadow."""
_LIGHT_PX = 61
"""Of that picture: how far the brightness of light lines is taken from others, as some of a sheet is empty."""
_LEAST_CONTRAST = 24
"""Ink is darker than its paper by at least this much of 255; less is grain."""
_LEAST_LINE_CONTRAST = 45
"""A line of one pixel is paler than what it was drawn with, and still darker than nearly all grain."""
_LEAST_STRETCHED = 60
"""Light lines that rise less than this above their paper do not become black: grain would turn grey with them."""
_SPECK_PX = 6


def flat_of(rgb: NDArray[np.uint8], reading: Reading) -> NDArray[np.uint8]:
    """H×W×3 uint8 under any light -> H×W uint8, its paper 255 and its ink dark, whichever of them was the lighter
    one."""
    level = _LEVELLED[reading.polarity] if reading.levelled else _AS_IT_IS[reading.polarity]
    if not reading.channels:
        return level(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    darkest = level(np.ascontiguousarray(rgb[:, :, reading.channels[0]]))
    for i in reading.channels[1:]:
        cv2.min(darkest, level(np.ascontiguousarray(rgb[:, :, i])), dst=darkest)
    return darkest


def flattened(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W uint8, grey under any light -> the same with its paper at 255.

    The paper's brightness is what a large dilation and a median of the small picture leave of it: broader than any
    wall, narrower than a shadow.
    """
    height, width = grey.shape
    small = cv2.medianBlur(cv2.resize(grey, _small_size(grey), interpolation=cv2.INTER_AREA), 3)
    paper = cv2.morphologyEx(small, cv2.MORPH_CLOSE, np.ones((_PAPER_PX, _PAPER_PX), np.uint8))
    paper = cv2.resize(cv2.GaussianBlur(paper, (0, 0), 5), (width, height), interpolation=cv2.INTER_LINEAR)
    flat: NDArray[np.uint8] = cv2.divide(grey, cv2.max(paper, 1), scale=255)
    return flat


def flattened_negative(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W uint8 of light lines on dark, under any light -> its paper 255, its lines 0.

    Dark paper tells nothing of the light, so that is read from the lines: how far the brightest of them nearby rise
    above the paper. A clean negative comes back as exactly what it is the negative of.
    """
    height, width = grey.shape
    size = _small_size(grey)
    small = cv2.medianBlur(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), 3)
    paper = cv2.morphologyEx(small, cv2.MORPH_OPEN, np.ones((_PAPER_PX, _PAPER_PX), np.uint8))
    paper = cv2.GaussianBlur(paper, (0, 0), 5)
    rise = cv2.subtract(_brightest(grey, size), paper)
    least = max(_LEAST_STRETCHED, float(np.percentile(rise, 95)) / 2)
    rise = cv2.max(cv2.dilate(rise, np.ones((_LIGHT_PX, _LIGHT_PX), np.uint8)), least)
    rise = cv2.resize(cv2.GaussianBlur(rise, (0, 0), 15), (width, height), interpolation=cv2.INTER_LINEAR)
    paper = cv2.resize(paper, (width, height), interpolation=cv2.INTER_LINEAR)
    flat: NDArray[np.uint8] = cv2.bitwise_not(cv2.divide(cv2.subtract(grey, paper), rise, scale=255))
    return flat


def _stretched(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W with its darkest percent at 0 and its brightest at 255, where it has any contrast."""
    low, high = (float(value) for value in np.percentile(grey[::4, ::4], (1, 99)))
    if high - low < _LEAST_STRETCHED:
        return np.full_like(grey, 255)
    return np.asarray(cv2.convertScaleAbs(cv2.subtract(grey, low), alpha=255 / (high - low)), np.uint8)


def _stretched_negative(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return _stretched(np.asarray(cv2.bitwise_not(grey), np.uint8))


_LEVELLED = {"dark": flattened, "light": flattened_negative}
_AS_IT_IS = {"dark": _stretched, "light": _stretched_negative}


def _brightest(grey: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture reduced to `size` by the brightest of each block, as a mean lets thin lines fade; without specks."""
    block = -(-max(grey.shape) // max(size))
    peaks = cv2.dilate(grey, np.ones((block, block), np.uint8))
    brightest: NDArray[np.uint8] = cv2.medianBlur(cv2.resize(peaks, size, interpolation=cv2.INTER_NEAREST), 3)
    return brightest


def _small_size(grey: NDArray[np.uint8]) -> tuple[int, int]:
    """Width and height."""
    height, width = grey.shape
    scale = _BACKGROUND_PX / max(height, width, _BACKGROUND_PX)
    return max(1, round(width * scale)), max(1, round(height * scale))


def ink_of(flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W uint8 -> H×W uint8 mask, 1 where there is ink; empty where nothing is darker than its paper. Specks are left
    out."""
    calm = cv2.medianBlur(flat, 3)
    threshold, _ = cv2.threshold(calm, 0, 255, cv2.THRESH_OTSU)
    threshold = min(threshold, 255 - _LEAST_CONTRAST)
    ink: NDArray[np.uint8] = (calm <= threshold).view(np.uint8)
    return without_small(ink, _SPECK_PX)


def fine_ink_of(flat: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W uint8 -> H×W uint8 mask, 1 where there is any ink: lines of one pixel, which `ink_of` calms away, and
    specks."""
    return (flat <= 255 - _LEAST_LINE_CONTRAST).view(np.uint8)


def without_small(mask: NDArray[np.uint8], least_px: float) -> NDArray[np.uint8]:
    """The mask (H×W uint8 of 0 and 1) without its connected parts of fewer pixels than `least_px`."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8, ltype=cv2.CV_32S)
    keep = stats[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    kept: NDArray[np.uint8] = keep.astype(np.uint8)[labels] if count > 1 else mask
    return kept
