"""Samples of any type -> the bytes that a model and a person see: which bands, and which values become 0 and 255."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.backdrop import is_drawn_in_white
from gpuworker.images.nodata import has_value
from gpuworker.images.notes import BLANK
from gpuworker.images.opacity import ALPHA_AS_BAND, Opacity, laid_over, opacity_of
from gpuworker.images.window import Window

SAMPLED_VALUES = 1_000_000
"""About so many values of a band tell its range; of a smaller image every one does."""
_ROWS_AT_ONCE = 256
_ROW_BYTES_PER_PIXEL = 20
"""Of the rows at work, as floating-point numbers or mixed with white; measured with 32-bit floats and with RGBA."""
_TABLE_VALUES = 1 << 16

Page = Literal["first"] | int
"""The picture that a file shows first, or a page from 1, overviews and masks counted."""
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
    alpha: Literal["auto", "ignore", "use"] = "auto"
    """What a band marked as opacity is for: as its values look, nothing, or opacity."""
    page: Page = "first"
    """Of a file with several."""
    backdrop: Literal["white", "contrast"] = "white"
    """What lies behind transparent pixels. contrast: black where white would swallow lines drawn in white."""

    def picked(self, there_are: int, colours: int | None = None) -> tuple[int, ...]:
        """Indices of one or three bands, from 0; `colours`: how many are there for colours, of which the first are
        taken where nobody asks for others. Raises ItemError for a band that is not there."""
        if not self.bands:
            return (0, 1, 2) if (there_are if colours is None else colours) >= 3 else (0,)
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
    is_premultiplied: bool = False
    """Whether colours are stored as multiplied by their opacity."""
    is_opacity: bool = False
    """Whether the format has no other meaning for `alpha`."""
    valid: NDArray[np.bool_] | None = None
    """H×W; False at nodata, NaN and infinity. None where every pixel counts."""
    nodata: int | float | None = None
    """The value that means none in any band of `colour`, which does not tell how bright that band is."""

    def part(self, window: Window) -> Raster:
        """A view of a part."""
        return self._at(slice(window.top, window.bottom), slice(window.left, window.right))

    def every(self, step: int) -> Raster:
        """A view of every `step`-th row and column."""
        return self._at(slice(None, None, step), slice(None, None, step))

    def _at(self, rows: slice, columns: slice) -> Raster:
        return replace(
            self,
            colour=tuple(band[rows, columns] for band in self.colour),
            alpha=None if self.alpha is None else self.alpha[rows, columns],
            valid=None if self.valid is None else self.valid[rows, columns],
        )

    def only(self, shown: NDArray[np.bool_]) -> Raster:
        """The same, valid only where `shown` (H×W bool) is true."""
        if bool(shown.all()):
            return self
        return replace(self, valid=shown if self.valid is None else self.valid & shown)

    def copied(self) -> Raster:
        """The same, holding nothing of the raster that it may be a part of."""
        return replace(
            self,
            colour=tuple(band.copy() for band in self.colour),
            alpha=None if self.alpha is None else self.alpha.copy(),
            valid=None if self.valid is None else self.valid.copy(),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Levels:
    """What an image's own values decide for all of its parts: what becomes 0 and 255, and what its alpha is for."""

    ranges: tuple[Range, ...]
    """Of each band."""
    opacity: Opacity | None = None
    """None where nothing is transparent."""
    warnings: tuple[str, ...] = ()
    """Caveats' words."""

    def valid_mask(self, raster: Raster) -> NDArray[np.bool_] | None:
        """H×W: neither nodata nor fully transparent; None where that is so everywhere."""
        seen = None if self.opacity is None or raster.alpha is None else self.opacity.visible_mask(raster.alpha)
        if seen is None or raster.valid is None:
            return raster.valid if seen is None else seen
        return raster.valid & seen


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """What becomes of a raster."""

    rgb: NDArray[np.uint8]
    """H×W×3."""
    valid_mask: NDArray[np.bool_] | None = None
    """H×W; None where every pixel means something, or nobody knows."""
    warnings: tuple[str, ...] = ()


