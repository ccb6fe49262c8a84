"""Random access to a TIFF: its tiles or strips one by one, and which of them tell how bright the whole image is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.notes import MASK_LEFT
from gpuworker.images.rendering import Levels, Raster, Rendering, levels_of, rendered, step_for
from gpuworker.images.tiff.choice import Choice
from gpuworker.images.tiff.codecs import prepare
from gpuworker.images.tiff.file import Tiff, unreadable_on_error
from gpuworker.images.window import Window

BLOCK_BYTES_AT_MOST = 128 * 1024**2
"""Decoded size of a tile or strip of a file that is read by blocks."""
_STRIP_BYTES = 4 * 1024**2
"""Pixels that are not compressed can be cut anywhere: strips of about this size are read, however they are stored."""
_MASK_BYTES_AT_MOST = 16 * 1024**2
"""Decoded size of a mask's block; one in a single piece would have to be decoded for every block of the image."""
_SAMPLED_PIXELS = 16_000_000
_SAMPLED_BLOCKS_AT_LEAST = 9
_SAMPLE_COPIES, _OPACITY_SAMPLE_BYTES = 4, 18
"""Of a band's sampled values while its percentiles are found, and of an opacity's besides, which is told as 64-bit
floats: measured as VmHWM with 16 megapixels of 32-bit floats, in strips of 1 and of 64 rows, NumPy 2.4."""
_JPEG = (6, 7, 34892, 33007)
"""Values of Compression whose decoder wants the page's tables."""
Place = tuple[int, int]
"""A block's row and column in the grid of blocks."""


