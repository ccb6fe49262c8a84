"""Instances held as bits, an eighth of the memory, because a large image's masks together are larger than the image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gpuworker.masks.box_grid import Box, around, intersection
from gpuworker.masks.instances import Instance

_BAND_ROWS = 512
"""Rows that are made into bytes at a time."""


@dataclass(frozen=True, kw_only=True, eq=False, slots=True)
class Packed:
    """An instance on its tight crop; `bits` are the mask's rows, eight pixels a byte."""

    x: int
    y: int
    width: int
    bits: NDArray[np.uint8]
    area: int
    score: float
    category_id: int
    source: str

    @classmethod
    def of(cls, instance: Instance) -> Packed | None:
        """None for an instance without a pixel."""
        tight = instance.tight()
        if tight is None:
            return None
        return cls(
            x=tight.x,
            y=tight.y,
            width=tight.mask.shape[1],
            bits=np.packbits(tight.mask, axis=1),
            area=tight.area,
            score=tight.score,
            category_id=tight.category_id,
            source=tight.source,
        )

    @property
    def height(self) -> int:
        return len(self.bits)

    @property
    def box(self) -> Box:
        return (self.x, self.y, self.x + self.width, self.y + self.height)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """Made anew each time and kept by nobody."""
        return self.part(self.box)

    def tight(self) -> Packed:
        return self

    def part(self, box: Box) -> NDArray[np.bool_]:
        """The mask inside `box`, which must lie inside the crop."""
        left, top, right, bottom = box
        first = (left - self.x) // 8
        rows = np.unpackbits(self.bits[top - self.y : bottom - self.y, first : -(-(right - self.x) // 8)], axis=1)
        offset = self.x + 8 * first
        return rows[:, left - offset : right - offset].view(np.bool_)

    def area_in(self, box: Box) -> int:
        """How many of its pixels lie in `box`."""
        shared = intersection(self.box, box)
        if shared is None:
            return 0
        return self.area if shared == self.box else int(np.count_nonzero(self.part(shared)))

    def shared_with(self, other: Packed) -> int:
        """How many pixels both have."""
        shared = intersection(self.box, other.box)
        return 0 if shared is None else int(np.count_nonzero(self.part(shared) & other.part(shared)))

    def iou(self, other: Packed) -> float:
        """Pixels that both have as a share of those that either has."""
        shared = self.shared_with(other)
        return shared / (self.area + other.area - shared)


def packed(instances: Sequence[Instance]) -> list[Packed]:
    """All that have pixels, in their order."""
    return [one for instance in instances if (one := Packed.of(instance)) is not None]


def united(parts: Sequence[Packed]) -> Packed:
    """One instance of all their pixels, with the best score and the other words of the part that has it."""
    best = max(parts, key=lambda one: (one.score, one.area))
    left, top, right, bottom = around(one.box for one in parts)
    bits = np.empty((bottom - top, -(-(right - left) // 8)), np.uint8)
    area = 0
    for first in range(top, bottom, _BAND_ROWS):
        last = min(bottom, first + _BAND_ROWS)
        band = np.zeros((last - first, right - left), np.bool_)
        for one in parts:
            shared = intersection(one.box, (left, first, right, last))
            if shared is not None:
                place = band[shared[1] - first : shared[3] - first, shared[0] - left : shared[2] - left]
                place |= one.part(shared)
        area += int(np.count_nonzero(band))
        bits[first - top : last - top] = np.packbits(band, axis=1)
    return replace(best, x=left, y=top, width=right - left, bits=bits, area=area)
