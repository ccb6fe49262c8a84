"""Pictures for people: an image with its instances tinted, outlined and named."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.images.decoding import Image
from gpuworker.images.masked import Masked
from gpuworker.masks.box_grid import Box, BoxGrid
from gpuworker.masks.tint import above, tint

OVERLAY_PX, OVERLAY_AT_LEAST_PX = 2048, 800
"""Long side of the overlay; small images are enlarged, or their labels would cover them."""
THUMB_PX = 480
_OVERLAY_QUALITY, _THUMB_QUALITY = 88, 82
_HALVED_FROM, _HALF_AT_MOST_BYTES = 8, 24_000_000
"""Times too large, and what the half may take beside the picture: cv2 takes means of 2×2 pixels ten times as fast as
those of areas that are no whole number of pixels. 20 in place of 49 ms for the thumbnail of 12 megapixels, at most 3
grey levels off in a picture full of detail."""
_LINEAR_UP_TO, _LARGE_BYTES = 2, 12_000_000
"""Times too large, from so many bytes on: between two pixels each way, which are then all that there are, in place of
the mean: 14 in place of 95 ms for the overlay of 12 megapixels, 1.2 grey levels off on average (JPEG itself: 3.7)."""
_LABELS_AT_MOST = 300
_CROWDED_FROM = 30
"""Instances from which labels would hide what they name."""

# Okabe and Ito's colours (jfly.uni-koeln.de/color), told apart with every common colour blindness; black is left out
# because photographs are dark. Names are written beside them, so that colour is never the only sign.
PALETTE = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)


def colour_of(category_id: int) -> tuple[int, int, int]:
    """The RGB colour of a category, the same in every picture of a job."""
    return PALETTE[(category_id - 1) % len(PALETTE)]


def overlay_jpeg(image: Image, instances: Sequence[Masked], names: Sequence[str]) -> bytes:
    """The picture with masks, outlines, names and scores; long side at most 2048. `names[i]` is category i + 1."""
    long_side = max(image.height, image.width)
    canvas = _Canvas.of(image, min(OVERLAY_PX, max(OVERLAY_AT_LEAST_PX, long_side)))
    canvas.paint(instances)
    canvas.label(instances, names)
    return canvas.jpeg(_OVERLAY_QUALITY)


def thumb_jpeg(image: Image, instances: Sequence[Masked]) -> bytes:
    """A small picture with masks and outlines; long side at most 480."""
    canvas = _Canvas.of(image, min(THUMB_PX, max(image.height, image.width)))
    canvas.paint(instances)
    return canvas.jpeg(_THUMB_QUALITY)


@dataclass(frozen=True, kw_only=True)
class _Area:
    """A rectangle on the canvas, in pixels."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def box(self) -> Box:
        return (self.left, self.top, self.right, self.bottom)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Canvas:
    """RGB pixels to draw on, and how many of them one pixel of the full image takes."""

    rgb: NDArray[np.uint8]
    across: float
    down: float

    @classmethod
    def of(cls, image: Image, long_side_px: int) -> _Canvas:
        scale = long_side_px / max(image.height, image.width)
        width, height = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        rgb = _resized(image.rgb, width, height)
        # resize gives a picture of equal size back as it is, and nobody may draw on the image itself.
        own = rgb.copy() if np.may_share_memory(rgb, image.rgb) else rgb
        return cls(rgb=own, across=width / image.width, down=height / image.height)

    @property
    def _long_side(self) -> int:
        return int(max(self.rgb.shape[:2]))

    def _area_of(self, one: Masked) -> _Area:
        """Where an instance's crop lies on the canvas; at least a pixel."""
        left, top = int(one.x * self.across), int(one.y * self.down)
        return _Area(
            left=min(left, self.rgb.shape[1] - 1),
            top=min(top, self.rgb.shape[0] - 1),
            right=min(self.rgb.shape[1], max(left + 1, round((one.x + one.width) * self.across))),
            bottom=min(self.rgb.shape[0], max(top + 1, round((one.y + one.height) * self.down))),
        )

    def paint(self, instances: Sequence[Masked]) -> None:
        """Tint and outline the masks, the largest first, so that small ones stay visible.

        One mask at a time: those of a large image together may not fit into memory.
        """
        thickness = max(1, round(self._long_side / 500))
        sizes = [one.height * one.width for one in instances]
        for one in (instances[i] for i in sorted(range(len(sizes)), key=lambda i: -sizes[i])):
            area = self._area_of(one)
            soft = _soft(one.mask, area.right - area.left, area.bottom - area.top)
            colour = colour_of(one.category_id)
            tint(self.rgb[area.top : area.bottom, area.left : area.right], soft, colour)
            self._outline(area, soft, colour, thickness)

    def _outline(self, area: _Area, soft: NDArray[np.uint8], colour: tuple[int, int, int], thickness: int) -> None:
        """A coloured line with a dark one beneath, seen on bright and dark ground alike."""
        contours, _ = cv2.findContours(
            above(soft, 127), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_TC89_L1, offset=(area.left, area.top)
        )
        cv2.drawContours(self.rgb, contours, -1, (20, 20, 20), thickness + 2, cv2.LINE_AA)
        cv2.drawContours(self.rgb, contours, -1, colour, thickness, cv2.LINE_AA)

    def label(self, instances: Sequence[Masked], names: Sequence[str]) -> None:
        """Write name and score at each instance, where they cover no other label if that can be.

        In a crowded picture labels are small and inside, and say no name where all would say the same.
        """
        is_crowded = len(instances) > _CROWDED_FROM
        size_px = int(np.clip(self._long_side / (80 if is_crowded else 56), 10 if is_crowded else 13, 34))
        is_plain = is_crowded and len({one.category_id for one in instances}) == 1
        placed = BoxGrid(4 * size_px)
        for number, one in enumerate(instances[:_LABELS_AT_MOST]):
            text = f"{one.score:.2f}" if is_plain else f"{names[one.category_id - 1]} {one.score:.2f}"
            width, height = _text_width(text, size_px) + size_px, round(size_px * 1.55)
            area = self._area_of(one)
            spot = self._inside(area, width, height) if is_crowded else self._free_spot(area, width, height, placed)
            if is_crowded and placed.meeting(spot.box):
                continue
            placed.add(number, spot.box)
            self._chip(spot, text, size_px, colour_of(one.category_id))

    def _inside(self, area: _Area, width: int, height: int) -> _Area:
        """In the middle of the instance."""
        left, top = (area.left + area.right - width) // 2, (area.top + area.bottom - height) // 2
        return self._kept_inside(left, top, width, height)

    def _free_spot(self, area: _Area, width: int, height: int, placed: BoxGrid) -> _Area:
        """Above the instance, else inside it at the top, below it, or down its side."""
        tops = [area.top - height, area.top, area.bottom, *range(area.top + height, area.bottom, height)]
        spots = [self._kept_inside(area.left, top, width, height) for top in tops]
        return next((spot for spot in spots if not placed.meeting(spot.box)), spots[0])

    def _kept_inside(self, left: int, top: int, width: int, height: int) -> _Area:
        left = max(0, min(left, self.rgb.shape[1] - width))
        top = max(0, min(top, self.rgb.shape[0] - height))
        return _Area(left=left, top=top, right=left + width, bottom=top + height)

    def _chip(self, spot: _Area, text: str, size_px: int, colour: tuple[int, int, int]) -> None:
        bright = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2] > 120
        ink = (0, 0, 0) if bright else (255, 255, 255)
        cv2.rectangle(self.rgb, (spot.left, spot.top), (spot.right - 1, spot.bottom - 1), colour, cv2.FILLED)
        base = spot.left + size_px // 2, spot.bottom - round(size_px * 0.45)
        cv2.putText(self.rgb, text, base, ink, _font(), size_px, _WEIGHT)

    def jpeg(self, quality: int) -> bytes:
        encoded, data = cv2.imencode(
            ".jpg", cv2.cvtColor(self.rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality]
        )
        if not encoded:
            raise RuntimeError("cv2 could not encode a JPEG")
        return bytes(data)


