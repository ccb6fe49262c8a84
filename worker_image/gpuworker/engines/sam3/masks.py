"""Low-resolution mask logits -> a mask at its place in the full image, without a full-size array."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

_ROWS_AT_ONCE = 64
"""Keeps what is computed inside the processor's cache."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Placed:
    """A mask (h×w bool) with its left upper corner at (`x`, `y`) of the full image."""

    x: int
    y: int
    mask: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Small:
    """A mask as the model gives it, cut to its logits above 0 and those beside them, which is all that an edge needs.

    A picture may have thousands of masks, which wait for `finish` and are mostly empty.
    """

    top: int
    left: int
    logits: torch.Tensor
    """h×w of `height`×`width`, in the model's dtype; 0×0 where none is above 0."""
    height: int
    width: int


def smallest(masks: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> list[Small]:
    """K×H×W logits on the host, cut; `rows` (K×H) and `columns` (K×W) tell which of theirs hold a logit above 0."""
    _, height, width = masks.shape
    spans = zip(_spans(rows.numpy()), _spans(columns.numpy()), strict=True)
    return [
        Small(top=top, left=left, logits=mask[top:bottom, left:right].clone(), height=height, width=width)
        for mask, ((top, bottom), (left, right)) in zip(masks, spans, strict=True)
    ]


def _spans(positive: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """From one before the first to one past the last that is true, as a slice; (0, 0) where none is."""
    size = positive.shape[1]
    first, last = positive.argmax(1), size - 1 - positive[:, ::-1].argmax(1)
    starts, ends = np.maximum(first - 1, 0), np.minimum(last + 2, size)
    some = positive.any(1)
    return list(zip((starts * some).tolist(), (ends * some).tolist(), strict=True))


def placed(small: Small, *, height: int, width: int) -> Placed | None:
    """Where the logits, enlarged to height×width, are above 0; None where that is nowhere.

    Logits are interpolated bilinearly as torch does with align_corners=False, and then cut at 0, as in Meta's own code
    (transformers' post-processing interpolates their sigmoid and cuts at ½, which differs along edges only). Computed
    for those pixels alone that a positive logit can reach.
    """
    logits = small.logits.float().numpy()
    column, row, across, down = cv2.boundingRect((logits > 0).view(np.uint8))
    if not across:
        return None
    top, bottom = _reach(small.top + row, down, small.height, height)
    left, right = _reach(small.left + column, across, small.width, width)
    # Columns first, while there are few rows; then whole rows, whose numbers lie side by side.
    wide = _between(logits, _taps(left, right, small.width, width, small.left), axis=1)
    taps = _taps(top, bottom, small.height, height, small.top)
    mask = np.empty((bottom - top, right - left), np.bool_)
    for start in range(0, bottom - top, _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        np.greater(_between(wide, taps.part(part), axis=0), 0, out=mask[part])
    return Placed(x=left, y=top, mask=mask)


def _reach(positive: int, count: int, small: int, full: int) -> tuple[int, int]:
    """First and one past the last of `full` places that may take something from `count` of `small` from `positive`."""
    scale = full / small
    start, end = (positive - 0.5) * scale - 0.5, (positive + count + 0.5) * scale - 0.5
    return max(0, math.floor(start)), min(full, math.ceil(end) + 1)


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class _Taps:
    """Which two of a row of numbers each place lies between, and their shares."""

    low: NDArray[np.int64]
    high: NDArray[np.int64]
    low_share: NDArray[np.float32]
    high_share: NDArray[np.float32]

    def part(self, places: slice) -> _Taps:
        return _Taps(
            low=self.low[places],
            high=self.high[places],
            low_share=self.low_share[places],
            high_share=self.high_share[places],
        )


def _between(numbers: NDArray[np.float32], taps: _Taps, *, axis: int) -> NDArray[np.float32]:
    """Interpolated along an axis; what lies beyond the numbers is as little above 0 as the outermost of them."""
    low, high = (np.take(numbers, at, axis=axis, mode="clip") for at in (taps.low, taps.high))
    shape = (1, -1) if axis else (-1, 1)
    low *= taps.low_share.reshape(shape)
    high *= taps.high_share.reshape(shape)
    low += high
    return low


def _taps(start: int, end: int, small: int, full: int, cut: int) -> _Taps:
    """Of the places from `start` to `end`; the numbers begin with the one at `cut` of `small`."""
    here = _all_taps(small, full).part(slice(start, end))
    return replace(here, low=here.low - cut, high=here.high - cut)


@lru_cache(maxsize=64)
def _all_taps(small: int, full: int) -> _Taps:
    """The same for all places and uncut: it is asked for twice a mask, and images of a job are of few sizes."""
    places = ((np.arange(full) + 0.5) * (small / full) - 0.5).clip(0, small - 1)
    low = places.astype(np.int64)
    share = (places - low).astype(np.float32)
    return _Taps(low=low, high=np.minimum(low + 1, small - 1), low_share=1 - share, high_share=share)
