"""Masks kept on their own crops, and what is made of them: COCO RLE, polygons, and the masks TIFF.

A full-size mask of one instance is never made: a hundred instances in a photograph of 12 megapixels would be 1.2 GB.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.tiff import GeoTag

_TILE_PX = 512
_TILED_FROM_PIXELS = 4_000_000
_NODATA_TAG = (42113, "s", 0, "0", True)
_DEFLATE_LEVEL = 6
_SIMPLIFY_PX = 1.0
_EXACT_BELOW_PX = 8


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One found object: its mask is `mask` (h×w bool) with its left upper corner at (`x`, `y`) of the full image."""

    x: int
    y: int
    mask: NDArray[np.bool_]
    score: float
    category_id: int
    """From 1, in the order of the engine's categories."""
    source: str
    """How the mask was made, e.g. `grabcut`; `ellipse` where only the box is known."""

    @property
    def area(self) -> int:
        return int(np.count_nonzero(self.mask))

    def tight(self) -> Instance | None:
        """The same instance on the smallest crop that holds its pixels; None where there are none."""
        columns, rows = np.flatnonzero(self.mask.any(0)), np.flatnonzero(self.mask.any(1))
        if not len(columns):
            return None
        left, right, top, bottom = int(columns[0]), int(columns[-1]) + 1, int(rows[0]), int(rows[-1]) + 1
        return Instance(
            x=self.x + left,
            y=self.y + top,
            mask=np.ascontiguousarray(self.mask[top:bottom, left:right]),
            score=self.score,
            category_id=self.category_id,
            source=self.source,
        )


def rle(mask: NDArray[np.bool_], *, x: int, y: int, height: int, width: int) -> str:
    """COCO's compressed run lengths of a crop placed at (x, y) in a height×width mask.

    The same bytes as pycocotools' `encode` of the full mask, found from the crop's vertical edges alone.
    """
    h, w = mask.shape
    edges = np.empty((h + 1, w), np.bool_)
    edges[0], edges[h] = mask[0], mask[-1]
    np.not_equal(mask[1:], mask[:-1], out=edges[1:h])
    row, column = np.divmod(np.flatnonzero(edges), w)
    at = (x + column) * height + (y + row)
    at.sort()
    if h == height:
        # A run that reaches the bottom and goes on at the top of the next column is one run.
        ends = np.flatnonzero(at[1:] == at[:-1])
        at = np.delete(at, np.concatenate([ends, ends + 1]))
    if not len(at) or at[-1] != height * width:
        at = np.append(at, height * width)
    return _rle_text(np.diff(at, prepend=0))


def _rle_text(runs: NDArray[np.int64]) -> str:
    """Runs as text: five bits a character from '0' on, each run less the one before the last (rleToString of COCO)."""
    rest = runs.astype(np.int64)
    rest[3:] -= runs[1:-2]
    used = np.ones(len(rest), np.bool_)
    characters, present = [], []
    while used.any():
        low = rest & 31
        rest = rest >> 5
        more = np.where(low & 16, rest != -1, rest != 0)
        characters.append((low + 48 + 32 * more).astype(np.uint8))
        present.append(used)
        used = used & more
    return np.stack(characters, 1)[np.stack(present, 1)].tobytes().decode("ascii")


