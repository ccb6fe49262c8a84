"""Colour laid over a picture where a mask is: by a table, since all but a mask's soft edge takes the same share."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
_SHARE = 0.42
"""Of the colour where a mask is full."""


def tint(rgb: NDArray[np.uint8], soft: NDArray[np.uint8], colour: Colour) -> None:
    """Tint a picture (H×W×3 uint8, maybe a part of a larger one) in place; `soft` (H×W uint8) is how full the mask is,
    to 255."""
    edge = np.nonzero(soft + np.uint8(1) > 1)  # neither 0 nor 255, which becomes 0
    blended = _blended(rgb[edge], soft[edge], colour)
    cv2.copyTo(cv2.LUT(rgb, _table(colour)), above(soft, 254), rgb)
    rgb[edge] = blended


def above(soft: NDArray[np.uint8], value: int) -> NDArray[np.uint8]:
    """H×W uint8 -> the same: 255 above a value, else 0."""
    # Not `cv2.compare` or `inRange`, which take an array of one pixel for a number.
    found: NDArray[np.uint8] = cv2.threshold(soft, value, 255, cv2.THRESH_BINARY)[1]
    return found


def _blended(rgb: NDArray[np.uint8], soft: NDArray[np.uint8], colour: Colour) -> NDArray[np.uint8]:
    """N×3 pixels, each tinted by its share (N, 0..255) of the full tint."""
    share = soft[:, None].astype(np.float32) * np.float32(_SHARE / 255)
    return (rgb + (np.array(colour, np.float32) - rgb) * share).astype(np.uint8)


@lru_cache(maxsize=32)
def _table(colour: Colour) -> NDArray[np.uint8]:
    """1×256×3: what becomes of each value of red, green and blue where a mask is full."""
    values = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
    return _blended(values, np.full(256, 255, np.uint8), colour)[None]
