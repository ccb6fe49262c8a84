"""TIFF, BigTIFF and GeoTIFF by tifffile, which keeps 16 bits, every band and the geo tags; cv2 swaps and drops them."""

from __future__ import annotations

import io
import logging
import math
import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.exif import as_orientation
from gpuworker.headers import Header
from gpuworker.rendering import Raster, Rendering
from gpuworker.tasks import ItemError

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams."""
# What is wrong with a file is said once, by ItemError.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_DNG_VERSION, _GDAL_NODATA = 50706, 42113
_JPEG = 7
_READ_AT_ONCE_BYTES = 256 * 1024**2
"""Of a file's compressed strips and tiles, by tifffile."""
_CODEC_BYTES_PER_SAMPLE = {33003: 4, 33004: 4, 33005: 4, 34712: 4, 50001: 2}
"""What JPEG 2000 (in 32 bits whatever the samples have) and WebP decode into, before it is copied to the block."""
_PAGES_LOOKED_AT = 32
_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA = 1, 2

Samples = Mapping[int, NDArray[Any]]
"""Index of a sample of the file, from 0 -> its H×W array."""


@dataclass(frozen=True, kw_only=True)
class GeoTag:
    """One GeoTIFF tag as read, to be written again: its number, TIFF type, count and value."""

    code: int
    dtype: int
    count: int
    value: Any


