"""A box in a photograph -> the object's outline, by grabCut on a small copy and a guided filter at full detail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]

_SMALL_PX = 200
"""Long side of the copy that grabCut sees; more takes longer and makes no better masks."""
_DETAIL_PX = 1024
_MARGIN = 0.5
"""How much of the surroundings it sees, as a share of the box's long side: they teach it what is not the object."""
_ITERATIONS = 4
_FILTER_RADIUS_PX, _FILTER_EPSILON = 4, 1e-3
_FILLED_AT_LEAST, _FILLED_AT_MOST = 0.05, 0.97
"""Shares of the box; a cut below the first has lost the object, above the second has kept everything."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cut:
    """The crop of the box: `soft` is h×w uint8, the object where it is above 127, with its corner at (left, top)."""

    left: int
    top: int
    soft: Pixels
    source: str
    """`grabcut`, or `ellipse` where that found no object and the box's ellipse stands for it."""


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """A box with whole corners inside a picture."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def size(self) -> tuple[int, int]:
        return self.right - self.left, self.bottom - self.top

    def grown(self, by: int, width: int, height: int) -> _Frame:
        return _Frame(
            left=max(0, self.left - by),
            top=max(0, self.top - by),
            right=min(width, self.right + by),
            bottom=min(height, self.bottom + by),
        )

    def of(self, rgb: Pixels) -> Pixels:
        return rgb[self.top : self.bottom, self.left : self.right]


def cut_out(rgb: Pixels, *, left: float, top: float, right: float, bottom: float) -> Cut:
    """Separate the object in a box of H×W×3 `rgb` from its surroundings. The same input gives the same mask."""
    height, width = rgb.shape[:2]
    box = _Frame(left=int(left), top=int(top), right=min(width, ceil(right)), bottom=min(height, ceil(bottom)))
    around = box.grown(round(_MARGIN * max(box.size)) + 4, width, height)
    scene = _at_most(around.of(rgb), _DETAIL_PX)
    small = _at_most(scene, _SMALL_PX)
    scale = small.shape[1] / around.size[0], small.shape[0] / around.size[1]
    x0, y0 = round((box.left - around.left) * scale[0]), round((box.top - around.top) * scale[1])
    inner = _Frame(
        left=x0,
        top=y0,
        right=max(x0 + 1, round((box.right - around.left) * scale[0])),
        bottom=max(y0 + 1, round((box.bottom - around.top) * scale[1])),
    )
    found = _grab(small, inner)
    if found is None:
        whole = _Frame(left=0, top=0, right=box.size[0], bottom=box.size[1])
        return Cut(left=box.left, top=box.top, soft=_ellipse(box.size[::-1], whole, 0.5, 0.5) * 255, source="ellipse")
    soft = _carried(found, small, scene)
    if soft.shape[::-1] != around.size:
        soft = cv2.resize(soft, around.size, interpolation=cv2.INTER_LINEAR)
    x, y = box.left - around.left, box.top - around.top
    return Cut(left=box.left, top=box.top, soft=soft[y : y + box.size[1], x : x + box.size[0]], source="grabcut")


def _at_most(rgb: Pixels, long_side_px: int) -> Pixels:
    scale = long_side_px / max(rgb.shape[:2])
    if scale >= 1:
        return np.ascontiguousarray(rgb)
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    small: Pixels = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return small


def _ellipse(shape: tuple[int, ...], box: _Frame, across: float, down: float) -> Pixels:
    """1 inside the ellipse in the middle of `box` whose half axes are these shares of the box's sides."""
    out = np.zeros(shape[:2], np.uint8)
    middle = (box.left + box.right) // 2, (box.top + box.bottom) // 2
    axes = max(1, round(box.size[0] * across)), max(1, round(box.size[1] * down))
    cv2.ellipse(out, middle, axes, 0, 0, 360, 1, -1)
    return out


