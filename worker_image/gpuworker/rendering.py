"""Samples of any type -> the bytes that a model and a person see: which bands, and which values become 0 and 255."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpuworker.tasks import ItemError
from gpuworker.window import Window

SAMPLED_VALUES = 1_000_000
"""About so many values of a band tell its range; of a smaller image every one does."""
_ROWS_AT_ONCE = 256
_ROW_BYTES_PER_PIXEL = 20
"""Of the rows at work, as floating-point numbers or mixed with white; measured with 32-bit floats and with RGBA."""
_TABLE_VALUES = 1 << 16

Range = tuple[float, float] | None
"""The values that become 0 and 255, never equal; None where samples are bytes already."""


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """What a person may say about it; the defaults suit most files."""

    bands: tuple[int, ...] = ()
    """From 1: which become red, green and blue, or the one that is grey; empty: the first three, or the first."""
    stretch: Literal["auto", "percentile", "minmax", "none"] = "auto"
    """auto: bytes as they are, all else by percentile; none: as it is, cut off below 0 and above 255."""
    percent: tuple[float, float] = (2.0, 98.0)

    def picked(self, there_are: int) -> tuple[int, ...]:
        """Indices of one or three bands, from 0. Raises ItemError for a band that is not there."""
        if not self.bands:
            return (0, 1, 2) if there_are >= 3 else (0,)
        if missing := [band for band in self.bands if not 1 <= band <= there_are]:
            has = "1 band" if there_are == 1 else f"{there_are} bands"
            raise ItemError("unsuitable", f"the option bands asks for band {missing[0]}; the image has {has}")
        if len(self.bands) not in (1, 3):
            raise ItemError("unsuitable", f"the option bands takes 1 or 3 bands, not {len(self.bands)}")
        return tuple(band - 1 for band in self.bands)

    def keeps(self, dtype: np.dtype[Any]) -> bool:
        """Whether samples of this type are shown as they are stored."""
        return dtype == np.bool_ or (dtype == np.uint8 and self.stretch in ("auto", "none"))


@dataclass(frozen=True, kw_only=True, eq=False)
class Raster:
    """Decoded pixels of an image or a part of it, before they become bytes."""

    colour: tuple[NDArray[Any], ...]
    """One or three arrays, H×W, of any type."""
    alpha: NDArray[Any] | None = None
    valid: NDArray[np.bool_] | None = None
    """H×W; False at nodata, NaN and infinity. None where every pixel counts."""

    def part(self, window: Window) -> Raster:
        """A view of a part."""
        rows, columns = slice(window.top, window.bottom), slice(window.left, window.right)
        return Raster(
            colour=tuple(band[rows, columns] for band in self.colour),
            alpha=None if self.alpha is None else self.alpha[rows, columns],
            valid=None if self.valid is None else self.valid[rows, columns],
        )

    def only(self, shown: NDArray[np.bool_]) -> Raster:
        """The same, valid only where `shown` (H×W) is true."""
        if bool(shown.all()):
            return self
        return replace(self, valid=shown if self.valid is None else self.valid & shown)

    def every(self, step: int) -> Raster:
        """A view of every `step`-th row and column."""
        return Raster(
            colour=tuple(band[::step, ::step] for band in self.colour),
            alpha=None if self.alpha is None else self.alpha[::step, ::step],
            valid=None if self.valid is None else self.valid[::step, ::step],
        )

    def meaning(self) -> NDArray[np.bool_] | None:
        """H×W: neither nodata nor fully transparent; None where that is so everywhere."""
        opaque = _opacity(self.alpha)
        if opaque is None:
            return self.valid
        return opaque > 0 if self.valid is None else self.valid & (opaque > 0)


def ranges_of(samples: Iterable[Raster], rendering: Rendering) -> tuple[Range, ...]:
    """The range of each band, from samples of the image: the same sample gives the same picture, however it is read."""
    values: list[list[NDArray[Any]]] = []
    dtypes: list[np.dtype[Any]] = []
    for sample in samples:
        dtypes = [band.dtype for band in sample.colour]
        if all(rendering.keeps(dtype) for dtype in dtypes):
            break
        meaning = sample.meaning()
        values.append([band.ravel() if meaning is None else band[meaning] for band in sample.colour])
    return tuple(_range_of(dtype, [part[i] for part in values], rendering) for i, dtype in enumerate(dtypes))


def _range_of(dtype: np.dtype[Any], parts: Sequence[NDArray[Any]], rendering: Rendering) -> Range:
    if rendering.keeps(dtype):
        return None
    if rendering.stretch == "none":
        return 0.0, 255.0
    sample = np.concatenate(parts) if parts else np.empty(0, dtype)
    sample = sample.real if dtype.kind == "c" else sample
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0
    low, high = float(sample.min()), float(sample.max())
    if rendering.stretch != "minmax":
        inner_low, inner_high = (float(value) for value in np.percentile(sample, rendering.percent))
        low, high = (inner_low, inner_high) if inner_high > inner_low else (low, high)
    return (low, high) if high > low else (low, low + 1.0)


def step_for(pixels: int) -> int:
    """Every how many rows and columns give about as many values as are needed."""
    return max(1, round(math.sqrt(pixels / SAMPLED_VALUES)))


def rendered(raster: Raster, ranges: Sequence[Range]) -> NDArray[np.uint8]:
    """H×W×3 uint8; what is transparent becomes white, what is nodata black where values are stretched."""
    rgb = np.empty((*raster.colour[0].shape, 3), np.uint8)
    for i in range(3):
        if i < len(raster.colour):
            rgb[:, :, i] = _as_bytes(raster.colour[i], raster.valid, ranges[i])
        else:
            rgb[:, :, i] = rgb[:, :, 0]
    opaque = _opacity(raster.alpha)
    return rgb if opaque is None else _over_white(rgb, opaque)


def rendering_bytes(*, height: int, width: int) -> int:
    """The most that `rendered` takes besides the samples: H×W×3, one band of it, two masks, and rows at work."""
    return 6 * height * width + min(height, _ROWS_AT_ONCE) * width * _ROW_BYTES_PER_PIXEL


def rendered_alone(raster: Raster, rendering: Rendering) -> NDArray[np.uint8]:
    """The same of an image that is its own sample."""
    return rendered(raster, ranges_of([raster.every(step_for(raster.colour[0].size))], rendering))


def stretched(
    band: NDArray[Any], valid: NDArray[np.bool_] | None = None, rendering: Rendering | None = None
) -> NDArray[np.uint8]:
    """One band as bytes; `valid` (H×W bool) leaves pixels out of the percentiles and paints them black."""
    raster = Raster(colour=(band,), valid=valid)
    (its_range,) = ranges_of([raster.every(step_for(band.size))], rendering or Rendering())
    return _as_bytes(band, valid, its_range)


def _as_bytes(band: NDArray[Any], valid: NDArray[np.bool_] | None, its_range: Range) -> NDArray[np.uint8]:
    if band.dtype == np.bool_:
        return band.astype(np.uint8) * np.uint8(255)
    if its_range is None:
        return band
    if band.dtype.kind not in "ui" or band.itemsize > 2 or band.size < _TABLE_VALUES:
        return _scaled(band.real if band.dtype.kind == "c" else band, valid, its_range)
    native = band.astype(band.dtype.newbyteorder("="), copy=False)
    out: NDArray[np.uint8] = _table(native.dtype, its_range)[native.view(f"u{native.itemsize}")]
    if valid is not None:
        out[~valid] = 0
    return out


@lru_cache(maxsize=32)
def _table(dtype: np.dtype[Any], its_range: tuple[float, float]) -> NDArray[np.uint8]:
    """Every value that there can be, scaled once: several times as fast as scaling each pixel."""
    values = np.arange(1 << 8 * dtype.itemsize, dtype=f"u{dtype.itemsize}").view(dtype)
    table: NDArray[np.uint8] = _scaled(values[None], None, its_range)[0]
    return table


@np.errstate(all="ignore")
def _scaled(band: NDArray[Any], valid: NDArray[np.bool_] | None, its_range: tuple[float, float]) -> NDArray[np.uint8]:
    low, high = its_range
    out = np.empty(band.shape, np.uint8)
    for top in range(0, band.shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        part: NDArray[np.floating[Any]] = band[rows].astype(np.float64 if band.itemsize > 4 else np.float32)
        scaled = (part - low) * (255 / (high - low)) + 0.5  # to the nearest
        if valid is not None:
            scaled[~valid[rows]] = 0
        out[rows] = np.nan_to_num(np.clip(scaled, 0, 255), copy=False)
    return out


def _opacity(alpha: NDArray[Any] | None) -> NDArray[np.uint8] | None:
    """Opacity 0..255, or None where everything is opaque."""
    if alpha is None:
        return None
    if alpha.dtype.kind in "ui":
        opaque = (alpha >> (8 * alpha.itemsize - 8)).astype(np.uint8) if alpha.itemsize > 1 else alpha.astype(np.uint8)
    else:
        opaque = (np.clip(np.nan_to_num(alpha.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    return None if int(opaque.min(initial=255)) == 255 else opaque


def _over_white(rgb: NDArray[np.uint8], opaque: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for top in range(0, rgb.shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        share = opaque[rows, :, None].astype(np.uint16)
        rgb[rows] = (rgb[rows] * share + 255 * (255 - share) + 127) // 255
    return rgb
