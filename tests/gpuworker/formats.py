"""BMP, JPEG 2000, AVIF and HEIC for tests, written by others than those that read them, or byte by byte."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def by_pillow(pixels: NDArray[Any], kind: str, **options: Any) -> bytes:
    """`kind`: Pillow's, as "AVIF"; lossless where it can be."""
    lossless: dict[str, Any] = {"AVIF": {"quality": 100, "subsampling": "4:4:4"}}.get(kind, {})
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind, **lossless | options)
    return out.getvalue()


def seen_by_pillow(data: bytes) -> NDArray[np.uint8]:
    """Over white, H×W×3, not turned."""
    image = Image.open(io.BytesIO(data)).convert("RGBA")
    return np.asarray(Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB"))


def exif(orientation: int) -> bytes:
    block = Image.Exif()
    block[274] = orientation
    return block.tobytes()


def heic(pixels: NDArray[Any], *, orientation: int = 1, mode: str = "RGB", chroma: int = 444) -> bytes:
    """With pillow-heif, nearly lossless; an orientation becomes its boxes irot and imir."""
    import pillow_heif

    one = pillow_heif.from_bytes(mode, (pixels.shape[1], pixels.shape[0]), np.ascontiguousarray(pixels).tobytes())
    if orientation > 1:
        one.info["exif"] = exif(orientation)
    out = io.BytesIO()
    one.save(out, quality=-1, chroma=chroma)
    return out.getvalue()


def bmp(
    bits: int,
    size: tuple[int, int],
    rows: bytes,
    *,
    palette: bytes = b"",
    compression: int = 0,
    is_top_down: bool = False,
    header: int = 40,
    masks: tuple[int, ...] = (),
) -> bytes:
    """Any kind of BMP; `size`: width and height, `header`: its bytes, within which masks lie from 56 on."""
    width, height = size
    words = struct.pack(f"<{len(masks)}I", *masks)
    info = struct.pack(
        "<IiiHHIIiiII",
        *(header, width, -height if is_top_down else height, 1, bits, compression, len(rows), 0, 0),
        *(len(palette) // 4, 0),
    )
    info = info + words if header == 40 else (info + words).ljust(header, b"\0")
    starts = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", starts + len(rows), 0, 0, starts) + info + palette + rows


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def with_jp2_boxes(jp2: bytes, *more: bytes, space: int | None = None) -> bytes:
    """A JP2 with more boxes in its header, and another colour space there."""
    at = jp2.find(b"jp2h") - 4
    length = int.from_bytes(jp2[at : at + 4])
    header = bytearray(jp2[at + 8 : at + length])
    if space is not None:
        struct.pack_into(">I", header, header.find(b"colr") + 7, space)
    return jp2[:at] + box(b"jp2h", bytes(header) + b"".join(more)) + jp2[at + length :]