class Tiff:
    """The first page of a TIFF; of later pages only its mask and its overviews are looked at, where they are wanted.

    `geo` holds the GeoTIFF tags, none where the image is not georeferenced. `largest_block_pixels` is the size of its
    strips or tiles, which are decoded whole: a second way to ask for too much memory. A file stays open as long as this
    lives, also when its name is gone.
    """

    def __init__(self, data: bytes | Path) -> None:
        self._data = b"" if isinstance(data, Path) else data
        file: BinaryIO = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
        self._descriptor = file.fileno() if isinstance(data, Path) else -1
        weakref.finalize(self, file.close)
        self.size_bytes = os.fstat(self._descriptor).st_size if isinstance(data, Path) else len(data)
        self._require_whole_directory()
        with unreadable_on_error():
            self.file = tifffile.TiffFile(file)
            page = self.file.pages.first
            if not isinstance(page, tifffile.TiffPage):
                raise ItemError("unreadable", "the TIFF has no page with pixels")
            if page.photometric == tifffile.PHOTOMETRIC.RGB and page.planarconfig == 2 and page.compression == _JPEG:
                # Each plane is a grey JPEG, which tifffile's decoder would take for one in colours, and fail.
                page.photometric = tifffile.PHOTOMETRIC.MINISBLACK
            self.page = page
            self.geo = _geo_tags(page)
            self.header = self._read_header()
            self._require_whole_data()
            self.largest_block_pixels = math.prod(int(side) for side in page.chunks[:2])

    @property
    def held_bytes(self) -> int:
        """What of the file itself is in memory."""
        return len(self._data)

    # --- what `decode` takes ---

    @property
    def is_stored_plain(self) -> bool:
        """Whether all samples lie in the file as they are, and are read at once into their array."""
        return bool(self.page.is_contiguous and self.page.fillorder == 1 and self.page.predictor == 1)

    @property
    def read_bytes(self) -> int:
        """Of the file, before it is decompressed."""
        if self.is_stored_plain:
            return 0
        return min(self.size_bytes, max(_READ_AT_ONCE_BYTES, *(int(count) for count in self.page.databytecounts)))

    @property
    def block_bytes(self) -> int:
        """Of a strip or tile, before it is copied to its place among the others."""
        if self.is_stored_plain:
            return 0
        assert self.page.dtype is not None
        samples = self.largest_block_pixels * (1 if int(self.page.planarconfig) == 2 else self.header.bands)
        return samples * (int(self.page.dtype.itemsize) + _CODEC_BYTES_PER_SAMPLE.get(int(self.page.compression), 0))

    @property
    def conversion_bytes(self) -> int:
        """Besides the samples, before the picture is made: CMYK becomes RGB as 32-bit floats, and white that is 0 is
        turned round, both with masks."""
        assert self.page.dtype is not None
        if self.page.photometric == tifffile.PHOTOMETRIC.SEPARATED:
            return self.header.pixels * (12 + 3 * int(self.page.dtype.itemsize))
        if self.page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            return self.header.decoded_bytes + 2 * self.header.pixels
        return 0

    # --- its bytes ---

    def stored(self, offset: int, count: int) -> bytes:
        """Bytes of the file; any thread, many at once. Raises ItemError `truncated`."""
        in_memory = self._descriptor < 0
        found = self._data[offset : offset + count] if in_memory else os.pread(self._descriptor, count, offset)
        if len(found) < count:
            raise ItemError("truncated", "the TIFF is cut short: some of its pixels lie past its end")
        return found

    def _require_whole_directory(self) -> None:
        start = self.stored(0, min(16, self.size_bytes))
        order = "<" if start[:2] == b"II" else ">"
        big = start[2:4] in (b"+\0", b"\0+")
        where = start[8:16] if big else start[4:8]
        offset = int.from_bytes(where, "little" if order == "<" else "big")
        if len(start) < 16 or offset + 2 > self.size_bytes:
            raise ItemError("truncated", "the TIFF is cut short: its directory lies past its end")

    def _read_header(self) -> Header:
        page = self.page
        if _DNG_VERSION in page.tags or page.photometric == tifffile.PHOTOMETRIC.CFA:
            raise ItemError("unsupported", "this is a raw camera file (DNG); develop it to TIFF or JPEG first")
        if page.imagewidth < 1 or page.imagelength < 1 or page.dtype is None:
            raise ItemError("unreadable", "the TIFF does not say how large its pixels are")
        if page.imagedepth != 1:
            raise ItemError("unsupported", "a TIFF volume (ImageDepth above 1); save one slice as an image of its own")
        # Georeferenced pixels stay where their tags say they are; GDAL ignores the orientation too.
        orientation = 1 if self.geo else as_orientation(page.tags.valueof(274, default=1))
        return Header(
            format="tiff",
            width=int(page.imagewidth),
            height=int(page.imagelength),
            bands=int(page.samplesperpixel),
            dtype=page.dtype.name,
            orientation=orientation,
        )

    def _require_whole_data(self) -> None:
        page = self.page
        if not page.dataoffsets:
            raise ItemError("unreadable", "the TIFF does not say where its pixels are")
        ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
        if max(ends, default=0) > self.size_bytes:
            raise ItemError("truncated", "the TIFF is cut short: some of its strips or tiles lie past its end")

    def later_pages(self) -> Iterator[tifffile.TiffPage]:
        """The first few pages after the first, as far as they can be read."""
        with suppress(ItemError), unreadable_on_error():
            for i in range(1, _PAGES_LOOKED_AT):
                try:
                    page = self.file.pages[i]
                except IndexError:
                    return
                if isinstance(page, tifffile.TiffPage):
                    yield page

    def decode(self, rendering: Rendering) -> Raster:
        """Decode the pixels, not yet oriented or stretched. Raises ItemError."""
        choice = Choice.of(self.page, rendering)
        with unreadable_on_error():
            return choice.raster(by_sample(self.page.asarray(maxworkers=1), self.page))


