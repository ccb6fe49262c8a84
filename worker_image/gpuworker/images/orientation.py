"""EXIF orientation (TIFF 6.0, tag 274): pixels turned upright, and windows of the upright picture where they lie."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.images.window import Window

_TURNS = {
    1: (False, None),
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
"""Orientation -> whether to transpose, then cv2's flip code; 6 is a phone held upright."""


def upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Stored pixels (H×W×3 uint8) as they are to be seen; the same array where they are upright already."""
    transpose, flip = _TURNS[orientation]
    turned = cv2.transpose(rgb) if transpose else rgb
    if flip is None:
        return turned
    # In place where the array is ours, or a turned picture would be in memory three times.
    seen: NDArray[np.uint8] = cv2.flip(turned, flip, turned) if transpose else cv2.flip(turned, flip)
    return seen


def stored_window(window: Window, orientation: int, *, height: int, width: int) -> Window:
    """Where a window of the upright picture (of `height` and `width`) lies in the stored one."""
    transpose, flip = _TURNS[orientation]
    top = height - window.bottom if flip in (0, -1) else window.top
    left = width - window.right if flip in (1, -1) else window.left
    if transpose:
        return Window(top=left, left=top, height=window.width, width=window.height)
    return Window(top=top, left=left, height=window.height, width=window.width)