def levels_of(samples: Iterable[Raster], rendering: Rendering) -> Levels:
    """From samples of the image: the same sample gives the same picture, however it is read."""
    taken: list[Raster] = []
    for sample in samples:
        taken.append(sample.copied())
        keeps = all(rendering.keeps(band.dtype) for band in sample.colour)
        if keeps and sample.alpha is None and (sample.valid is None or bool(sample.valid.any())):
            break
    alphas = [sample.alpha for sample in taken if sample.alpha is not None]
    opacity, is_band = opacity_of(
        alphas,
        rendering.alpha,
        is_premultiplied=any(sample.is_premultiplied for sample in taken),
        is_by_definition=any(sample.is_opacity for sample in taken),
    )
    if opacity is not None and rendering.bands and rendering.alpha == "auto":
        opacity = replace(opacity, blends=False)
    is_told = is_band and not rendering.bands
    levels = Levels(ranges=(), opacity=opacity, warnings=(ALPHA_AS_BAND,) if is_told else ())
    levels = replace(levels, ranges=_ranges(taken, levels, rendering))
    if all((seen := levels.valid_mask(one)) is not None and not seen.any() for one in taken):
        levels = replace(levels, warnings=(*levels.warnings, BLANK))
    return _on_contrast(taken, levels) if rendering.backdrop == "contrast" else levels


def _on_contrast(samples: Sequence[Raster], levels: Levels) -> Levels:
    """The same with black behind what is drawn in white."""
    opacity = levels.opacity
    if opacity is None or not opacity.blends:
        return levels
    alone = replace(levels, opacity=None)
    drawn = [(rendered(one, alone), opacity.shares(one.alpha)) for one in samples if one.alpha is not None]
    return replace(levels, opacity=replace(opacity, backdrop=0)) if is_drawn_in_white(drawn) else levels


def _ranges(samples: Sequence[Raster], levels: Levels, rendering: Rendering) -> tuple[Range, ...]:
    bands = len(samples[0].colour) if samples else 0
    return tuple(
        None
        if rendering.keeps(samples[0].colour[i].dtype)
        else _range_of(
            samples[0].colour[i].dtype,
            [_values(sample.colour[i], sample, levels) for sample in samples],
            rendering,
        )
        for i in range(bands)
    )


def _values(band: NDArray[Any], sample: Raster, levels: Levels) -> NDArray[Any]:
    """A band's values where they mean something."""
    masks = [mask for mask in (levels.valid_mask(sample), has_value(band, sample.nodata)) if mask is not None]
    return band[np.logical_and.reduce(masks)] if masks else band.ravel()


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


def rendered(raster: Raster, levels: Levels) -> NDArray[np.uint8]:
    """H×W×3 uint8; what is transparent becomes the backdrop, what is nodata black where values are stretched."""
    rgb = np.empty((*raster.colour[0].shape, 3), np.uint8)
    for i in range(3):
        if i < len(raster.colour):
            rgb[:, :, i] = _as_bytes(raster.colour[i], raster.valid, levels.ranges[i])
        else:
            rgb[:, :, i] = rgb[:, :, 0]
    if levels.opacity is None or not levels.opacity.blends or raster.alpha is None:
        return rgb
    return laid_over(rgb, levels.opacity.shares(raster.alpha), levels.opacity)


def rendering_bytes(*, height: int, width: int) -> int:
    """The most that `rendered` takes besides the samples: H×W×3, one band of it, two masks, and rows at work."""
    return 6 * height * width + min(height, _ROWS_AT_ONCE) * width * _ROW_BYTES_PER_PIXEL


def levels_of_whole(raster: Raster, rendering: Rendering) -> Levels:
    """Of an image that is its own sample."""
    return levels_of([raster.every(step_for(raster.colour[0].size))], rendering)


def picture_of(raster: Raster, levels: Levels) -> Picture:
    """The raster rendered, with what is known of it."""
    return Picture(rgb=rendered(raster, levels), valid_mask=levels.valid_mask(raster), warnings=levels.warnings)


def stretched(
    band: NDArray[Any], valid: NDArray[np.bool_] | None = None, rendering: Rendering | None = None
) -> NDArray[np.uint8]:
    """One band (H×W of any dtype) as bytes; `valid` (H×W bool) leaves pixels out of the percentiles and paints them
    black."""
    raster = Raster(colour=(band,), valid=valid)
    (its_range,) = levels_of_whole(raster, rendering or Rendering()).ranges
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
    # Whole numbers of 32 bits have more digits than floats of 32 bits.
    dtype = np.float64 if band.itemsize > 4 or (band.itemsize == 4 and band.dtype.kind in "ui") else np.float32
    out = np.empty(band.shape, np.uint8)
    for top in range(0, band.shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        part: NDArray[np.floating[Any]] = band[rows].astype(dtype)
        scaled = (part - low) * (255 / (high - low)) + 0.5  # to the nearest
        if valid is not None:
            scaled[~valid[rows]] = 0
        out[rows] = np.nan_to_num(np.clip(scaled, 0, 255), copy=False)
    return out
