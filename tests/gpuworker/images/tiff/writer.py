"""TIFFs of kinds that no library writes, from their tags up (TIFF 6.0): any bits, any photometric, strips and tiles."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

WHITE_IS_0, BLACK_IS_0, RGB, PALETTE, CMYK, YCBCR, CIELAB, ICCLAB = 0, 1, 2, 3, 5, 6, 8, 9
NONE, LZW, DEFLATE = 1, 5, 8
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2
REDUCED = 1
TILE_PX = 16

_COMPRESSED: Mapping[int, Callable[[bytes], bytes]] = {
    NONE: bytes,
    LZW: lambda raw: bytes(imagecodecs.lzw_encode(raw)),
    DEFLATE: zlib.compress,
}
_SHORT, _LONG, _ASCII = 3, 4, 2
_BYTES = {_SHORT: 2, _LONG: 4, _ASCII: 1}
Tag = tuple[int, int, Sequence[int] | bytes]


@dataclass(frozen=True, kw_only=True, eq=False)
class Page:
    """One picture of a file."""

    samples: NDArray[Any]
    """H×W×samples; of fewer bits than its type has, the values fit into `bits`."""
    photometric: int
    bits: int = 0
    """A sample; 0: those of the type."""
    extras: tuple[int, ...] = ()
    is_planar: bool = False
    is_tiled: bool = False
    rows_per_strip: int = 8
    compression: int = NONE
    has_predictor: bool = False
    """Horizontal differencing, of whole bytes."""
    is_lsb_first: bool = False
    """FillOrder 2."""
    subsampling: tuple[int, int] = (1, 1)
    """Of YCbCr, across and down."""
    palette: NDArray[np.uint16] | None = None
    """3×2^bits."""
    nodata: str = ""
    subfile: int = 0

    @property
    def stored_bits(self) -> int:
        return self.bits or 8 * self.samples.dtype.itemsize

    @property
    def sample_format(self) -> int:
        return {"u": 1, "i": 2, "f": 3}[self.samples.dtype.kind]


def tiff(pages: Sequence[Page], *, order: str = "<") -> bytes:
    """A classic TIFF; `order` is < or >."""
    out = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
    link = 4
    for page in pages:
        places = []
        for block in _blocks(page, order):
            places.append((len(out), len(block)))
            out += block + bytes(len(block) % 2)
        struct.pack_into(f"{order}I", out, link, len(out))
        link = _append_directory(out, _tags(page, places), order)
    return bytes(out)


def _append_directory(out: bytearray, tags: Sequence[Tag], order: str) -> int:
    """Returns where the offset of the next directory goes."""
    start = len(out)
    values_at = start + 2 + 12 * len(tags) + 4
    entries, values = bytearray(struct.pack(f"{order}H", len(tags))), bytearray()
    for code, kind, told in tags:
        packed = told if isinstance(told, bytes) else struct.pack(f"{order}{len(told)}{'HI'[kind == _LONG]}", *told)
        entries += struct.pack(f"{order}HHI", code, kind, len(packed) // _BYTES[kind])
        if len(packed) <= 4:
            entries += packed.ljust(4, b"\0")
        else:
            entries += struct.pack(f"{order}I", values_at + len(values))
            values += packed + bytes(len(packed) % 2)
    out += entries + bytes(4) + values
    return start + len(entries)


def _tags(page: Page, places: Sequence[tuple[int, int]]) -> list[Tag]:
    height, width, count = page.samples.shape
    offsets, sizes = [at for at, _ in places], [size for _, size in places]
    tags: list[Tag] = [
        (254, _LONG, [page.subfile]),
        (256, _LONG, [width]),
        (257, _LONG, [height]),
        (258, _SHORT, [page.stored_bits] * count),
        (259, _SHORT, [page.compression]),
        (262, _SHORT, [page.photometric]),
        (277, _SHORT, [count]),
        (284, _SHORT, [2 if page.is_planar else 1]),
        (339, _SHORT, [page.sample_format] * count),
    ]
    if page.is_tiled:
        tags += [(322, _LONG, [TILE_PX]), (323, _LONG, [TILE_PX]), (324, _LONG, offsets), (325, _LONG, sizes)]
    else:
        tags += [(273, _LONG, offsets), (278, _LONG, [page.rows_per_strip]), (279, _LONG, sizes)]
    return sorted([*tags, *_tags_of_kinds(page)])


def _tags_of_kinds(page: Page) -> Iterator[Tag]:
    if page.is_lsb_first:
        yield 266, _SHORT, [2]
    if page.has_predictor:
        yield 317, _SHORT, [2]
    if page.palette is not None:
        yield 320, _SHORT, [int(value) for value in page.palette.ravel()]
    if page.photometric == CMYK:
        yield 332, _SHORT, [1]
    if page.extras:
        yield 338, _SHORT, page.extras
    if page.photometric == YCBCR:
        yield 530, _SHORT, page.subsampling
    if page.nodata:
        yield 42113, _ASCII, page.nodata.encode() + b"\0"


# --- pixels ---


def _blocks(page: Page, order: str) -> Iterator[bytes]:
    """Compressed strips or tiles, plane after plane."""
    planes = [page.samples[:, :, i : i + 1] for i in range(page.samples.shape[2])]
    for plane in planes if page.is_planar else [page.samples]:
        for block in _cut(plane, page):
            raw = _stored(block, page, order)
            yield _COMPRESSED[page.compression](_bits_turned(raw) if page.is_lsb_first else raw)


def _cut(plane: NDArray[Any], page: Page) -> Iterator[NDArray[Any]]:
    height, width = plane.shape[:2]
    if not page.is_tiled:
        yield from (plane[top : top + page.rows_per_strip] for top in range(0, height, page.rows_per_strip))
        return
    padded = np.pad(plane, ((0, -height % TILE_PX), (0, -width % TILE_PX), (0, 0)), mode="edge")
    for top in range(0, height, TILE_PX):
        for left in range(0, width, TILE_PX):
            yield padded[top : top + TILE_PX, left : left + TILE_PX]


def _stored(block: NDArray[Any], page: Page, order: str) -> bytes:
    if page.photometric == YCBCR and page.subsampling != (1, 1):
        return _subsampled(block, page.subsampling)
    if page.has_predictor:
        block = np.concatenate([block[:, :1], np.diff(block, axis=1)], axis=1)
    if page.bits % 8:
        return _packed(block, page.bits)
    return block.astype(block.dtype.newbyteorder(order)).tobytes()


def _packed(block: NDArray[Any], bits: int) -> bytes:
    """Samples of fewer bits side by side, the highest bit first; each row begins with a byte of its own."""
    values = block.reshape(block.shape[0], -1, 1).astype(np.uint16)
    single = values >> np.arange(bits - 1, -1, -1, dtype=np.uint16) & 1
    return np.packbits(single.reshape(block.shape[0], -1).astype(np.uint8), axis=1).tobytes()


def _subsampled(block: NDArray[Any], by: tuple[int, int]) -> bytes:
    """Units of the luminances of some pixels and the mean colour of them (TIFF 6.0, section 21)."""
    across, down = by
    padded = np.pad(block, ((0, -block.shape[0] % down), (0, -block.shape[1] % across), (0, 0)), mode="edge")
    rows, columns = padded.shape[0] // down, padded.shape[1] // across
    units = padded.reshape(rows, down, columns, across, 3).transpose(0, 2, 1, 3, 4).reshape(rows, columns, -1, 3)
    colour = units[..., 1:].mean(2).round().astype(np.uint8)
    return np.concatenate([units[..., 0], colour], axis=2).tobytes()


def _bits_turned(raw: bytes) -> bytes:
    bits = np.unpackbits(np.frombuffer(raw, np.uint8)).reshape(-1, 8)
    return np.packbits(bits[:, ::-1], axis=1).tobytes()
