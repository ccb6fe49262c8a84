"""What a drawing on transparency was meant to lie on: white lines vanish on white."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

_PALE, _DARK = 195, 60
"""Grey of 255: above the one a stroke vanishes on white, below the other on black."""
_STROKE_OF_PAGE = 0.05
"""Strokes are narrower than this share of the page's shorter side; a broader white surface is paper of its own."""
_SURFACE = 0.5


_DRAWN = 0.5
"""More of a page than this is a picture, no drawing."""


def is_drawn_in_white(parts: Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]) -> bool:
    """Whether a picture holds white strokes on transparency, and more of them than black ones.

    `parts`: of its colours (H×W×3 uint8) and its opacity (H×W uint8, 255 is opaque), all or a sample.
    """
    pixels, drawn, pale, surface, dark = np.sum([_weighed(rgb, opaque) for rgb, opaque in parts], axis=0)
    return bool(0 < drawn <= _DRAWN * pixels and pale > dark and surface < _SURFACE * pale)


def _weighed(rgb: NDArray[np.uint8], opaque: NDArray[np.uint8]) -> tuple[int, int, int, int, int]:
    """Pixels of a part: all, those drawn on, those drawn on in white, those of them in a surface, and in black."""
    drawn = opaque >= 128
    grey = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY)
    pale = (drawn & (grey >= _PALE)).view(np.uint8)
    width = max(2, round(_STROKE_OF_PAGE * min(grey.shape)))
    surface = cv2.morphologyEx(pale, cv2.MORPH_OPEN, np.ones((width, width), np.uint8))
    dark = drawn & (grey <= _DARK)
    return drawn.size, int(drawn.sum()), int(pale.sum()), int(surface.sum()), int(dark.sum())
