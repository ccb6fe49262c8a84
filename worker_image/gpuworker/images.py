"""Bytes of an image file -> 8-bit RGB pixels, upright, within limits that are checked before memory is spent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.headers import Header, jpeg_header, png_header, sniff, webp_header
from gpuworker.tasks import ItemError
from gpuworker.tiff import GeoTag, Tiff

# What is wrong with a file is said once, by ItemError.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

_HEADERS = {"jpeg": jpeg_header, "png": png_header, "webp": webp_header}

_BYTES_PER_PIXEL_AT_MOST = 8
"""Four bands of 16 bits; more bands or deeper ones lower the number of pixels that `max_pixels` lets through."""

_PERCENTILES = (2.0, 98.0)
_SAMPLES_FOR_PERCENTILES = 1_000_000
_ROWS_AT_ONCE = 256


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How large an input may be. The defaults let drone mosaics through: 3.2 GB at most in decoding, 1.2 GB after."""

    max_bytes: int = 2 * 1024**3
    max_pixels: int = 400_000_000


@dataclass(frozen=True, kw_only=True)
class BoxPrompt:
    """An example that a person has drawn: what to look for, or (negative) what not to take for it."""

    x: float
    y: float
    width: float
    height: float
    """In pixels of the picture it belongs to, from its left upper corner."""
    is_positive: bool = True
    prompt: str = ""
    """Which text it goes with; "" with all of them."""

    def inside(self, window: Rectangle) -> BoxPrompt | None:
        """The same box in a window's pixels, cut to its edges; None where they do not meet."""
        left, top = max(self.x, window.left), max(self.y, window.top)
        right = min(self.x + self.width, window.left + window.width)
        bottom = min(self.y + self.height, window.top + window.height)
        if right <= left or bottom <= top:
            return None
        return replace(self, x=left - window.left, y=top - window.top, width=right - left, height=bottom - top)