@dataclass(frozen=True, kw_only=True, eq=False)
class Choice:
    """Which of a page's samples make the picture."""

    page: tifffile.TiffPage
    colour: tuple[int, ...]
    alpha: int | None

    @classmethod
    def of(cls, page: tifffile.TiffPage, rendering: Rendering) -> Choice:
        """Raises ItemError for a band that the page does not have."""
        kind, samples = page.photometric, int(page.samplesperpixel)
        converted = _has_palette(page) or (kind == tifffile.PHOTOMETRIC.SEPARATED and samples >= 4)
        colour = rendering.picked(3 if converted else samples)
        first = samples - len(page.extrasamples)
        alphas = [
            first + i
            for i, extra in enumerate(page.extrasamples)
            if int(extra) in (_ASSOCIATED_ALPHA, _UNASSOCIATED_ALPHA) and 0 <= first + i < samples
        ]
        alpha = next((i for i in alphas if converted or i not in colour), None)
        return cls(page=page, colour=colour, alpha=alpha)

    @property
    def needed(self) -> tuple[int, ...]:
        """Samples that have to be read."""
        if _has_palette(self.page):
            colour: tuple[int, ...] = (0,)
        elif self._is_cmyk:
            colour = (0, 1, 2, 3)
        else:
            colour = self.colour
        return tuple(sorted({*colour, *(() if self.alpha is None else (self.alpha,))}))

    @property
    def _is_cmyk(self) -> bool:
        return bool(self.page.photometric == tifffile.PHOTOMETRIC.SEPARATED and self.page.samplesperpixel >= 4)

    def raster(self, samples: Samples) -> Raster:
        """The picture that these samples of the page, or of a part of it, make."""
        alpha = None if self.alpha is None else samples[self.alpha]
        plain = [samples[i] for i in self.needed if i != self.alpha]
        return Raster(colour=self._colour(samples), alpha=alpha, valid=_valid(plain, self.page))

    def _colour(self, samples: Samples) -> tuple[NDArray[Any], ...]:
        page = self.page
        if _has_palette(page):
            assert page.colormap is not None
            palette = (page.colormap >> 8).astype(np.uint8)
            index = np.minimum(samples[0], palette.shape[1] - 1)
            return tuple(palette[i][index] for i in self.colour)
        if self._is_cmyk:
            inks = _rgb_of_cmyk([samples[i] for i in range(4)])
            return tuple(inks[i] for i in self.colour)
        bands = [samples[i] for i in self.colour]
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE:
            return tuple(~band if band.dtype == bool else _most(band) - band for band in bands)
        return tuple(bands)


@contextmanager
def unreadable_on_error() -> Iterator[None]:
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


def by_sample(pixels: NDArray[Any], page: tifffile.TiffPage) -> Samples:
    """One H×W array a sample, whether stored interleaved or plane by plane."""
    if pixels.ndim == 2:
        return {0: pixels}
    if pixels.ndim != 3 or page.axes not in ("YXS", "SYX"):
        raise ItemError("unsupported", f"a TIFF with axes {page.axes}; a single picture can be read")
    return dict(enumerate(pixels if page.axes == "SYX" else (pixels[:, :, i] for i in range(pixels.shape[2]))))


def _has_palette(page: tifffile.TiffPage) -> bool:
    return page.photometric == tifffile.PHOTOMETRIC.PALETTE and page.colormap is not None


def _most(band: NDArray[Any]) -> Any:
    return np.iinfo(band.dtype).max if band.dtype.kind in "ui" else np.nanmax(band)


def _rgb_of_cmyk(bands: list[NDArray[Any]]) -> tuple[NDArray[Any], ...]:
    """The plain conversion without an ink profile: red = white × (1 - cyan) × (1 - black)."""
    most = float(_most(bands[0]))
    light = 1 - bands[3].astype(np.float32) / most
    return tuple(((1 - ink.astype(np.float32) / most) * light * most).astype(ink.dtype) for ink in bands[:3])


def _valid(bands: list[NDArray[Any]], page: tifffile.TiffPage) -> NDArray[np.bool_] | None:
    """Where a pixel means something: in at least one band it is a number and not nodata, as GDAL's own mask has it."""
    valid: NDArray[np.bool_] | None = None
    for band in bands:
        means = _means(band, page.tags.valueof(_GDAL_NODATA))
        if means is None:
            return None
        valid = means if valid is None else valid | means
    return None if valid is None or bool(valid.all()) else valid


def _means(band: NDArray[Any], nodata: Any) -> NDArray[np.bool_] | None:
    """H×W; None where every value is one."""
    value: float | None = None
    with suppress(ValueError):
        value = float(str(nodata).strip("\0 "))
    if band.dtype.kind == "f":
        finite: NDArray[np.bool_] = np.isfinite(band)
        return finite if value is None else np.logical_and(finite, band != value)
    if value is None or band.dtype.kind not in "ui" or not value.is_integer():
        return None
    limits = np.iinfo(band.dtype)
    if not limits.min <= value <= limits.max:
        return None
    means: NDArray[np.bool_] = np.not_equal(band, int(value))
    return means
