"""Which of the two tones of a picture is the drawing: dark lines on light paper, or light lines on dark.

What is drawn is thin and what it is drawn on is broad, so the thinner tone is the ink. That holds of blueprints, of
screenshots and of negatives, under any light, on paper of any colour, and inside a broad margin of the other tone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Polarity = Literal["dark", "light"]
"""What the lines are, on paper of the other tone."""
Asked = Literal["auto", "dark", "light"]

_LOOKED_AT_PX = 512
"""Long side at which strokes are weighed; a line of one pixel in 4000 still has an eighth of its contrast."""
_WIDTHS_PX = (3, 7, 15, 31, 63)
"""Strokes narrower than each of these are weighed in turn, until there are enough of them. Walls of all packaged and
synthetic plans are narrower than the third, at that size; the last are for pages that are half wall."""
_WALLS_PX = 15
_OUTERMOST = 0.05
"""Of each side of a page: where frames and margins lie."""
_GRAIN = 20
"""Less contrast than this of 255 is grain or what JPEG leaves beside a line."""
_LITTLE = 0.002
"""Strokes that hold this share of what a page's contrast could be say half of what there is to say."""
_SETTLED = 0.05
"""Broader strokes are not weighed where less than this is left to say."""
_SURE = 0.3
"""Plans of lines and walls, with margins, frames and light of all kinds, lean by 0.4 to 1.0 to their side; nearer to 0
are pages framed in strokes as thick as their walls, and what is no plan. Tuned on 450 pictures: nine plans, packaged,
synthetic and drawn by hand, each in 50 disguises."""
_LOST, _LOST_SHARE = 0.5, 0.1
"""A stroke of colour is lost in grey that keeps less than half of its contrast (yellow on white keeps 0.1, cyan 0.3,
red 0.7); where a tenth of all strokes are, colour is read."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One way to tell ink from paper."""

    polarity: Polarity
    channels: tuple[int, ...] = ()
    """Ink is what differs from its paper in one of these at least: 0 red, 1 green, 2 blue; none: in grey."""
    levelled: bool = True
    """The light is taken out first, which takes walls as broad as shadows with it."""

    @property
    def read_from(self) -> str:
        """`colour`, or `grey` where that held all there was to see."""
        return "colour" if self.channels else "grey"


DARK_ON_LIGHT = Reading(polarity="dark")


@dataclass(frozen=True, kw_only=True)
class Leaning:
    """`side`: from -1 (thin strokes are lighter than what is around them) to 1 (darker). `is_broad`: there are hardly
    any, and walls as broad as small rooms were weighed instead."""

    side: float
    is_broad: bool

    @property
    def sides(self) -> tuple[Polarity, ...]:
        """The likelier one first, alone where that is sure; a page that shows no strokes is taken for a usual one."""
        if self.side == 0:
            return ("dark",)
        return self.both[:1] if abs(self.side) >= _SURE and not self.is_broad else self.both

    @property
    def both(self) -> tuple[Polarity, Polarity]:
        """The likelier one first."""
        return ("light", "dark") if self.side < 0 else ("dark", "light")


def readings_of(rgb: NDArray[np.uint8], asked: Asked) -> tuple[Reading, ...]:
    """How an H×W×3 uint8 picture may be read, the likeliest first; one where that is certain, as it nearly always
    is."""
    small = reduced(rgb)
    has_colour = _has_colour(small)
    page = small if has_colour else np.ascontiguousarray(small[:, :, 1])
    leaning = leaning_of(page)
    sides = _sides(leaning, leaning_of(_inner(page))) if asked == "auto" else (asked,)
    readings = [
        Reading(polarity=side, channels=channels)
        for side in sides
        for channels in (_channels(small, side) if has_colour else [()])
    ]
    if leaning.is_broad:
        # To take the light out of such walls leaves their edges alone, which look like walls of the other tone.
        readings = [*(replace(reading, levelled=False) for reading in readings), *readings]
    return tuple(readings)


def _channels(small: NDArray[np.uint8], side: Polarity) -> list[tuple[int, ...]]:
    """What may be read on a side, the likeliest first. Grey suits most dark lines; light ones lose colours in it."""
    if side == "dark" and not _is_lost_in_grey(small):
        return [()]
    sign = 1 if side == "dark" else -1
    agree = tuple(i for i in range(3) if sign * leaning_of(small[:, :, i]).side > -_SURE)
    return [agree, ()] if side == "dark" else [agree]


def _sides(of_all: Leaning, of_inner: Leaning) -> tuple[Polarity, ...]:
    """Both where a page leans to another side without its outermost part: a frame leaves strips of paper there that are
    strokes of their own, and a plan that was cut out closely has its outer walls there."""
    return of_all.sides if of_all.sides == of_inner.sides or of_inner.side == 0 else of_all.both


def _inner(page: NDArray[np.uint8]) -> NDArray[np.uint8]:
    down, across = (round(length * _OUTERMOST) for length in page.shape[:2])
    return np.ascontiguousarray(page[down : len(page) - down, across : page.shape[1] - across])


def leaning_of(small: NDArray[np.uint8]) -> Leaning:
    """Weigh the strokes of a page (H×W×3 or H×W uint8), the thinnest first, until most of what there is to say is
    said."""
    side, unsaid = 0.0, 1.0
    thin = 0.0
    for width in _WIDTHS_PX:
        dark, light = (_strength(small, hat, width) for hat in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT))
        both = dark + light
        side += unsaid * (dark - light) / (both + _LITTLE)
        unsaid *= _LITTLE / (both + _LITTLE)
        if width <= _WALLS_PX:
            thin = 1 - unsaid
        if unsaid < _SETTLED:
            break
    return Leaning(side=side, is_broad=thin < 0.5 < 1 - unsaid)


def _strength(small: NDArray[np.uint8], hat: int, width: int) -> float:
    """The contrast of strokes narrower than that, as a share of what the page could have."""
    found = _strokes(small, hat, width)
    return float(found[found > _GRAIN].sum(dtype=np.int64)) / (255 * found.size)


def _strokes(small: NDArray[np.uint8], hat: int, width: int) -> NDArray[np.uint8]:
    """The contrast of each pixel of a narrow stroke, in the channel (or the grey) that has the most."""
    found: NDArray[np.uint8] = cv2.morphologyEx(small, hat, np.ones((width, width), np.uint8))
    return found if found.ndim == 2 else most(found)


def _is_lost_in_grey(small: NDArray[np.uint8]) -> bool:
    in_colour = _strokes(small, cv2.MORPH_BLACKHAT, _WIDTHS_PX[-1])
    in_grey = _strokes(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), cv2.MORPH_BLACKHAT, _WIDTHS_PX[-1])
    drawn = in_colour > 2 * _GRAIN
    lost = drawn & (in_grey < _LOST * in_colour)
    return bool(lost.sum() > _LOST_SHARE * max(1, int(drawn.sum())))


def _has_colour(small: NDArray[np.uint8]) -> bool:
    red, green, blue = cv2.split(small)
    brightest, darkest = most(small), cv2.min(cv2.min(red, green), blue)
    return bool(cv2.subtract(brightest, darkest).max() > _GRAIN)


def most(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W×3 uint8 -> H×W, the largest of each pixel's three; many times as fast as numpy's."""
    red, green, blue = cv2.split(pixels)
    return np.asarray(cv2.max(cv2.max(red, green), blue), np.uint8)


def reduced(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (H×W×3 uint8) with a long side of at most 512 pixels, each the mean of what it stands for."""
    height, width = rgb.shape[:2]
    scale = _LOOKED_AT_PX / max(height, width, _LOOKED_AT_PX)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