def _grab(small: Pixels, box: _Frame) -> Pixels | None:
    """grabCut's verdict (0 or 1), cleaned up; None where it found nothing that could be the object."""
    trimap = np.full(small.shape[:2], cv2.GC_BGD, np.uint8)
    box.of(trimap)[:] = cv2.GC_PR_BGD
    inside = np.zeros_like(trimap)
    box.of(inside)[:] = 1
    trimap[(_ellipse(trimap.shape, box, 0.47, 0.48) & inside) > 0] = cv2.GC_PR_FGD
    trimap[(_ellipse(trimap.shape, box, 0.12, 0.2) & inside) > 0] = cv2.GC_FGD
    # The colour models start from k-means, which draws from this thread's generator.
    cv2.setRNGSeed(0)
    try:
        cv2.grabCut(small, trimap, None, np.zeros((1, 65)), np.zeros((1, 65)), _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:
        return None
    found = _cleaned(np.asarray((trimap & 1) * inside, np.uint8))
    filled = int(found.sum()) / (box.size[0] * box.size[1])
    return found if _FILLED_AT_LEAST <= filled <= _FILLED_AT_MOST else None


def _cleaned(found: Pixels) -> Pixels:
    """Without specks, small gaps and small holes: the main part and others at least a sixth its size."""
    found = cv2.morphologyEx(found, cv2.MORPH_OPEN, _disc(3))
    found = cv2.morphologyEx(found, cv2.MORPH_CLOSE, _disc(5))
    found = _parts(found, lambda areas: areas >= areas.max() / 6)
    area = int(found.sum())
    holes = _parts(1 - found, lambda areas: areas < area * 0.02)
    return found | holes


def _disc(px: int) -> Any:
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (px, px))


def _parts(mask: Pixels, keep: Callable[[Any], Any]) -> Pixels:
    """The connected parts whose areas `keep` (areas -> bools) takes."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count < 2:
        return np.zeros_like(mask)
    kept = np.concatenate([[False], keep(stats[1:, cv2.CC_STAT_AREA])])
    return np.asarray(kept[labels], np.uint8)


def _carried(found: Pixels, small: Pixels, scene: Pixels) -> Pixels:
    """The verdict on the small copy at the scene's size, 0..255: along the scene's edges where that works out."""
    if small.shape == scene.shape:
        return found * np.uint8(255)
    plain = np.asarray(cv2.resize(found * np.uint8(255), scene.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)
    sharp = _sharpened(found, small, scene)
    # Of thin things the filter makes a haze: those keep their coarse mask.
    kept, before = int(np.count_nonzero((sharp > 127) & (plain > 127))), int(np.count_nonzero(plain > 127))
    return sharp if kept > 0.8 * before else plain


def _sharpened(found: Pixels, small: Pixels, scene: Pixels) -> Pixels:
    """Carry a coarse mask to the scene's size along its edges (fast guided filter, He and Sun, arXiv 1505.00996)."""
    guide, mask = _grey(small), found.astype(np.float32)
    mean_guide, mean_mask = _mean(guide), _mean(mask)
    slope = (_mean(guide * mask) - mean_guide * mean_mask) / (_mean(guide * guide) - mean_guide**2 + _FILTER_EPSILON)
    offset = mean_mask - slope * mean_guide
    size = scene.shape[1::-1]
    soft = cv2.resize(_mean(slope), size) * _grey(scene) + cv2.resize(_mean(offset), size)
    return _without_specks(cv2.medianBlur(np.asarray(np.clip(soft * 255, 0, 255), np.uint8), 5))


def _without_specks(soft: Pixels) -> Pixels:
    """Empty the tiny islands and fill the tiny holes that the filter left along strong edges."""
    mask = np.asarray(soft > 127, np.uint8)
    tiny = int(mask.sum()) / 100
    islands = _parts(mask, lambda areas: areas < tiny)
    holes = _parts(1 - mask, lambda areas: areas < tiny)
    soft[islands > 0], soft[holes > 0] = 0, 255
    return soft


def _grey(rgb: Pixels) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), np.float32) / np.float32(255)


def _mean(values: NDArray[np.float32]) -> NDArray[np.float32]:
    side = 2 * _FILTER_RADIUS_PX + 1
    mean: NDArray[np.float32] = cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REFLECT)
    return mean
