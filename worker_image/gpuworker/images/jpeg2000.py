"""JPEG 2000 (ISO 15444-1) by OpenJPEG (imagecodecs): its boxes and the header of its codestream, and its pixels."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import ItemError
from gpuworker.images.headers import Header
from gpuworker.images.isobmff import Box, boxes
from gpuworker.images.opencv import shown
from gpuworker.images.rendering import Picture, Rendering

_SRGB, _GREY, _SYCC = 16, 17, 18
_EXTRA_BYTES_PER_SAMPLE, _SYCC_EXTRA_BYTES_PER_SAMPLE, _SPARE_BYTES_PER_PIXEL = 4, 7.5, 1
"""OpenJPEG's own samples are of 32 bits, and sYCC's are made twice; measured as VmHWM with 9 megapixels, OpenJPEG 2.5:
RGB 15.7 bytes a pixel, 16 bits 20.3, RGBA 22.6, grey 5.9, sYCC 25.9, all with the file's own bytes."""


@dataclass(frozen=True, kw_only=True)
class Codestream:
    """What the marker SIZ says (A.5.1)."""

    start: int
    width: int
    height: int
    depths: tuple[int, ...]
    """Bits of each component's samples."""
    is_signed: bool
    is_subsampled: bool


@dataclass(frozen=True, kw_only=True)
class Colours:
    """What the boxes around a codestream say of its components; nothing where there are none."""

    space: int | None = None
    """The enumerated colour space (I.5.3.3); None where it is unknown or described by a profile."""
    palette: tuple[int, ...] = ()
    """Bits of each column."""
    has_alpha: bool = False
    """Whether a channel is transparency; OpenJPEG puts it after the colours."""
    is_premultiplied: bool = False


def jpeg2000_header(data: bytes | mmap.mmap) -> Header:
    """Walk the boxes and the tile-parts to the end of the codestream. Raises ItemError."""
    colours, start = _wrapping(data)
    stream = _codestream(data, start)
    _require_whole(data, stream)
    depths = colours.palette or stream.depths
    _require_known(stream, colours, depths)
    pixels, is_ycc = stream.width * stream.height, colours.space == _SYCC
    per_sample = _SYCC_EXTRA_BYTES_PER_SAMPLE if is_ycc else _EXTRA_BYTES_PER_SAMPLE
    extra = int(pixels * (len(depths) * per_sample + _SPARE_BYTES_PER_PIXEL)) + len(data)
    dtype = f"{'' if stream.is_signed else 'u'}int{8 if max(depths) <= 8 else 16}"
    return Header(
        format="jp2", width=stream.width, height=stream.height, bands=len(depths), dtype=dtype, extra_bytes=extra
    )


