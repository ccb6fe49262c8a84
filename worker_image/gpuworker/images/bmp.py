"""BMP, as Windows writes it: its headers, and what OpenCV makes of its pixels."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass

from gpuworker.contract.items import ItemError
from gpuworker.images.headers import Header
from gpuworker.images.opencv import decoded_by_cv2, picture_by_cv2, shown
from gpuworker.images.rendering import Picture, Rendering

_RGB, _RLE8, _RLE4, _BITFIELDS, _ALPHA_BITFIELDS = 0, 1, 2, 3, 6
_BITS = {_RGB: (1, 4, 8, 16, 24, 32), _RLE8: (8,), _RLE4: (4,), _BITFIELDS: (16, 32), _ALPHA_BITFIELDS: (16, 32)}
"""Compression -> bits of a pixel that there are."""
_MASKS_OF_16 = {(0x7C00, 0x03E0, 0x1F), (0xF800, 0x07E0, 0x1F)}
_USUAL_MASKS_OF_32 = (0xFF0000, 0xFF00, 0xFF)
_MASKS_READ_FROM = 56
"""Headers of fewer bytes have their masks behind them, where OpenCV 5.0 does not look with 32 bits a pixel."""
_WHOLE_BYTES = {0, 0xFF, 0xFF00, 0xFF0000, 0xFF000000}


@dataclass(frozen=True, kw_only=True)
class _Info:
    width: int
    height: int
    bits: int
    compression: int
    length: int
    """Of its second header."""
    starts: int
    """Where the pixels begin."""
    size: int
    """Bytes of the pixels, as the file says; may be 0 where they are not compressed."""
    masks: tuple[int, ...]
    """Which bits of a pixel are red, green, blue and alpha; empty where that is as usual."""


def bmp_header(data: bytes | mmap.mmap) -> Header:
    """What a BMP says of itself; all its rows are there. Raises ItemError."""
    info = _info(data)
    if info.bits not in _BITS.get(info.compression, ()):
        kind = f"{info.bits} bits a pixel, compression {info.compression}"
        raise ItemError("unsupported", f"a BMP of a kind that cannot be read ({kind}). Convert it to PNG")
    rows = (info.width * info.bits + 31) // 32 * 4 * info.height
    if info.starts + (info.size if info.compression in (_RLE8, _RLE4) else rows) > len(data):
        raise ItemError("truncated", "the BMP is cut short: a part of its rows is missing")
    has_alpha = len(info.masks) > 3 and bool(info.masks[3]) and info.bits == 32
    return Header(format="bmp", width=info.width, height=info.height, bands=4 if has_alpha else 3, dtype="uint8")


def _info(data: bytes | mmap.mmap) -> _Info:
    if len(data) < 26:
        raise ItemError("truncated", "the BMP is cut short inside its header")
    starts, length = struct.unpack_from("<II", data, 10)
    if len(data) < 14 + length:
        raise ItemError("truncated", "the BMP is cut short inside its header")
    if length == 12:  # OS/2's first
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
        compression = size = 0
    else:
        width, height, _, bits, compression, size = struct.unpack("<iiHHII", data[18:38].ljust(20, b"\0"))
    if width <= 0 or height == 0:
        raise ItemError("unreadable", "the BMP does not say how large it is")
    return _Info(
        width=width,
        height=abs(height),
        bits=bits,
        compression=compression,
        length=length,
        starts=starts,
        size=size,
        masks=_masks(data, length, compression),
    )


def _masks(data: bytes | mmap.mmap, length: int, compression: int) -> tuple[int, ...]:
    if compression not in (_BITFIELDS, _ALPHA_BITFIELDS):
        return ()
    count = 4 if length >= 56 or compression == _ALPHA_BITFIELDS else 3
    if len(data) < 54 + 4 * count:
        raise ItemError("truncated", "the BMP is cut short inside its header")
    return struct.unpack_from(f"<{count}I", data, 54)


def picture_of_bmp(content: bytes | mmap.mmap, header: Header, factor: int, rendering: Rendering) -> Picture:
    """BMP -> H×W×3; OpenCV leaves the lower bits of 16-bit pixels at 0, and white would be 248. Raises ItemError."""
    info = _info(content)
    _require_usual_masks(info)
    if info.bits != 16:
        return picture_by_cv2(content, header, factor, rendering)
    rgb = decoded_by_cv2(content, header, factor)
    if rgb is None:
        raise ItemError("unreadable", "the BMP is damaged and cannot be decoded")
    for i, bits in enumerate((5, info.masks[1].bit_count() if info.masks else 5, 5)):
        rgb[:, :, i] |= rgb[:, :, i] >> bits
    return shown(rgb, rendering, has_alpha=False)


def _require_usual_masks(info: _Info) -> None:
    """Raises ItemError `unsupported` for bands that OpenCV does not tell apart."""
    if info.bits == 16:
        usual = info.masks[:3] in _MASKS_OF_16
    elif info.length < _MASKS_READ_FROM:
        usual = info.masks[:3] == _USUAL_MASKS_OF_32
    else:
        usual = all(mask in _WHOLE_BYTES for mask in info.masks)
    if info.masks and not usual:
        raise ItemError(
            "unsupported", "a BMP whose bands are in an unusual order or not of 5, 6 or 8 bits. Convert it to PNG"
        )