class Blocks:
    """The grid of a page's blocks; blocks at the right and lower edge may be smaller than the others."""

    def __init__(self, tiff: Tiff, rendering: Rendering, page: tifffile.TiffPage | None = None) -> None:
        """`page`: another than the picture's. Raises ItemError for a band that is not there."""
        self._tiff, self._page, self._rendering = tiff, page or tiff.page, rendering
        self._channels = () if page else tiff.channels
        self._choice = Choice.of(page, rendering) if page else tiff.choice(rendering)
        with unreadable_on_error():
            self._measure(self._page)
            if page is not None:
                prepare(page)
        self._mask = _mask_of(tiff, self._page) if page is None else None

    def _measure(self, page: tifffile.TiffPage) -> None:
        assert page.dtype is not None
        self._height: int = page.imagelength
        self._width: int = page.imagewidth
        self.height: int
        self.width: int
        self.rows: int
        self.columns: int
        self._is_planar = bool(self._channels) or (int(page.planarconfig) == 2 and int(page.samplesperpixel) > 1)
        self._together: int = 1 if self._is_planar else int(page.samplesperpixel)
        """Samples of a pixel that lie in one block."""
        self._stored_dtype: np.dtype[Any] = page.dtype.newbyteorder(self._tiff.file.byteorder)
        self._is_plain = bool(page.is_contiguous and page.fillorder == 1 and page.predictor == 1)
        if self._is_plain:
            row_bytes = self._width * self._together * self._stored_dtype.itemsize
            self.height, self.width = max(1, min(_STRIP_BYTES // row_bytes, self._height)), self._width
        else:
            height, width = (int(side) for side in page.chunks[:2])
            self.height, self.width = height if page.is_tiled else min(height, self._height), width
        if min(self.height, self.width) < 1:
            raise ItemError("unreadable", "the TIFF is damaged: it does not say how large its tiles or strips are")
        self.rows, self.columns = math.ceil(self._height / self.height), math.ceil(self._width / self.width)

    @property
    def decoded_bytes(self) -> int:
        """What a block takes once decoded, before it becomes a picture."""
        planes = len(self._choice.needed) if self._is_planar else self._together
        return self.height * self.width * planes * self._stored_dtype.itemsize

    @property
    def working_bytes(self) -> int:
        """What a block takes while it becomes a picture."""
        return self.decoded_bytes + 5 * self.height * self.width

    @property
    def sampled_bytes(self) -> int:
        """What telling the image's range of values takes, by a sample that is not thinned within a row of blocks."""
        if self._choice.alpha is None and self._rendering.keeps(self._stored_dtype):
            return 0
        blocks = min(self.rows * self.columns, self._sampled_at_most)
        step = step_for(blocks * self.height * self.width)
        values = blocks * -(-self.height // step) * -(-self.width // step)
        of_opacity = 0 if self._choice.alpha is None else _OPACITY_SAMPLE_BYTES
        return values * ((len(self._choice.needed) + _SAMPLE_COPIES) * self._stored_dtype.itemsize + of_opacity)

    @property
    def _sampled_at_most(self) -> int:
        return max(_SAMPLED_BLOCKS_AT_LEAST, _SAMPLED_PIXELS // (self.height * self.width))

    @property
    def are_small(self) -> bool:
        """Whether they can be decoded one by one in little memory."""
        return self.decoded_bytes <= BLOCK_BYTES_AT_MOST

    @property
    def are_alike(self) -> bool:
        """Whether a block can be understood without the others: not so where white is the image's largest number."""
        return self._page.photometric != tifffile.PHOTOMETRIC.MINISWHITE or self._stored_dtype.kind in "bui"

    def window(self, place: Place) -> Window:
        """Where a block lies in the image, as it is stored."""
        top, left = place[0] * self.height, place[1] * self.width
        return Window(
            top=top, left=left, height=min(self.height, self._height - top), width=min(self.width, self._width - left)
        )

    def of(self, window: Window) -> Iterator[Place]:
        """The blocks that a window meets, row by row."""
        for row in range(window.top // self.height, -(-window.bottom // self.height)):
            for column in range(window.left // self.width, -(-window.right // self.width)):
                yield row, column

    def is_sparse(self, place: Place) -> bool:
        """Whether the file left the block out, because nothing is in it."""
        if self._is_plain:
            return False
        return all(self._stored_at(place, sample)[1] == 0 for sample in self._planes())

    def _planes(self) -> tuple[int, ...]:
        return self._choice.needed if self._is_planar else (0,)

    def _stored_at(self, place: Place, plane: int) -> tuple[int, int]:
        """Offset and size of a block's bytes in the file; size 0 where it was left out."""
        page, index = self._page_of(plane), self._index(place, plane)
        offsets, counts = page.dataoffsets, page.databytecounts
        if index >= len(offsets) or index >= len(counts) or not offsets[index]:
            return 0, 0
        return int(offsets[index]), int(counts[index])

    def _page_of(self, plane: int) -> tifffile.TiffPage:
        return self._channels[plane] if self._channels else self._page

    def _index(self, place: Place, plane: int) -> int:
        """Of a block in its page's list."""
        before = 0 if self._channels else plane * self.rows
        return (before + place[0]) * self.columns + place[1]

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of its mask, where that is no use block by block."""
        is_large = self._mask is not None and self._mask.decoded_bytes > _MASK_BYTES_AT_MOST
        return (MASK_LEFT,) if is_large else ()

    # --- decoding ---

    def raster(self, place: Place) -> Raster:
        """Decode one block; any thread, many at once. Raises ItemError."""
        read = self._plain if self._is_plain else self._decoded
        samples: dict[int, NDArray[Any]] = {}
        with unreadable_on_error():
            for plane in self._planes():
                pixels = read(place, plane)
                if self._is_planar:
                    samples[plane] = pixels[:, :, 0]
                else:
                    samples = {i: pixels[:, :, i] for i in range(self._together)}
            raster = self._choice.raster(samples)
        if self._mask is None or self.warnings:
            return raster
        return raster.only(self._mask.shown(self.window(place)))

    def masked(self, raster: Raster) -> Raster:
        """The whole page, decoded elsewhere, as its blocks would show it."""
        if self._mask is None:
            return raster
        return raster.only(self._mask.shown(Window(top=0, left=0, height=self._height, width=self._width)))

    def shown(self, window: Window) -> NDArray[np.bool_]:
        """Of a mask's page: H×W, true where the image is to be seen."""
        shown = np.empty((window.height, window.width), np.bool_)
        for place in self.of(window):
            block = self.window(place)
            shown[window.part_in(block)] = self.raster(place).colour[0][block.part_in(window)] != 0
        return shown

    def _plain(self, place: Place, plane: int) -> NDArray[Any]:
        """H×W×samples of pixels that lie in the file as they are."""
        window, page = self.window(place), self._page_of(plane)
        row_bytes = self._width * self._together * self._stored_dtype.itemsize
        before = 0 if self._channels else plane * self._height
        offset = int(page.dataoffsets[0]) + (before + window.top) * row_bytes
        pixels = np.frombuffer(self._tiff.stored(offset, window.height * row_bytes), self._stored_dtype)
        native = pixels.astype(self._stored_dtype.newbyteorder("="), copy=False)
        return native.reshape(window.height, window.width, self._together)

    def _decoded(self, place: Place, plane: int) -> NDArray[Any]:
        window, page = self.window(place), self._page_of(plane)
        offset, count = self._stored_at(place, plane)
        stored = self._tiff.stored(offset, count) if count else None
        tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader} if page.compression in _JPEG else {}
        pixels, _, _ = page.decode(stored, self._index(place, plane), **tables)
        if pixels is None:
            return np.full((window.height, window.width, self._together), page.nodata, self._stored_dtype)
        part = pixels[0, : window.height, : window.width]
        # A decoder's own type may be another: fax gives bytes of 0 and 1 where bits are meant.
        decoded: NDArray[Any] = part.astype(self._stored_dtype.newbyteorder("="), copy=False)
        return decoded

    # --- what the brightness is told from ---

    def sample(self) -> tuple[list[Place], int]:
        """The blocks, and every how many of their rows and columns, from which the values' range is taken.

        All blocks of a small image; of a large one so many, scattered over all of it, that reading them takes a second
        or two. The choice depends on the file alone, so that it is the same however the image is read.
        """
        stored = self.rows if self._is_plain else min(self.rows * self.columns, len(self._page.dataoffsets))
        places = [divmod(index, self.columns) for index in range(stored)]
        at_most = self._sampled_at_most
        present = [place for place in places if not self.is_sparse(place)] or places[:1]
        if len(present) > at_most:
            present = sorted(sorted(present, key=self._scattered)[:at_most])
        return present, step_for(sum(self.window(place).pixels for place in present))

    def _scattered(self, place: Place) -> int:
        """Knuth's multiplicative hash: any first few, in this order, lie all over the image."""
        return (place[0] * self.columns + place[1]) * 2_654_435_761 % 2**32


def _mask_of(tiff: Tiff, first: tifffile.TiffPage) -> Blocks | None:
    """The mask that GDAL keeps in a page of its own, where lossy compression leaves no value for nodata."""
    owner = first.offset if tiff.is_first(first) else -1
    for page in tiff.later_pages():
        if not page.is_mask:
            owner = owner if page.is_reduced else page.offset  # a mask follows its picture
        elif owner == first.offset and not page.is_reduced and page.shape == first.shape[:2]:
            return Blocks(tiff, Rendering(), page) if page.samplesperpixel == 1 else None
    return None


def assembled(blocks: Blocks, levels: Levels, *, height: int, width: int) -> NDArray[np.uint8]:
    """H×W×3 of the whole page, a block at a time: much less memory than all of its samples at once."""
    rgb = np.empty((height, width, 3), np.uint8)
    for place in blocks.of(Window(top=0, left=0, height=height, width=width)):
        window = blocks.window(place)
        rgb[window.top : window.bottom, window.left : window.right] = rendered(blocks.raster(place), levels)
    return rgb


def levels_of_raster(blocks: Blocks, raster: Raster, rendering: Rendering) -> Levels:
    """The same levels of an image that is decoded already."""
    places, step = blocks.sample()
    return levels_of((raster.part(blocks.window(place)).every(step) for place in places), rendering)


def levels_of_blocks(blocks: Blocks, rendering: Rendering) -> Levels:
    """By a sample read from the file, a block at a time."""
    places, step = blocks.sample()
    levels = levels_of((blocks.raster(place).every(step) for place in places), rendering)
    return replace(levels, warnings=(*levels.warnings, *blocks.warnings))