def _resized(rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """A picture at another size: enlarged smoothly, reduced by the mean of what becomes one pixel."""
    if width >= rgb.shape[1]:
        return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    if rgb.size // 4 <= _HALF_AT_MOST_BYTES and min(rgb.shape[1] / width, rgb.shape[0] / height) >= _HALVED_FROM:
        rgb = _halved(rgb)
    is_mean_of_two = max(rgb.shape[1] / width, rgb.shape[0] / height) <= _LINEAR_UP_TO and rgb.size >= _LARGE_BYTES
    kind = cv2.INTER_LINEAR if is_mean_of_two else cv2.INTER_AREA
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=kind), np.uint8)


def _halved(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Half as wide and high, a row or column that is left over dropped."""
    height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
    even = rgb[: 2 * height, : 2 * width]
    return np.asarray(cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _soft(mask: NDArray[np.bool_], width: int, height: int) -> NDArray[np.uint8]:
    """A mask at another size, 0..255 with soft edges."""
    # Every second pixel of those that become one is enough, and a large mask is not copied whole.
    step_y, step_x = max(1, mask.shape[0] // (2 * height)), max(1, mask.shape[1] // (2 * width))
    coarse = np.ascontiguousarray(mask[::step_y, ::step_x]).view(np.uint8) * np.uint8(255)
    shrinks = width < coarse.shape[1]
    soft: NDArray[np.uint8] = cv2.resize(
        coarse, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )
    return soft


_WEIGHT = 600
_own = threading.local()


def _font() -> cv2.FontFace:
    """cv2's own typeface; one a thread, since it keeps its drawn letters."""
    if not hasattr(_own, "font"):
        _own.font = cv2.FontFace("sans")
    font: cv2.FontFace = _own.font
    return font


@lru_cache(maxsize=4096)  # the same scores come again and again
def _text_width(text: str, size_px: int) -> int:
    # An empty image size means that nothing wraps.
    _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), _font(), size_px, _WEIGHT)
    return int(width)
