"""Image files for tests, made here: every format, with orientation tags, cut short, or lying about their size."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray


def scene(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """H×W×3 RGB without symmetry: red grows to the right, green downwards, and the left upper corner is blue."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[:, :, 0] = np.linspace(0, 255, width)[None, :]
    rgb[:, :, 1] = np.linspace(0, 255, height)[:, None]
    rgb[: height // 3, : width // 3, 2] = 255
    return rgb


def stored_as(upright: NDArray[Any], orientation: int) -> NDArray[Any]:
    """The pixels that a camera stores with `orientation` so that a viewer shows `upright` (TIFF 6.0, tag 274)."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)


def exif(orientation: int, order: str = "<") -> bytes:
    """A little TIFF with nothing but an orientation."""
    start = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + "HH", orientation, 0)
    return start + struct.pack(order + "IHHHI", 8, 1, 0x0112, 3, 1) + value + bytes(4)


def jpeg(rgb: NDArray[Any], *, orientation: int | None = None, quality: int = 95, order: str = "<") -> bytes:
    data = _by_cv2(".jpg", rgb, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111])
    if orientation is None:
        return data
    body = b"Exif\0\0" + exif(orientation, order)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def png(pixels: NDArray[Any], *, orientation: int | None = None) -> bytes:
    """Grey, RGB or RGBA, 8 or 16 bits."""
    data = _by_cv2(".png", pixels, [])
    if orientation is None:
        return data
    return data[:33] + png_chunk(b"eXIf", exif(orientation)) + data[33:]


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def webp(pixels: NDArray[Any], *, orientation: int | None = None, quality: int = 101) -> bytes:
    """Lossless above quality 100."""
    data = _by_cv2(".webp", pixels, [cv2.IMWRITE_WEBP_QUALITY, quality])
    if orientation is None:
        return data
    block = exif(orientation)
    height, width = pixels.shape[:2]
    extended = bytes([8, 0, 0, 0]) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"VP8X" + struct.pack("<I", 10) + extended + data[12:]
    body += b"EXIF" + struct.pack("<I", len(block)) + block
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def tiff(pixels: NDArray[Any] | None, **options: Any) -> bytes:
    """By tifffile, with its options (compression, tile, planarconfig, bigtiff, extratags …)."""
    out = io.BytesIO()
    tifffile.imwrite(out, pixels, **{"metadata": None} | options)
    return out.getvalue()


def _by_cv2(extension: str, pixels: NDArray[Any], options: list[int]) -> bytes:
    if pixels.ndim == 3:
        pixels = pixels[:, :, [2, 1, 0, *range(3, pixels.shape[2])]]
    encoded, data = cv2.imencode(extension, np.ascontiguousarray(pixels), options)
    assert encoded
    return bytes(data)