class Rectangle(Protocol):
    """Left upper corner and size, in pixels."""

    @property
    def left(self) -> int: ...
    @property
    def top(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def height(self) -> int: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Image:
    """A picture ready for a model.

    `rgb` is H×W×3 uint8, C-contiguous, upright. Where `decode` was told how many pixels suffice it may be the picture
    at a half, quarter or eighth; `height` and `width` are always the full size, in which results are given.
    """

    rgb: NDArray[np.uint8]
    height: int
    width: int
    bands: int
    """Bands of the file, before they became three."""
    dtype: str
    """Type of the file's samples: `uint8`, `uint16`, `float32` …"""
    geo: tuple[GeoTag, ...] = ()
    boxes: tuple[BoxPrompt, ...] = ()
    """Examples drawn in it, in full-size pixels."""


def probe(data: bytes) -> Header:
    """Read a file's header and make sure that the file is whole, decoding nothing.

    Raises ItemError `empty`, `unsupported`, `truncated` or `unreadable`.
    """
    kind = sniff(data)
    return Tiff(data).header if kind == "tiff" else _HEADERS[kind](data)


def decoding_bytes(data: bytes, limits: Limits | None = None, *, enough_px: int | None = None) -> int:
    """The most memory that `decode` will take, by the header; 0 for a file that it will refuse."""
    limits = limits or Limits()
    try:
        header = probe(data)
        _require_within(header, limits, 0)
    except ItemError:
        return 0
    if header.format == "jpeg":
        # Rows are scaled down as they are decoded; turning makes a second copy.
        copies = 1 if header.orientation == 1 else 2
        return copies * 3 * header.pixels // _reduction(header, enough_px) ** 2
    # Besides the bands: the picture, where it is valid, and blocks at work.
    return header.decoded_bytes + 5 * header.pixels


def decode(data: bytes, limits: Limits | None = None, *, enough_px: int | None = None) -> Image:
    """Decode an image file. Raises ItemError.

    `enough_px`: a long side that suffices; a picture at least twice that is reduced by 2, 4 or 8 (JPEG while it is
    decoded, by its DCT scaling, at a fraction of the time and memory).
    """
    limits = limits or Limits()
    if len(data) > limits.max_bytes:
        raise ItemError(
            "too_large",
            f"the file has {len(data):,} bytes; the limit is {limits.max_bytes:,}. The option max_bytes raises it",
        )
    kind = sniff(data)
    tiff = Tiff(data) if kind == "tiff" else None
    header = tiff.header if tiff else _HEADERS[kind](data)
    _require_within(header, limits, tiff.largest_block_pixels if tiff else 0)
    factor = _reduction(header, enough_px)
    try:
        rgb = _rgb_of_tiff(tiff) if tiff else _rgb_by_cv2(data, header, factor)
        upright = _upright(_reduced(rgb, header, factor), header.orientation)
    except MemoryError as error:
        raise ItemError("out_of_memory", f"no memory for an image of {_size(header)}") from error
    turned = header.orientation >= 5
    return Image(
        rgb=np.ascontiguousarray(upright),
        height=header.width if turned else header.height,
        width=header.height if turned else header.width,
        bands=header.bands,
        dtype=header.dtype,
        geo=tiff.geo if tiff else (),
    )


def _size(header: Header) -> str:
    return f"{header.width}×{header.height} pixels ({header.pixels / 1e6:,.0f} megapixels)"


def _require_within(header: Header, limits: Limits, block_pixels: int) -> None:
    """Refuse what would take too much memory, by the header alone."""
    raises = "The option max_pixels raises it"
    if max(header.pixels, block_pixels) > limits.max_pixels:
        raise ItemError("too_large", f"the image has {_size(header)}; the limit is {limits.max_pixels:,}. {raises}")
    max_decoded = limits.max_pixels * _BYTES_PER_PIXEL_AT_MOST
    if header.decoded_bytes > max_decoded:
        raise ItemError(
            "too_large",
            f"the image has {_size(header)} with {header.bands} bands of {header.dtype}, {header.decoded_bytes:,} bytes"
            f" in memory; the limit is {max_decoded:,} ({_BYTES_PER_PIXEL_AT_MOST} × max_pixels). {raises}",
        )


def _reduction(header: Header, enough_px: int | None) -> int:
    """The largest of 1, 2, 4, 8 by which the long side can be divided and still be enough."""
    if enough_px is None:
        return 1
    long_side = max(header.width, header.height)
    return max(factor for factor in (1, 2, 4, 8) if factor == 1 or long_side >= factor * enough_px)


def _reduced(rgb: NDArray[np.uint8], header: Header, factor: int) -> NDArray[np.uint8]:
    if factor == 1 or rgb.shape[0] < header.height:
        return rgb
    size = -(-header.width // factor), -(-header.height // factor)
    reduced: NDArray[np.uint8] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return reduced


_REDUCED_FLAGS = {1: 0, 2: cv2.IMREAD_REDUCED_GRAYSCALE_2, 4: cv2.IMREAD_REDUCED_GRAYSCALE_4, 8: 64}
"""cv2's scale bits without a colour bit, so that IMREAD_COLOR_RGB can be added."""


def _rgb_by_cv2(data: bytes, header: Header, factor: int) -> NDArray[np.uint8]:
    """JPEG, PNG or WebP -> H×W×3, not yet upright: the orientation is ours to apply, the same for every format."""
    plain = header.format == "jpeg" or (header.dtype == "uint8" and header.bands in (1, 3))
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION if plain else cv2.IMREAD_UNCHANGED
    if header.format == "jpeg":
        flags |= _REDUCED_FLAGS[factor]
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError from error
        raise ItemError("unreadable", f"the {header.format.upper()} is damaged: {error.err}") from error
    if pixels is None:
        raise ItemError("unreadable", f"the {header.format.upper()} is damaged and cannot be decoded")
    if plain:
        rgb: NDArray[np.uint8] = pixels
        return rgb
    bands = [pixels[:, :, i] for i in range(pixels.shape[2])] if pixels.ndim == 3 else [pixels]
    colour = (bands[2], bands[1], bands[0]) if len(bands) >= 3 else (bands[0],)
    return _composed(colour, alpha=bands[3] if len(bands) == 4 else None, valid=None)


def _rgb_of_tiff(tiff: Tiff) -> NDArray[np.uint8]:
    raster = tiff.decode()
    return _composed(raster.colour, alpha=raster.alpha, valid=raster.valid)


def _composed(
    colour: tuple[NDArray[Any], ...], *, alpha: NDArray[Any] | None, valid: NDArray[np.bool_] | None
) -> NDArray[np.uint8]:
    """One or three bands of any type -> H×W×3 uint8; what is transparent becomes white, what is nodata black."""
    opaque = _bytes_of_alpha(alpha)
    if opaque is not None and colour[0].dtype != np.uint8:
        valid = opaque > 0 if valid is None else valid & (opaque > 0)
    rgb = np.empty((*colour[0].shape, 3), np.uint8)
    for i in range(3):
        if i < len(colour):
            rgb[:, :, i] = stretched(colour[i], valid)
        else:
            rgb[:, :, i] = rgb[:, :, 0]
    return rgb if opaque is None else _over_white(rgb, opaque)


@np.errstate(all="ignore")
def stretched(band: NDArray[Any], valid: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Map a band of any type to bytes: its 2nd..98th percentile becomes 0..255. Bytes stay as they are.

    `valid` (H×W bool) leaves pixels out of the percentiles and paints them black.
    """
    if band.dtype == np.uint8:
        return band
    if band.dtype == np.bool_:
        return band.astype(np.uint8) * np.uint8(255)
    band = band.real if band.dtype.kind == "c" else band
    low, high = _range(band, valid)
    out = np.empty(band.shape, np.uint8)
    for top in range(0, band.shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        part: NDArray[np.floating[Any]] = band[rows].astype(np.float64 if band.itemsize > 4 else np.float32)
        scaled = (part - low) * (255 / (high - low))
        if valid is not None:
            scaled[~valid[rows]] = 0
        out[rows] = np.nan_to_num(np.clip(scaled, 0, 255), copy=False)
    return out


def _range(band: NDArray[Any], valid: NDArray[np.bool_] | None) -> tuple[float, float]:
    """The values that become 0 and 255, from an even sample of a large band; never equal."""
    step = max(1, round((band.size / _SAMPLES_FOR_PERCENTILES) ** 0.5))
    sample = band[::step, ::step]
    sample = sample if valid is None else sample[valid[::step, ::step]]
    sample = sample[np.isfinite(sample)]
    if sample.size == 0:
        return 0.0, 1.0
    low, high = (float(value) for value in np.percentile(sample, _PERCENTILES))
    if not high > low:
        low, high = float(sample.min()), float(sample.max())
    return (low, high) if high > low else (low, low + 1.0)


def _bytes_of_alpha(alpha: NDArray[Any] | None) -> NDArray[np.uint8] | None:
    """Opacity 0..255, or None where everything is opaque."""
    if alpha is None:
        return None
    if alpha.dtype.kind in "ui":
        opaque = (alpha >> (8 * alpha.itemsize - 8)).astype(np.uint8) if alpha.itemsize > 1 else alpha.astype(np.uint8)
    else:
        opaque = (np.clip(np.nan_to_num(alpha.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    return None if int(opaque.min()) == 255 else opaque


def _over_white(rgb: NDArray[np.uint8], opaque: NDArray[np.uint8]) -> NDArray[np.uint8]:
    for top in range(0, rgb.shape[0], _ROWS_AT_ONCE):
        rows = slice(top, top + _ROWS_AT_ONCE)
        share = opaque[rows, :, None].astype(np.uint16)
        rgb[rows] = (rgb[rows] * share + 255 * (255 - share) + 127) // 255
    return rgb


_TURNS = {
    1: (False, None),
    2: (False, 1),
    3: (False, -1),
    4: (False, 0),
    5: (True, None),
    6: (True, 1),
    7: (True, -1),
    8: (True, 0),
}
"""EXIF orientation (TIFF 6.0, tag 274) -> whether to transpose, then cv2's flip code; 6 is a phone held upright."""


def _upright(rgb: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    transpose, flip = _TURNS[orientation]
    turned = cv2.transpose(rgb) if transpose else rgb
    upright: NDArray[np.uint8] = turned if flip is None else cv2.flip(turned, flip)
    return upright
