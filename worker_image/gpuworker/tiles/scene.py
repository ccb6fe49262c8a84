"""One input of `segment` as its steps see it: whole in memory, or a file of which windows are read when needed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gpuworker.images.decoding import Image
from gpuworker.images.notes import Notes
from gpuworker.images.tiff.file import GeoTag
from gpuworker.images.window import Window as Window


class Scene(Protocol):
    """A decoded input. Its methods may be called from many threads at once."""

    @property
    def height(self) -> int:
        """Full size, upright."""

    @property
    def width(self) -> int: ...

    @property
    def geo(self) -> tuple[GeoTag, ...]:
        """GeoTIFF tags; none where the image is not georeferenced."""

    @property
    def notes(self) -> Notes:
        """What people have to know of how the file was read."""

    @property
    def cost_bytes(self) -> int:
        """What it holds in memory at most."""

    def whole(self) -> Image:
        """The image in one piece. Raises ItemError `too_large` where it is only to be had by windows."""

    def read(self, window: Window) -> Image | None:
        """A part at native resolution; None where nothing in it means anything (no data, transparent)."""

    def preview(self) -> Image:
        """A picture of the whole for people, maybe reduced; what windows have not shown yet may be missing in it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class WholeScene:
    """An image in memory."""

    image: Image
    valid_mask: NDArray[np.bool_] | None = None
    """H×W, as `image.rgb`: neither nodata nor transparent; None where all is, or nobody knows."""

    @property
    def height(self) -> int:
        return self.image.height

    @property
    def width(self) -> int:
        return self.image.width

    @property
    def geo(self) -> tuple[GeoTag, ...]:
        return self.image.geo

    @property
    def notes(self) -> Notes:
        return self.image.notes

    @property
    def cost_bytes(self) -> int:
        return self.image.rgb.nbytes + (0 if self.valid_mask is None else self.valid_mask.nbytes)

    def whole(self) -> Image:
        return self.image

    def read(self, window: Window) -> Image | None:
        """A part of the pixels; of a picture that was reduced when it was decoded, the part it has of it."""
        across, down = self.image.rgb.shape[1] / self.width, self.image.rgb.shape[0] / self.height
        rows = slice(int(window.top * down), max(int(window.top * down) + 1, round(window.bottom * down)))
        columns = slice(int(window.left * across), max(int(window.left * across) + 1, round(window.right * across)))
        if self.valid_mask is not None and not self.valid_mask[rows, columns].any():
            return None
        part = np.ascontiguousarray(self.image.rgb[rows, columns])
        boxes = tuple(moved for box in self.image.boxes if (moved := box.inside(window)) is not None)
        return replace(self.image, rgb=part, height=window.height, width=window.width, boxes=boxes)

    def preview(self) -> Image:
        return self.image


def grid(height: int, width: int, *, side: int, overlap: float) -> Iterator[Window]:
    """Windows of at most `side`×`side` that cover the image, row by row; neighbours share at least `overlap` of it."""
    for top, rows in _spans(height, side, overlap):
        for left, columns in _spans(width, side, overlap):
            yield Window(top=top, left=left, height=rows, width=columns)


def _spans(length: int, side: int, overlap: float) -> list[tuple[int, int]]:
    """Start and length of the fewest even pieces."""
    if length <= side:
        return [(0, length)]
    shared = round(side * overlap)
    pieces = -(-(length - shared) // (side - shared))
    return [(round(i * (length - side) / (pieces - 1)), side) for i in range(pieces)]
