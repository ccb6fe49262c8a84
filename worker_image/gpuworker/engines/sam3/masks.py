"""Low-resolution mask logits -> a mask at its place in the full image, without a full-size array."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROWS_AT_ONCE = 64
"""Keeps what is computed inside the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A mask (h×w bool) with its left upper corner at (`x`, `y`) of the full image."""

    x: int
    y: int
    mask: NDArray[np.bool_]


def placed(logits: NDArray[np.float32], *, height: int, width: int) -> Placed | None:
    """Where `logits`, enlarged to height×width, are above 0; None where that is nowhere.

    Logits are interpolated bilinearly as torch does with align_corners=False, and then cut at 0, as in Meta's own code
    (transformers' post-processing interpolates their sigmoid and cuts at ½, which differs along edges only). Computed
    for those pixels alone that a positive logit can reach.
    """
    above = logits > 0
    rows, columns = np.flatnonzero(above.any(1)), np.flatnonzero(above.any(0))
    if not len(rows):
        return None
    top, bottom = _reach(rows, logits.shape[0], height)
    left, right = _reach(columns, logits.shape[1], width)
    # Columns first, while there are few rows; then whole rows, whose numbers lie side by side.
    low, high, share = _taps(left, right, logits.shape[1], width)
    wide = logits[:, low] * (1 - share) + logits[:, high] * share
    low, high, share = _taps(top, bottom, logits.shape[0], height)
    mask = np.empty((bottom - top, right - left), np.bool_)
    for start in range(0, bottom - top, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        near, far = share[part, None], wide[high[part]]
        np.greater(wide[low[part]] * (1 - near) + far * near, 0, out=mask[part])
    return Placed(x=left, y=top, mask=mask)


def _reach(positive: NDArray[np.int64], small: int, full: int) -> tuple[int, int]:
    """First and one past the last of `full` places that may take something from one of the `positive` of `small`."""
    scale = full / small
    start, end = (positive[0] - 0.5) * scale - 0.5, (positive[-1] + 1.5) * scale - 0.5
    return max(0, int(np.floor(start))), min(full, int(np.ceil(end)) + 1)


def _taps(
    start: int, end: int, small: int, full: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Which two of `small` each place from `start` to `end` lies between, and the second one's share."""
    places = ((np.arange(start, end) + 0.5) * (small / full) - 0.5).clip(0, small - 1)
    low = places.astype(np.int64)
    return low, np.minimum(low + 1, small - 1), (places - low).astype(np.float32)
