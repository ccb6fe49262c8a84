"""Boxes of ISO base media files (ISO 14496-12), and what HEIF's (ISO 23008-12) say of the picture in them."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gpuworker.contract.items import ItemError

_META_BYTES_AT_MOST = 16 * 1024**2
"""A photograph of a telephone has some kilobytes, one in thousands of tiles a megabyte."""


class Box(NamedTuple):
    """Where a box's body lies in the bytes it was found in."""

    kind: bytes
    start: int
    end: int


@dataclass(frozen=True, kw_only=True)
class HeifPicture:
    """What a HEIF or AVIF file says of its primary picture."""

    properties: Sequence[tuple[bytes, bytes]]
    """Kind and body of those that belong to it, in order."""
    everything: Sequence[tuple[bytes, bytes]]
    """Those of all its items: of the tiles of a grid too."""
    has_alpha: bool

    def first(self, kind: bytes) -> bytes:
        """Body of its property of this kind; empty where it has none."""
        return next((body for name, body in self.properties if name == kind), b"")


def boxes(data: bytes | mmap.mmap, start: int = 0, end: int | None = None) -> Iterator[Box]:
    """Boxes that follow one another. Raises ItemError `truncated` for one that does not fit."""
    at, end = start, len(data) if end is None else end
    while at + 8 <= end:
        length, kind, head = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16]), 16
        length = length or end - at
        if length < head or at + length > end:
            raise ItemError("truncated", f"the file is cut short inside its box {kind.decode('latin-1')!r}")
        yield Box(kind, at + head, at + length)
        at += length


def primary_picture(data: bytes | mmap.mmap) -> HeifPicture:
    """The primary picture, of which it is made sure that all its bytes are there. Raises ItemError."""
    meta = _meta(data)
    parts = {box.kind: meta[box.start : box.end] for box in boxes(meta, 4)}
    missing = [kind for kind in (b"pitm", b"iloc", b"iprp") if kind not in parts]
    if missing:
        raise ItemError("unreadable", f"the file holds no picture: it has no box {missing[0].decode()!r}")
    try:
        _require_whole(parts[b"iloc"], len(data))
        primary = _number(parts[b"pitm"], 4, 2 if parts[b"pitm"][0] == 0 else 4)
        own, everything = _properties(parts[b"iprp"], primary)
    except IndexError as error:
        raise ItemError("unreadable", "the description of the file's pictures is damaged") from error
    return HeifPicture(properties=own, everything=everything, has_alpha=_has_alpha(parts.get(b"iref", b""), everything))


def _meta(data: bytes | mmap.mmap) -> bytes:
    """What follows the picture's description is none of ours, be it whole or not."""
    for box in boxes(data):
        if box.kind == b"meta" and box.end - box.start <= _META_BYTES_AT_MOST:
            return data[box.start : box.end]
        if box.kind == b"moov":
            raise ItemError("unsupported", "the file holds a film and no picture. Save a frame of it as PNG or JPEG")
    raise ItemError("truncated", "the file is cut short: the description of its pictures is missing")


def _number(data: bytes, at: int, size: int) -> int:
    if at + size > len(data):
        raise IndexError(at)
    return int.from_bytes(data[at : at + size])


def _require_whole(iloc: bytes, file_bytes: int) -> None:
    """Every item's extents have to lie inside the file (ISO 14496-12, 8.11.3). Raises ItemError `truncated`."""
    for start, length in _extents(iloc):
        if start + length > file_bytes:
            raise ItemError("truncated", "the file is cut short: a part of its picture is missing")


def _extents(iloc: bytes) -> Iterator[tuple[int, int]]:
    """First byte in the file and length of each; those that lie inside the description are left out."""
    version, sizes = iloc[0], _number(iloc, 4, 2)
    offset, length, base, index = (sizes >> shift & 15 for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    at = 6 + wide
    for _ in range(_number(iloc, 6, wide)):
        method = _number(iloc, at + wide, 2) & 15 if version else 0
        at += wide + (2 if version else 0) + 2
        begin, count, at = _number(iloc, at, base), _number(iloc, at + base, 2), at + base + 2
        for _ in range(count):
            at += index if version else 0
            if method == 0:
                yield begin + _number(iloc, at, offset), _number(iloc, at + offset, length)
            at += offset + length


def _properties(iprp: bytes, primary: int) -> tuple[list[tuple[bytes, bytes]], list[tuple[bytes, bytes]]]:
    """The primary item's, and all (ISO 23008-12, 9.3)."""
    parts = list(boxes(iprp))
    everything = [
        (box.kind, iprp[box.start : box.end])
        for part in parts
        if part.kind == b"ipco"
        for box in boxes(iprp, part.start, part.end)
    ]
    numbers = [
        number
        for part in parts
        if part.kind == b"ipma"
        for number in _associations(iprp[part.start : part.end]).get(primary, ())
    ]
    return [everything[number - 1] for number in numbers if 0 < number <= len(everything)], everything


def _associations(ipma: bytes) -> Mapping[int, Sequence[int]]:
    """Item -> numbers of its properties, from 1."""
    wide = 4 if ipma[0] else 2
    size = 2 if ipma[3] & 1 else 1
    at, found = 8, dict[int, list[int]]()
    for _ in range(_number(ipma, 4, 4)):
        item, count = _number(ipma, at, wide), _number(ipma, at + wide, 1)
        at += wide + 1
        found[item] = [_number(ipma, at + size * i, size) & (0x7FFF if size == 2 else 0x7F) for i in range(count)]
        at += size * count
    return found


def _has_alpha(iref: bytes, everything: Sequence[tuple[bytes, bytes]]) -> bool:
    """Whether some picture is the transparency of another."""
    is_named = any((kind == b"auxC" and b":alpha" in body) or b"auxid:1\0" in body for kind, body in everything)
    return b"auxl" in iref and is_named
