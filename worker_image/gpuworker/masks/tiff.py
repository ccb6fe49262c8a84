"""The masks of one image as a TIFF: a label image or a stack of 1-bit pages, written strip by strip or tile by tile."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import repeat
from typing import Any

import cv2
import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.images.tiff.file import GeoTag
from gpuworker.masks.packed import Packed

_BLOCK_PX = 512
_TILED_FROM_PIXELS = 4_000_000
_DEFLATE_LEVEL = 2
"""Of zlib-ng. With 20 and 200 instances in 12 megapixels 10 and 16 ms and 131 and 254 kB, with level 6 25 and 65 ms and
104 and 184 kB; libdeflate's level 6 takes 52 and 96 ms for 97 and 204 kB."""
_CLASSIC_BELOW_BYTES = 2**32 - 2**25
_NODATA_TAG = (42113, "s", 0, "0", True)
_PAGE: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack", "metadata": None, "software": "gpupipe"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """A label image and, for each instance, how many of its pixels a smaller one covers there."""

    tiff: bytes
    hidden_pixels: tuple[int, ...]


def label_tiff(instances: Sequence[Packed], *, height: int, width: int, geo: Sequence[GeoTag] = ()) -> Labels:
    """The label image: pixel value i is the i-th instance, 0 is none; smaller instances lie on top of larger ones.

    uint16, or uint32 beyond 65,535 instances; deflated; tiled where large.
    """
    labels = _LabelImage(instances=instances, height=height, width=width)
    blocks = labels.tiles() if labels.tiled else labels.strips()
    shape: dict[str, Any] = (
        {"tile": (_BLOCK_PX, _BLOCK_PX)} if labels.tiled else {"rowsperstrip": min(_BLOCK_PX, height)}
    )
    out = io.BytesIO()
    with tifffile.TiffWriter(out, bigtiff=height * width * labels.dtype.itemsize >= _CLASSIC_BELOW_BYTES) as writer:
        writer.write(blocks, shape=(height, width), dtype=labels.dtype, extratags=_tags(geo), **shape, **_PAGE)
    return Labels(tiff=out.getvalue(), hidden_pixels=tuple(int(count) for count in labels.hidden_pixels[1:]))


@dataclass(frozen=True, kw_only=True, eq=False)
class _LabelImage:
    """Paints a band of rows at a time, so that the full label image never exists; iterate its blocks once."""

    instances: Sequence[Packed]
    height: int
    width: int

    @cached_property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint16 if len(self.instances) <= np.iinfo(np.uint16).max else np.uint32)

    @cached_property
    def hidden_pixels(self) -> NDArray[np.int64]:
        """By label; counted while painting. [0] means nothing."""
        return np.zeros(len(self.instances) + 1, np.int64)

    @cached_property
    def _by_band(self) -> Mapping[int, Sequence[int]]:
        """Which instances reach into the rows from `top` to `top` + 512, the largest first."""
        bands: defaultdict[int, list[int]] = defaultdict(list)
        for i in sorted(range(len(self.instances)), key=lambda i: (-self.instances[i].area, i)):
            one = self.instances[i]
            for top in range(one.y // _BLOCK_PX * _BLOCK_PX, one.y + one.height, _BLOCK_PX):
                bands[top].append(i)
        return bands

    @property
    def tiled(self) -> bool:
        return self.height * self.width >= _TILED_FROM_PIXELS

    def strips(self) -> Iterator[bytes]:
        for top in range(0, self.height, _BLOCK_PX):
            rows = min(_BLOCK_PX, self.height - top)
            yield _deflated(self._band(self._by_band.get(top, ()), top, rows))

    def tiles(self) -> Iterator[bytes]:
        empty = _deflated(np.zeros((_BLOCK_PX, _BLOCK_PX), self.dtype))
        across = -(-self.width // _BLOCK_PX)
        for top in range(0, self.height, _BLOCK_PX):
            rows = min(_BLOCK_PX, self.height - top)
            here = self._by_band.get(top)
            if not here:
                yield from repeat(empty, across)
                continue
            band = self._band(here, top, rows)
            for left in range(0, self.width, _BLOCK_PX):
                part = band[:, left : left + _BLOCK_PX]
                yield empty if _is_empty(part) else _deflated(_full_tile(part))

    def _band(self, order: Sequence[int], top: int, rows: int) -> NDArray[Any]:
        """Rows top..top+rows with the instances in `order`, all of which reach into them, painted one on another."""
        band: NDArray[Any] = np.zeros((rows, self.width), self.dtype)
        for i in order:
            one = self.instances[i]
            left, first, right, last = one.x, max(one.y, top), one.x + one.width, min(one.y + one.height, top + rows)
            mask = one.part((left, first, right, last))
            region = band[first - top : last - top, left:right]
            if not _is_empty(region):
                self._count_hidden(region[mask])
            cv2.copyTo(np.full(region.shape, i + 1, region.dtype), mask.view(np.uint8), region)
        return band

    def _count_hidden(self, covered: NDArray[Any]) -> None:
        """Of the pixels about to be painted over, those that show an instance are hidden from now on."""
        labels, counts = np.unique(covered[covered > 0], return_counts=True)
        self.hidden_pixels[labels] += counts


def _is_empty(labels: NDArray[Any]) -> bool:
    return cv2.countNonZero(labels) == 0


def _full_tile(part: NDArray[Any]) -> NDArray[Any]:
    tile = np.zeros((_BLOCK_PX, _BLOCK_PX), part.dtype)
    tile[: part.shape[0], : part.shape[1]] = part
    return tile


def stack_tiff(instances: Sequence[Packed], *, height: int, width: int, geo: Sequence[GeoTag] = ()) -> bytes:
    """One 1-bit page an instance, in order, so that overlapping masks stay whole; no instance gives one empty page."""
    pages: list[Packed | None] = [*instances] or [None]
    row_bytes = -(-width // 8)
    empty = _deflated(np.zeros(row_bytes * _BLOCK_PX, np.uint8))

    def strips(one: Packed | None) -> Iterator[bytes]:
        for top in range(0, height, _BLOCK_PX):
            rows = min(_BLOCK_PX, height - top)
            if rows == _BLOCK_PX and (one is None or not _meets(one, top, rows)):
                yield empty
            else:
                yield _deflated(np.packbits(_rows_of(one, top=top, rows=rows, width=width), axis=1))

    out = io.BytesIO()
    with tifffile.TiffWriter(out, bigtiff=len(pages) * height * row_bytes >= _CLASSIC_BELOW_BYTES) as writer:
        for one in pages:
            writer.write(
                strips(one),
                shape=(height, width),
                dtype=np.bool_,
                rowsperstrip=min(_BLOCK_PX, height),
                extratags=_tags(geo),
                **_PAGE,
            )
    return out.getvalue()


def _rows_of(one: Packed | None, *, top: int, rows: int, width: int) -> NDArray[np.bool_]:
    band = np.zeros((rows, width), np.bool_)
    if one is not None and _meets(one, top, rows):
        left, first, right, last = one.x, max(one.y, top), one.x + one.width, min(one.y + one.height, top + rows)
        band[first - top : last - top, left:right] = one.part((left, first, right, last))
    return band


def _meets(one: Packed, top: int, rows: int) -> bool:
    return one.y < top + rows and one.y + one.height > top


def _deflated(block: NDArray[Any]) -> bytes:
    """A zlib stream; other threads run meanwhile."""
    return bytes(imagecodecs.zlibng_encode(block.tobytes(), level=_DEFLATE_LEVEL))


def _tags(geo: Sequence[GeoTag]) -> list[tuple[Any, ...]]:
    """The image's geo tags, and 0 as nodata, so that map programs show the background as transparent."""
    tags = [(tag.code, tag.dtype, tag.count, _writable(tag.value), True) for tag in geo]
    return [*tags, _NODATA_TAG] if geo else []


def _writable(value: Any) -> Any:
    """TIFF's text is ASCII; what else stands in names of reference systems (`Gauß-Krüger`) becomes a question mark."""
    return value.encode("ascii", "replace") if isinstance(value, str) else value
