"""How well found rooms agree with the true ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

_FOUND_AT = 0.5


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """`iou`: mean over the true rooms of the IoU with the room found for it, 0 where none was."""

    iou: float
    true: int
    found: int
    matched: int
    """True rooms whose partner overlaps by an IoU of at least a half."""

    @property
    def exact(self) -> bool:
        """As many rooms as there are, each of them one that there is."""
        return self.true == self.found == self.matched


def agreement(
    true: Sequence[NDArray[np.float64]], found: Sequence[NDArray[np.float64]], shape: tuple[int, int]
) -> Agreement:
    """Match rooms one to one, the best overlaps first; `true` ones do not overlap each other."""
    labels = np.zeros(shape, np.int32)
    for number, corners in enumerate(true, 1):
        cv2.fillPoly(labels, [np.round((corners - 0.5) * 16).astype(np.int32)], number, cv2.LINE_8, 4)
    areas = np.bincount(labels.ravel(), minlength=len(true) + 1)
    pairs = []
    for index, corners in enumerate(found):
        mask = np.zeros(shape, np.uint8)
        cv2.fillPoly(mask, [np.round((corners - 0.5) * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        shared = np.bincount(labels[mask > 0], minlength=len(true) + 1)
        union = areas + int(mask.sum()) - shared
        pairs += [(float(shared[n] / union[n]), n, index) for n in range(1, len(true) + 1) if shared[n]]
    best: dict[int, float] = {}
    taken: set[int] = set()
    for iou, number, index in sorted(pairs, reverse=True):
        if number not in best and index not in taken:
            best[number] = iou
            taken.add(index)
    return Agreement(
        iou=sum(best.values()) / max(1, len(true)),
        true=len(true),
        found=len(found),
        matched=sum(iou >= _FOUND_AT for iou in best.values()),
    )
