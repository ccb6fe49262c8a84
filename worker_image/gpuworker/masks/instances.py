"""Masks kept on their own crops, and what COCO makes of them: run lengths and polygons.

A full-size mask of one instance is never made: a hundred instances in a photograph of 12 megapixels would be 1.2 GB.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

_SIMPLIFY_PX = 1.0
_EXACT_BELOW_PX = 8
_AT_ONCE_PX = 1 << 20
"""Of a mask whose runs are sought: what is made of them takes three times as much, which is little beside an image."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One found object: its mask is `mask` (h×w bool) with its left upper corner at (`x`, `y`) of the full image."""

    x: int
    y: int
    mask: NDArray[np.bool_]
    score: float
    category_id: int
    """From 1, in the order of the engine's categories."""
    source: str
    """How the mask was made, e.g. `grabcut`; `ellipse` where only the box is known."""

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    def shared_with(self, other: Instance) -> int:
        """How many pixels both have."""
        left, top = max(self.x, other.x), max(self.y, other.y)
        right = min(self.x + self.mask.shape[1], other.x + other.mask.shape[1])
        bottom = min(self.y + self.mask.shape[0], other.y + other.mask.shape[0])
        if right <= left or bottom <= top:
            return 0
        mine = self.mask[top - self.y : bottom - self.y, left - self.x : right - self.x]
        theirs = other.mask[top - other.y : bottom - other.y, left - other.x : right - other.x]
        return int(np.count_nonzero(mine & theirs))

    def moved(self, *, x: int, y: int) -> Instance:
        """The same instance in an image in which its own lies at (`x`, `y`)."""
        return replace(self, x=self.x + x, y=self.y + y)

    def tight(self) -> Instance | None:
        """The same instance on the smallest crop that holds its pixels; None where there are none."""
        left, top, width, height = cv2.boundingRect(self.mask.view(np.uint8)) if self.mask.size else (0, 0, 0, 0)
        if not width:
            return None
        return Instance(
            x=self.x + left,
            y=self.y + top,
            mask=np.ascontiguousarray(self.mask[top : top + height, left : left + width]),
            score=self.score,
            category_id=self.category_id,
            source=self.source,
        )


def runs_of(mask: NDArray[np.bool_], *, x: int, y: int, height: int, width: int) -> NDArray[np.int64]:
    """Lengths of the runs of 0 and 1 in turn, column by column, of a crop (h×w bool) placed at (x, y) in a
    height×width mask.

    Found from the crop's vertical edges alone.
    """
    h, w = mask.shape
    across = max(1, _AT_ONCE_PX // (h + 1))
    parts = [_edges(mask[:, first : first + across], x=x + first, y=y, height=height) for first in range(0, w, across)]
    at: NDArray[np.int64] = np.concatenate(parts)
    if h == height:
        # A run that reaches the bottom and goes on at the top of the next column is one run.
        ends = np.flatnonzero(at[1:] == at[:-1])
        at = np.delete(at, np.concatenate([ends, ends + 1]))
    if not len(at) or at[-1] != height * width:
        at = np.append(at, height * width)
    at[1:] -= at[:-1].copy()
    return at


def _edges(mask: NDArray[np.bool_], *, x: int, y: int, height: int) -> NDArray[np.int64]:
    """Where runs begin, counted column by column in an image of this height, as if a 0 were above and below."""
    h, w = mask.shape
    # Column after column with a 0 behind each, and one before the first: where neighbours differ, a run begins.
    pixels = np.zeros(1 + w * (h + 1), np.uint8)
    pixels[1:].reshape(w, h + 1)[:, :h] = cv2.transpose(mask.view(np.uint8))
    edges = np.flatnonzero(pixels[1:] != pixels[:-1])
    return np.asarray(edges + edges // (h + 1) * (height - h - 1) + (x * height + y), np.int64)


def rle_texts(runs: Sequence[NDArray[np.int64]]) -> list[str]:
    """The runs of each mask (N int64 lengths) as text: five bits a character from '0' on, each run less the one before
    the last (rleToString of COCO).

    The same bytes as pycocotools' `encode` of the full masks. All masks of an image at once: of one, the calls would
    take longer than what they do.
    """
    if not runs:
        return []
    rest = np.concatenate([_differences(one) for one in runs])
    used = np.ones(len(rest), np.bool_)
    characters, present = [], []
    while used.any():
        low = rest & 31
        rest = rest >> 5
        more = np.where(low & 16, rest != -1, rest != 0)
        characters.append((low + 48 + 32 * more).astype(np.uint8))
        present.append(used)
        used = used & more
    is_there = np.stack(present, 1)
    text = np.stack(characters, 1)[is_there].tobytes().decode("ascii")
    ends = np.cumsum(is_there.sum(1))[np.cumsum([len(one) for one in runs]) - 1].tolist()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _differences(runs: NDArray[np.int64]) -> NDArray[np.int64]:
    differences = runs.copy()
    differences[3:] -= runs[1:-2]
    return differences


def polygons(mask: NDArray[np.bool_], *, x: int, y: int) -> list[list[float]]:
    """Outlines [x1, y1, x2, y2, …] of an H×W bool mask along the pixels' outer edges; holes are filled, as COCO
    polygons know none.

    Traced on the mask at double size, whose border pixels map to the edges between pixels; large parts are simplified
    by at most a pixel, small ones are exact.
    """
    doubled = cv2.resize(mask.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        corners = (contour + 1) // 2
        if min(np.ptp(corners[:, 0, 0]), np.ptp(corners[:, 0, 1])) >= _EXACT_BELOW_PX:
            corners = cv2.approxPolyDP(corners, _SIMPLIFY_PX, True)
        if len(corners) >= 3:
            found.append([float(value) for value in (corners[:, 0, :] + (x, y)).ravel()])
    return found


def polygon_area(outline: Sequence[float]) -> float:
    """Area by the shoelace formula."""
    xs, ys = np.array(outline[0::2]), np.array(outline[1::2])
    return float(abs(np.dot(xs, np.roll(ys, -1)) - np.dot(ys, np.roll(xs, -1))) / 2)
