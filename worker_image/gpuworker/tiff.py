"""TIFF, BigTIFF and GeoTIFF by tifffile, which keeps 16 bits, every band and the geo tags; cv2 swaps and drops them."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.headers import Header
from gpuworker.tasks import ItemError

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams."""
# What is wrong with a file is said once, by ItemError.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_DNG_VERSION, _GDAL_NODATA = 50706, 42113
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2


@dataclass(frozen=True, kw_only=True)
class GeoTag:
    """One GeoTIFF tag as read, to be written again: its number, TIFF type, count and value."""

    code: int
    dtype: int
    count: int
    value: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class Raster:
    """Decoded TIFF pixels: `colour` (1 or 3 arrays, H×W, any type), and where they mean nothing."""

    colour: tuple[NDArray[Any], ...]
    alpha: NDArray[Any] | None
    valid: NDArray[np.bool_] | None
    """H×W; False at nodata, NaN and infinity. None where every pixel counts."""


class Tiff:
    """The first page of a TIFF; later pages (overviews, stacks) are not looked at.

    `geo` holds the GeoTIFF tags, none where the image is not georeferenced. `largest_block_pixels` is the size of its
    strips or tiles, which are decoded whole: a second way to ask for too much memory.
    """

    def __init__(self, data: bytes) -> None:
        _require_whole_directory(data)
        self._size_bytes = len(data)
        with _unreadable_on_error():
            page = tifffile.TiffFile(io.BytesIO(data)).pages.first
            if not isinstance(page, tifffile.TiffPage):
                raise ItemError("unreadable", "the TIFF has no page with pixels")
            self._page = page
            self.geo = _geo_tags(page)
            self.header = self._read_header()
            self._require_whole_data()
            self.largest_block_pixels = math.prod(int(side) for side in page.chunks[:2])

    def _read_header(self) -> Header:
        page = self._page
        if _DNG_VERSION in page.tags or page.photometric == tifffile.PHOTOMETRIC.CFA:
            raise ItemError("unsupported", "this is a raw camera file (DNG); develop it to TIFF or JPEG first")
        if page.imagewidth < 1 or page.imagelength < 1 or page.dtype is None:
            raise ItemError("unreadable", "the TIFF does not say how large its pixels are")
        if page.imagedepth != 1:
            raise ItemError("unsupported", "a TIFF volume (ImageDepth above 1); save one slice as an image of its own")
        # Georeferenced pixels stay where their tags say they are; GDAL ignores the orientation too.
        orientation = 1 if self.geo else int(page.tags.valueof(274, default=1) or 1)
        return Header(
            format="tiff",
            width=int(page.imagewidth),
            height=int(page.imagelength),
            bands=int(page.samplesperpixel),
            dtype=page.dtype.name,
            orientation=orientation if 1 <= orientation <= 8 else 1,
        )

    def _require_whole_data(self) -> None:
        page = self._page
        if not page.dataoffsets:
            raise ItemError("unreadable", "the TIFF does not say where its pixels are")
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > self._size_bytes:
            raise ItemError("truncated", "the TIFF is cut short: some of its strips or tiles lie past its end")

    def decode(self) -> Raster:
        """Decode the pixels, not yet oriented or stretched. Raises ItemError."""
        page = self._page
        with _unreadable_on_error():
            bands = _bands(page.asarray(maxworkers=1), page)
            alpha = next((bands[i] for i in _alpha_bands(page) if i < len(bands)), None)
            colour = _colour(bands, page)
            return Raster(colour=colour, alpha=alpha, valid=_valid(colour, page.tags.valueof(_GDAL_NODATA)))


def _require_whole_directory(data: bytes) -> None:
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    where = data[8:16] if big else data[4:8]
    offset = int.from_bytes(where, "little" if order == "<" else "big")
    if len(data) < 16 or offset + 2 > len(data):
        raise ItemError("truncated", "the TIFF is cut short: its directory lies past its end")


@contextmanager
def _unreadable_on_error() -> Iterator[None]:
    """Whatever a decoder throws at bytes that nobody vouches for means that the file cannot be read."""
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except NotImplementedError as error:
        raise ItemError("unsupported", f"a kind of TIFF that cannot be read: {error}") from error
    except Exception as error:
        raise ItemError("unreadable", f"the TIFF is damaged: {error}") from error


def _geo_tags(page: tifffile.TiffPage) -> tuple[GeoTag, ...]:
    tags = [page.tags.get(code) for code in _GEO_TAGS]
    return tuple(GeoTag(code=tag.code, dtype=int(tag.dtype), count=tag.count, value=tag.value) for tag in tags if tag)


def _bands(pixels: NDArray[Any], page: tifffile.TiffPage) -> list[NDArray[Any]]:
    """One H×W array a band, whether stored interleaved or plane by plane."""
    if pixels.ndim == 2:
        return [pixels]
    if pixels.ndim != 3 or page.axes not in ("YXS", "SYX"):
        raise ItemError("unsupported", f"a TIFF with axes {page.axes}; a single picture can be read")
    return list(pixels) if page.axes == "SYX" else [pixels[:, :, i] for i in range(pixels.shape[2])]


def _alpha_bands(page: tifffile.TiffPage) -> list[int]:
    first = page.samplesperpixel - len(page.extrasamples)
    return [
        first + i for i, kind in enumerate(page.extrasamples) if int(kind) in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA)
    ]


def _colour(bands: list[NDArray[Any]], page: tifffile.TiffPage) -> tuple[NDArray[Any], ...]:
    """One grey or three colour bands: one stays, of two the first counts, of more the first three."""
    kind = page.photometric
    if kind == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None:
        palette = (page.colormap >> 8).astype(np.uint8)
        index = np.minimum(bands[0], palette.shape[1] - 1)
        return tuple(palette[i][index] for i in range(3))
    if kind == tifffile.PHOTOMETRIC.SEPARATED and len(bands) >= 4:
        return _rgb_of_cmyk(bands)
    if kind == tifffile.PHOTOMETRIC.MINISWHITE:
        bands = [~band if band.dtype == bool else _most(band) - band for band in bands]
    return tuple(bands[:3]) if len(bands) >= 3 else (bands[0],)


def _most(band: NDArray[Any]) -> Any:
    return np.iinfo(band.dtype).max if band.dtype.kind in "ui" else np.nanmax(band)


def _rgb_of_cmyk(bands: list[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The plain conversion without an ink profile: red = white × (1 - cyan) × (1 - black)."""
    most = float(_most(bands[0]))
    light = 1 - bands[3].astype(np.float32) / most
    return tuple(((1 - ink.astype(np.float32) / most) * light * most).astype(ink.dtype) for ink in bands[:3])


def _valid(colour: tuple[NDArray[Any], ...], nodata: Any) -> NDArray[np.bool_] | None:
    """Where pixels mean something; bytes always do, since they are shown as they are stored."""
    first = colour[0]
    if first.dtype.kind not in "uif" or first.dtype == np.uint8:
        return None
    valid = np.isfinite(first) if first.dtype.kind == "f" else np.ones(first.shape, np.bool_)
    with suppress(ValueError):
        valid &= first != float(str(nodata).strip("\0 "))
    return None if bool(valid.all()) else valid
