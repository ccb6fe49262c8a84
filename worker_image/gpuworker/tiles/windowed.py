"""A TIFF of which windows are read when they are looked at, so that its size on disk is no matter for memory."""

from __future__ import annotations

import threading
from contextlib import suppress

import cv2
import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import BoxPrompt, Image
from gpuworker.images.notes import Notes
from gpuworker.images.orientation import stored_window, upright
from gpuworker.images.rendering import Rendering, rendered
from gpuworker.images.tiff.blocks import Blocks, Place, levels_of_blocks
from gpuworker.images.tiff.file import GeoTag, Tiff
from gpuworker.images.tiff.overviews import overview
from gpuworker.images.window import Window
from gpuworker.tiles.chunk_cache import Chunk, ChunkCache

PREVIEW_PX = 2048
"""The long side of a preview at most."""
_CACHE_AT_LEAST, _CACHE_AT_MOST = 64 * 1024**2, 512 * 1024**2
_WORK_BYTES, _BLOCKS_AT_WORK = 256 * 1024**2, 8
"""What may be decoded at once, and by how many threads, of one image."""


class WindowedScene:
    """The blocks that a window meets are decoded, made bytes and kept for the windows beside and below it.

    The values that become 0 and 255 are taken from a sample of blocks, once, when it is opened. The same pixels as of
    an image decoded whole, whose sample is the same.
    """

    def __init__(self, tiff: Tiff, rendering: Rendering, *, side: int, boxes: tuple[BoxPrompt, ...] = ()) -> None:
        """`side`: of the windows that will be read, row by row. Raises ItemError."""
        self._tiff, self._rendering, self._boxes = tiff, rendering, boxes
        self._header = tiff.header
        self._blocks = Blocks(tiff, rendering)
        self._levels = levels_of_blocks(self._blocks, rendering)
        self.cache = ChunkCache(cache_bytes(tiff, self._blocks, side))
        self._reduced_by = -(-max(self.height, self.width) // PREVIEW_PX)
        self._preview: NDArray[np.uint8] | None = None
        self._drawing = threading.Lock()
        self._decoding = threading.Semaphore(blocks_at_work(self._blocks))

    @property
    def height(self) -> int:
        return self._header.width if self._header.orientation >= 5 else self._header.height

    @property
    def width(self) -> int:
        return self._header.height if self._header.orientation >= 5 else self._header.width

    @property
    def geo(self) -> tuple[GeoTag, ...]:
        return self._tiff.geo

    @property
    def notes(self) -> Notes:
        return self._header.notes.and_warnings(self._levels.warnings)

    @property
    def cost_bytes(self) -> int:
        """The cache when it is full, blocks at work, the preview, and the file where that is in memory."""
        return opening_bytes(self._tiff, self._blocks, self.cache.limit_bytes)

    def whole(self) -> Image:
        """Not to be had. Raises ItemError `too_large`."""
        raise ItemError(
            "too_large",
            f"an image of {self.width}×{self.height} pixels can only be looked at by tiles; see the option tile_size",
        )

    def read(self, window: Window) -> Image | None:
        """A part at native resolution; None where nothing in it means anything (no data, transparent, left out)."""
        orientation = self._header.orientation
        stored = stored_window(window, orientation, height=self.height, width=self.width)
        rgb = self._read_stored(stored)
        if rgb is None:
            return None
        pixels = np.ascontiguousarray(upright(rgb, orientation))
        self._draw(window, pixels)
        return self._image(pixels, window)

    def _image(self, rgb: NDArray[np.uint8], window: Window) -> Image:
        return Image(
            rgb=rgb,
            height=window.height,
            width=window.width,
            bands=self._header.bands,
            dtype=self._header.dtype,
            geo=self.geo,
            notes=self.notes,
            boxes=tuple(moved for box in self._boxes if (moved := box.inside(window)) is not None),
        )

    def _read_stored(self, window: Window) -> NDArray[np.uint8] | None:
        """H×W×3 of a window in stored pixels; None where nothing in it means anything."""
        places = list(self._blocks.of(window))
        if all(self._blocks.is_sparse(place) for place in places):
            return None
        rgb = np.empty((window.height, window.width, 3), np.uint8)
        means = False
        for place in places:
            chunk, block = self._chunk(place), self._blocks.window(place)
            inner = block.part_in(window)
            rgb[window.part_in(block)] = chunk.rgb[inner]
            if not means and not self._blocks.is_sparse(place):
                means = chunk.valid_mask is None or bool(chunk.valid_mask[inner].any())
        return rgb if means else None

    def _chunk(self, place: Place) -> Chunk:
        return self.cache.get(place, lambda: self._made(place))

    def _made(self, place: Place) -> Chunk:
        with self._decoding:
            raster = self._blocks.raster(place)
            return Chunk(rgb=rendered(raster, self._levels), valid_mask=self._levels.valid_mask(raster))

    # --- the preview ---

    def preview(self) -> Image:
        """A picture of the whole, reduced: the file's own overview, or else what windows have shown so far."""
        with self._drawing:
            preview = self._canvas()
        whole = Window(top=0, left=0, height=self.height, width=self.width)
        return self._image(preview, whole)

    def _canvas(self) -> NDArray[np.uint8]:
        if self._preview is None:
            factor = self._reduced_by
            height, width = -(-self.height // factor), -(-self.width // factor)
            overview = self._from_overview(height, width)
            self._preview = np.zeros((height, width, 3), np.uint8) if overview is None else overview
        return self._preview

    def _from_overview(self, height: int, width: int) -> NDArray[np.uint8] | None:
        found = None
        with suppress(ItemError):  # damaged overviews are no reason to fail: there is the image itself
            found = overview(self._tiff, self._rendering, max_decode_px=PREVIEW_PX // 2)
        if found is None:
            return None
        pixels = upright(rendered(found, self._levels), self._header.orientation)
        small: NDArray[np.uint8] = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
        return small

    def _draw(self, window: Window, pixels: NDArray[np.uint8]) -> None:
        """Put a window into the preview."""
        factor = self._reduced_by
        rows = slice(window.top // factor, -(-window.bottom // factor))
        columns = slice(window.left // factor, -(-window.right // factor))
        size = columns.stop - columns.start, rows.stop - rows.start
        small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        with self._drawing:
            self._canvas()[rows, columns] = small


def cache_bytes(tiff: Tiff, blocks: Blocks, side: int) -> int:
    """Enough for a row of windows, so that no block is decoded for one window and again for the next below it."""
    row = (side + 2 * blocks.height) * tiff.header.width * 4
    return min(max(row, _CACHE_AT_LEAST), _CACHE_AT_MOST)


def blocks_at_work(blocks: Blocks) -> int:
    """How many blocks may be decoded at once."""
    return max(1, min(_BLOCKS_AT_WORK, _WORK_BYTES // max(1, blocks.working_bytes)))


def opening_bytes(tiff: Tiff, blocks: Blocks, cached: int) -> int:
    """What a windowed scene holds at most, besides the windows that are being looked at."""
    at_work = blocks_at_work(blocks) * blocks.working_bytes
    return cached + at_work + blocks.sampled_bytes + PREVIEW_PX * PREVIEW_PX * 3 + tiff.held_bytes
