"""An engine for tests: finds what has a colour on black ground, exactly, and has as little room as a test wants.

Use it by a table of its own: `Segment(engines={"colour": "tests.colour_engine:Colour"})`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.engines.base import Engine
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image
from gpuworker.masks.instances import Instance

CHANNELS = ("red", "green", "blue")
GROUND_AT_MOST = 20
"""Darker than this in all channels is ground."""


class Colour(Engine, own={"room"}):
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
    red, green, blue = cv2.split(rgb)
    bright = cv2.max(cv2.max(red, green), blue) > GROUND_AT_MOST
    for x, y, mask in _connected(bright):
        inside = rgb[y : y + mask.shape[0], x : x + mask.shape[1]]
        for colour in _colours(inside[mask]):
            channel = CHANNELS[int(np.argmax(colour))]
            if channel not in names:
                continue
            for left, top, own in _connected(mask & (inside == colour).all(2)):
                yield Instance(
                    x=x + left,
                    y=y + top,
                    mask=own,
                    score=float(colour.max()) / 255,
                    category_id=names.index(channel) + 1,
                    source="colour",
                )


def _colours(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Those that there are; mostly there is one."""
    return pixels[:1] if (pixels == pixels[0]).all() else np.unique(pixels, axis=0)


def _connected(mask: NDArray[np.bool_]) -> Iterator[tuple[int, int, NDArray[np.bool_]]]:
    """x, y and crop of each connected part."""
    if not mask.any():
        return
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=8)
    for i in range(1, count):
        x, y, width, height = (int(stats[i, column]) for column in range(4))
        yield x, y, labels[y : y + height, x : x + width] == i
