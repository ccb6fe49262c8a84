"""An engine for tests: finds what has a colour on black ground, exactly, and has as little room as a test wants.

Use it by a table of its own: `Segment(engines={"colour": "tests.colour_engine:Colour"})`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.engines import Engine
from gpuworker.images import Image
from gpuworker.masks import Instance
from gpuworker.segment_options import Options

CHANNELS = ("red", "green", "blue")
GROUND_AT_MOST = 20
"""Darker than this in all channels is ground."""


class Colour(Engine):
    """A patch of one colour is an instance of its strongest channel, the surer the brighter."""

    batch_size = 4
    room: ClassVar[int] = 10_000
    """The most instances that it finds in one picture, the largest."""

    def load(self, device: str) -> None:
        """There is nothing to load."""

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": "colour", "version": "1", "notes": "finds patches of one colour"}

    def categories(self, options: Options) -> Sequence[str]:
        if unknown := set(options.prompts) - set(CHANNELS):
            raise ValueError(f"colour knows red, green and blue, not {', '.join(sorted(unknown))}")
        return options.prompts or CHANNELS

    def detect(self, prepared: Sequence[Image], options: Options) -> Sequence[list[Instance]]:
        return [self._largest(image.rgb, self.categories(options)) for image in prepared]

    def _largest(self, rgb: NDArray[np.uint8], names: Sequence[str]) -> list[Instance]:
        return sorted(patches(rgb, names), key=lambda one: -one.area)[: self.room]

    def is_saturated(self, found: list[Instance], options: Options) -> bool:
        return len(found) > 0.8 * self.room


class Cramped(Colour):
    """The same, with room for ten."""

    room = 10


def patches(rgb: NDArray[np.uint8], names: Sequence[str] = CHANNELS) -> Iterator[Instance]:
    """Each connected patch (eight neighbours) of exactly one colour."""
    bright = (rgb > GROUND_AT_MOST).any(2)
    if not bright.any():
        return
    code = (rgb.astype(np.uint32) * np.array([1 << 16, 1 << 8, 1], np.uint32)).sum(2, dtype=np.uint32)
    for colour in np.unique(code[bright]):
        channel = CHANNELS[int(np.argmax([colour >> 16 & 255, colour >> 8 & 255, colour & 255]))]
        if channel in names:
            brightness = max(colour >> 16 & 255, colour >> 8 & 255, colour & 255)
            yield from _connected(code == colour, float(brightness) / 255, names.index(channel) + 1)


def _connected(mask: NDArray[np.bool_], score: float, category_id: int) -> Iterator[Instance]:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    for i in range(1, count):
        x, y, width, height = (int(stats[i, column]) for column in range(4))
        own = labels[y : y + height, x : x + width] == i
        yield Instance(x=x, y=y, mask=own, score=score, category_id=category_id, source="colour")
