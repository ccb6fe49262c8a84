"""TIFF, BigTIFF and GeoTIFF by tifffile, which keeps 16 bits, every band and the geo tags; cv2 swaps and drops them."""

from __future__ import annotations

import io
import logging
import math
import os
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import tifffile

from gpuworker.contract.items import ItemError
from gpuworker.images.exif import as_orientation
from gpuworker.images.headers import Header
from gpuworker.images.notes import BLANK, PAGES_LEFT, PREVIEW, Notes
from gpuworker.images.rendering import Raster, Rendering
from gpuworker.images.tiff.choice import Choice, by_sample
from gpuworker.images.tiff.codecs import prepare
from gpuworker.images.tiff.colour import colours_of
from gpuworker.images.tiff.pages import pages_of
from gpuworker.images.tiff.stacks import page_count, require_end

_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""ModelPixelScale, ModelTiepoint, ModelTransformation, GeoKeyDirectory, GeoDoubleParams, GeoAsciiParams; and
RPCCoefficient, the polynomials of satellite scenes: a place by more than a transform, which is to be said."""
# What is wrong with a file is said once, by ItemError.
logging.getLogger("tifffile").setLevel(logging.CRITICAL)

_READ_AT_ONCE_BYTES = 256 * 1024**2
"""Of a file's compressed strips and tiles, by tifffile."""
_CODEC_BYTES_PER_SAMPLE = {33003: 4, 33004: 4, 33005: 4, 34712: 4, 50001: 2}
"""What JPEG 2000 (in 32 bits whatever the samples have) and WebP decode into, before it is copied to the block."""
_PAGES_LOOKED_AT = 32
_PAGES_NAMED = 100
"""Of those that were left; the rest is not worth a line in every result."""


@dataclass(frozen=True, kw_only=True)
class GeoTag:
    """One GeoTIFF tag as read, to be written again: its number, TIFF type, count and value."""

    code: int
    dtype: int
    count: int
    value: Any


class Tiff:
    """The picture of a TIFF: a page of it, or pages that are its bands; and of others its mask and its overviews.

    `geo` holds the GeoTIFF tags, none where the image is not georeferenced. `largest_block_pixels` is the size of its
    strips or tiles, which are decoded whole: a second way to ask for too much memory. A file stays open as long as this
    lives, also when its name is gone.
    """

    def __init__(self, data: bytes | Path, rendering: Rendering | None = None) -> None:
        """`rendering`: which page and bands a person asks for. Raises ItemError."""
        self._data = b"" if isinstance(data, Path) else data
        file: BinaryIO = data.open("rb") if isinstance(data, Path) else io.BytesIO(data)
        self._descriptor = file.fileno() if isinstance(data, Path) else -1
        weakref.finalize(self, file.close)
        self.size_bytes = os.fstat(self._descriptor).st_size if isinstance(data, Path) else len(data)
        self._require_whole_directory()
        with unreadable_on_error():
            self.file = tifffile.TiffFile(file)
            require_end(self.file)
            wish = rendering or Rendering()
            self._pages, self._is_asked_for = pages_of(self.file, wish.page, wish.bands), wish.page != "first"
            page = self.page = self._pages.page
            colours_of(page)  # known, or refused before anything else is said of it
            self.geo = _geo_tags(page)
            self.header = self._read_header()
            self._require_whole_data()
            for one in self.channels or (page,):
                prepare(one)
            self.largest_block_pixels = math.prod(int(side) for side in page.chunks[:2])

    @property
    def channels(self) -> Sequence[tifffile.TiffPage]:
        """Pages that are a band each; () where `page` holds all bands."""
        return self._pages.channels

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
        """Besides the samples, before the picture is made: what is no red, green and blue is converted, with a mask."""
        colours = colours_of(self.page)
        if colours.is_plain:
            return 0
        bytes_per_pixel = colours.bytes_per_pixel
        return self.header.pixels * (bytes_per_pixel + 2) + (0 if colours.made_of else self.header.decoded_bytes)

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
        if page.imagewidth < 1 or page.imagelength < 1 or page.dtype is None:
            raise ItemError("unreadable", "the TIFF does not say how large its pixels are")
        if page.imagedepth != 1:
            raise ItemError("unsupported", "a TIFF volume (ImageDepth above 1); save one slice as an image of its own")
        return Header(
            format="tiff",
            width=int(page.imagewidth),
            height=int(page.imagelength),
            bands=len(self.channels) or int(page.samplesperpixel),
            dtype=page.dtype.name,
            orientation=self._orientation(),
            notes=self._notes(),
        )

    def _orientation(self) -> int:
        """Georeferenced pixels stay where their tags say they are; GDAL ignores the orientation too."""
        holder = self.file.pages.first if self._pages.is_preview else self.page
        return 1 if self.geo else as_orientation(holder.tags.valueof(274, default=1))

    def _notes(self) -> Notes:
        left = tuple(self._pages.left[:_PAGES_NAMED])
        is_blank = not any(any(page.databytecounts) for page in self.channels or (self.page,))
        warned = {PAGES_LEFT: bool(left), PREVIEW: self._pages.is_preview, BLANK: is_blank}
        number = self._pages.number
        is_one_of_several = bool(left) or number > 1 or (self._is_asked_for and page_count(self.file) > 1)
        return Notes(
            warnings=tuple(word for word, is_so in warned.items() if is_so),
            page=number if number and is_one_of_several else None,
            pages_left=left,
        )

    def _require_whole_data(self) -> None:
        for page in self.channels or (self.page,):
            if not page.dataoffsets:
                raise ItemError("unreadable", "the TIFF does not say where its pixels are")
            blocks = math.prod(page.chunked)
            if len(page.dataoffsets) < blocks and not page.is_contiguous:
                listed = f"it lists {len(page.dataoffsets)} of {blocks} strips or tiles"
                raise ItemError("truncated", f"the TIFF was not written in full: {listed}")
            ends = (offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False))
            if max(ends, default=0) > self.size_bytes:
                raise ItemError("truncated", "the TIFF is cut short: some of its strips or tiles lie past its end")

    def is_first(self, page: tifffile.TiffPage) -> bool:
        """Whether a page is the one that the file begins with."""
        return bool(page.offset == self.file.pages.first.offset)

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

    def choice(self, rendering: Rendering) -> Choice:
        """Raises ItemError for a band that there is not."""
        return Choice.of(self.page, rendering, channels=len(self.channels))

    def decode(self, rendering: Rendering) -> Raster:
        """Decode the pixels, not yet oriented or stretched. Raises ItemError."""
        choice = self.choice(rendering)
        with unreadable_on_error():
            if self.channels:
                return choice.raster({i: self.channels[i].asarray(maxworkers=1) for i in choice.needed})
            return choice.raster(by_sample(self.page.asarray(maxworkers=1), self.page))


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