def polygons(mask: NDArray[np.bool_], *, x: int, y: int) -> list[list[float]]:
    """Outlines [x1, y1, x2, y2, …] along the pixels' outer edges; holes are filled, as COCO polygons know none.

    Traced on the mask at double size, whose border pixels map to the edges between pixels; large parts are simplified
    by at most a pixel, small ones are exact.
    """
    doubled = cv2.resize(mask.view(np.uint8), None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour in sorted(contours, key=cv2.contourArea, reverse=True):
        corners = (contour + 1) // 2
        if min(np.ptp(corners[:, 0, 0]), np.ptp(corners[:, 0, 1])) >= _EXACT_BELOW_PX:
            corners = cv2.approxPolyDP(corners, _SIMPLIFY_PX, True)
        if len(corners) >= 3:
            found.append([float(value) for value in (corners[:, 0, :] + (x, y)).ravel()])
    return found


def polygon_area(outline: Sequence[float]) -> float:
    """Area by the shoelace formula."""
    xs, ys = np.array(outline[0::2]), np.array(outline[1::2])
    return float(abs(np.dot(xs, np.roll(ys, -1)) - np.dot(ys, np.roll(xs, -1))) / 2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Labels:
    """A masks TIFF and, for each instance, how many of its pixels a smaller one covers there."""

    tiff: bytes
    hidden_pixels: tuple[int, ...]


def label_tiff(instances: Sequence[Instance], *, height: int, width: int, geo: Sequence[GeoTag] = ()) -> Labels:
    """The label image: pixel value i is the i-th instance, 0 is none; smaller instances lie on top of larger ones.

    uint16, or uint32 beyond 65,535 instances; deflated; tiled where large. Painted and compressed band by band.
    """
    dtype = np.dtype(np.uint16 if len(instances) <= np.iinfo(np.uint16).max else np.uint32)
    hidden = np.zeros(len(instances) + 1, np.int64)
    order = sorted(range(len(instances)), key=lambda i: (-instances[i].area, i))
    tiled = height * width >= _TILED_FROM_PIXELS

    def blocks() -> Iterator[bytes]:
        empty = zlib.compress(bytes(_TILE_PX * _TILE_PX * dtype.itemsize), _DEFLATE_LEVEL)
        for top in range(0, height, _TILE_PX):
            rows = min(_TILE_PX, height - top)
            band = _painted(instances, order, top=top, rows=rows, width=width, dtype=dtype, hidden=hidden)
            if not tiled:
                yield zlib.compress(band.tobytes(), _DEFLATE_LEVEL)
                continue
            for left in range(0, width, _TILE_PX):
                part = band[:, left : left + _TILE_PX]
                yield _tile(part) if part.any() else empty

    shape: dict[str, Any] = {"tile": (_TILE_PX, _TILE_PX)} if tiled else {"rowsperstrip": min(_TILE_PX, height)}
    out = io.BytesIO()
    with tifffile.TiffWriter(out, bigtiff=height * width * dtype.itemsize >= 2**32 - 2**25) as writer:
        writer.write(blocks(), shape=(height, width), dtype=dtype, extratags=_tags(geo), **shape, **_PAGE)
    return Labels(tiff=out.getvalue(), hidden_pixels=tuple(int(count) for count in hidden[1:]))


_PAGE: dict[str, Any] = {"compression": "zlib", "photometric": "minisblack", "metadata": None, "software": "gpupipe"}


def _painted(
    instances: Sequence[Instance],
    order: Sequence[int],
    *,
    top: int,
    rows: int,
    width: int,
    dtype: np.dtype[Any],
    hidden: NDArray[np.int64],
) -> NDArray[Any]:
    """Rows top..top+rows of the label image; adds the pixels that get covered to `hidden`."""
    band: NDArray[Any] = np.zeros((rows, width), dtype)
    for i in order:
        one = instances[i]
        first, last = max(one.y, top), min(one.y + one.mask.shape[0], top + rows)
        if first >= last:
            continue
        mask = one.mask[first - one.y : last - one.y]
        region = band[first - top : last - top, one.x : one.x + mask.shape[1]]
        hidden += np.bincount(region[mask], minlength=len(hidden))
        region[mask] = i + 1
    return band


def _tile(part: NDArray[Any]) -> bytes:
    full = np.zeros((_TILE_PX, _TILE_PX), part.dtype)
    full[: part.shape[0], : part.shape[1]] = part
    return zlib.compress(full.tobytes(), _DEFLATE_LEVEL)


def _tags(geo: Sequence[GeoTag]) -> list[tuple[Any, ...]]:
    """The image's geo tags, and 0 as nodata, so that map programs show the background as transparent."""
    return [(tag.code, tag.dtype, tag.count, tag.value, True) for tag in geo] + ([_NODATA_TAG] if geo else [])


def stack_tiff(instances: Sequence[Instance], *, height: int, width: int, geo: Sequence[GeoTag] = ()) -> bytes:
    """One 1-bit page an instance, in order, so that overlapping masks stay whole; no instance gives one empty page."""
    empty = zlib.compress(bytes(-(-width // 8) * _TILE_PX), _DEFLATE_LEVEL)

    def strips(one: Instance | None) -> Iterator[bytes]:
        for top in range(0, height, _TILE_PX):
            rows = min(_TILE_PX, height - top)
            if rows == _TILE_PX and (one is None or one.y >= top + rows or one.y + one.mask.shape[0] <= top):
                yield empty
            else:
                yield zlib.compress(_bits(one, top=top, rows=rows, width=width), _DEFLATE_LEVEL)

    out = io.BytesIO()
    pages: list[Instance | None] = [*instances] or [None]
    with tifffile.TiffWriter(out, bigtiff=len(pages) * height * -(-width // 8) >= 2**32 - 2**25) as writer:
        for one in pages:
            writer.write(
                strips(one),
                shape=(height, width),
                dtype=np.bool_,
                rowsperstrip=min(_TILE_PX, height),
                extratags=_tags(geo),
                **_PAGE,
            )
    return out.getvalue()


def _bits(one: Instance | None, *, top: int, rows: int, width: int) -> bytes:
    band = np.zeros((rows, width), np.bool_)
    if one is not None:
        first, last = max(one.y, top), min(one.y + one.mask.shape[0], top + rows)
        if first < last:
            band[first - top : last - top, one.x : one.x + one.mask.shape[1]] = one.mask[first - one.y : last - one.y]
    return np.packbits(band, axis=1).tobytes()