def picture_by_openjpeg(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> Picture:
    """JPEG 2000 -> H×W×3. Raises ItemError."""
    try:
        pixels: NDArray[Any] = imagecodecs.jpeg2k_decode(content)
    except imagecodecs.Jpeg2kError as error:
        raise ItemError("unreadable", f"the JPEG 2000 file is damaged: {error}") from error
    except NotImplementedError as error:
        message = f"a kind of JPEG 2000 file that cannot be read: {error}. Convert it to PNG or TIFF"
        raise ItemError("unsupported", message) from error
    expected = (header.height, header.width) + ((header.bands,) if header.bands > 1 else ())
    if pixels.shape != expected:
        raise ItemError("unreadable", f"the JPEG 2000 file says that its shape is {expected}, and it is {pixels.shape}")
    colours, start = _wrapping(content)
    depths = colours.palette or _codestream(content, start).depths
    return shown(
        _filled(pixels, depths, colours),
        rendering,
        has_alpha=colours.has_alpha,
        is_opacity=False,  # GDAL hands its mark of infrared on to JPEG 2000
        is_premultiplied=colours.is_premultiplied,
    )


def _filled(pixels: NDArray[Any], depths: tuple[int, ...], colours: Colours) -> NDArray[Any]:
    """Samples of fewer than 8 bits over all of a byte, and transparency over all of its type; others as stored."""
    full = 8 * pixels.dtype.itemsize
    for i, depth in enumerate(depths):
        is_alpha = colours.has_alpha and i == len(depths) - 1
        if depth < full and (full == 8 or is_alpha) and pixels.dtype.kind == "u":
            band = pixels if pixels.ndim == 2 else pixels[:, :, i]
            band[:] = (band.astype(np.uint32) * ((1 << full) - 1) // ((1 << depth) - 1)).astype(band.dtype)
    return pixels


def _wrapping(data: bytes | mmap.mmap) -> tuple[Colours, int]:
    """What the boxes say, and where the codestream begins. Raises ItemError."""
    if data[:2] == b"\xff\x4f":
        return Colours(), 0
    colours = Colours()
    for box in _boxes(data):
        if box.kind == b"jp2h":
            colours = _colours(data[box.start : box.end])
        elif box.kind == b"jp2c":
            return colours, box.start
    raise ItemError("truncated", "the JPEG 2000 file is cut short: its picture is missing")


def _boxes(data: bytes | mmap.mmap) -> Iterator[Box]:
    """The codestream's may be cut or say a wrong length: where it ends is seen in it."""
    at = 0
    while at + 8 <= len(data):
        if data[at + 4 : at + 8] == b"jp2c":
            yield Box(b"jp2c", at + (16 if data[at : at + 4] == b"\0\0\0\1" else 8), len(data))
            return
        box = next(boxes(data, at))
        yield box
        at = box.end


def _colours(jp2h: bytes) -> Colours:
    found = {box.kind: jp2h[box.start : box.end] for box in reversed(list(boxes(jp2h)))}
    colr, pclr, cdef = (found.get(kind, b"") for kind in (b"colr", b"pclr", b"cdef"))
    columns = pclr[2] if len(pclr) > 2 else 0
    kinds = {int.from_bytes(cdef[at : at + 2]) for at in range(4, len(cdef) - 3, 6)}  # I.5.3.6
    return Colours(
        space=int.from_bytes(colr[3:7]) if colr[:1] == b"\1" else None,
        palette=tuple((depth & 0x7F) + 1 for depth in pclr[3 : 3 + columns]),
        has_alpha=bool(kinds & {1, 2}),
        is_premultiplied=2 in kinds,
    )


def _codestream(data: bytes | mmap.mmap, start: int) -> Codestream:
    length = int.from_bytes(data[start + 4 : start + 6])
    siz = data[start + 4 : start + 4 + length]
    if data[start : start + 4] != b"\xff\x4f\xff\x51":
        code = "truncated" if len(data) < start + 4 else "unreadable"
        raise ItemError(code, "the JPEG 2000 file's picture does not begin where it should")
    if len(siz) < max(41, length):
        raise ItemError("truncated", "the JPEG 2000 file is cut short inside its header")
    right, bottom, left, top = struct.unpack_from(">4I", siz, 4)
    count = int.from_bytes(siz[36:38])
    parts = [siz[at : at + 3] for at in range(38, min(len(siz), 38 + 3 * count), 3)]
    if right <= left or bottom <= top or not count or len(parts[-1]) < 3:
        raise ItemError("unreadable", "the JPEG 2000 file's header is damaged")
    return Codestream(
        start=start,
        width=right - left,
        height=bottom - top,
        depths=tuple((part[0] & 0x7F) + 1 for part in parts),
        is_signed=any(part[0] & 0x80 for part in parts),
        is_subsampled=any(part[1:] != b"\1\1" for part in parts),
    )


def _require_whole(data: bytes | mmap.mmap, stream: Codestream) -> None:
    """From tile-part to tile-part (A.4.2) to the end marker. Raises ItemError `truncated`."""
    at = stream.start + 2
    while (marker := data[at : at + 2]) != b"\xff\xd9":
        step = 2 + int.from_bytes(data[at + 2 : at + 4])
        if marker == b"\xff\x90":
            step = int.from_bytes(data[at + 6 : at + 10]) or _to_end_marker(data, at)
        if len(marker) < 2 or step < 4 or at + step >= len(data):
            raise ItemError("truncated", "the JPEG 2000 file is cut short: its end marker is missing")
        at += step


def _to_end_marker(data: bytes | mmap.mmap, at: int) -> int:
    """Of a last tile-part that does not say how long it is: to where FF D9 is found, which it does not hold itself."""
    return max(0, data.find(b"\xff\xd9", at) - at)


def _require_known(stream: Codestream, colours: Colours, depths: tuple[int, ...]) -> None:
    """Raises ItemError `unsupported` for what would come out in other colours."""
    coloured = len(depths) - colours.has_alpha
    if colours.space not in (None, _SRGB, _GREY, _SYCC):
        raise ItemError("unsupported", f"a JPEG 2000 file in colour space {colours.space}. Convert it to sRGB")
    if colours.space == _SYCC and (coloured != 3 or max(depths) > 8 or stream.is_signed):
        raise ItemError("unsupported", "a JPEG 2000 file in YCC that is not of three times 8 bits. Convert it to sRGB")
    if stream.is_subsampled:
        raise ItemError("unsupported", "a JPEG 2000 file whose bands differ in size. Convert it to PNG or TIFF")
    if max(depths) > 16:
        raise ItemError("unsupported", f"a JPEG 2000 file of {max(depths)} bits a sample; up to 16 can be read")
    if len({depth > 8 for depth in depths}) > 1 or (1 in depths and not colours.palette and max(depths) > 1):
        raise ItemError("unsupported", "a JPEG 2000 file whose bands differ in depth. Convert it to PNG or TIFF")
