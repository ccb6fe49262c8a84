"""What an image file says of itself, read without decoding a pixel, so that limits hold before memory is spent."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass
from typing import Literal

from gpuworker.notes import NOTHING, Notes
from gpuworker.tasks import ItemError

Format = Literal["jpeg", "png", "webp", "tiff"]

READS = "JPEG, PNG, WebP, TIFF and GeoTIFF"

_BYTES_BY_DTYPE = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "float16": 2,
    "float64": 8,
    "complex128": 16,
}

_KNOWN_OTHERS = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (4, b"ftypheic", "HEIC"),
    (4, b"ftypheix", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyp", "video"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"%PDF", "PDF"),
    (0, b"PK\x03\x04", "zip"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
)


@dataclass(frozen=True, kw_only=True)
class Header:
    """Size and kind of the stored pixels, before the orientation is applied."""

    format: Format
    width: int
    height: int
    bands: int
    dtype: str
    """numpy's name of the type of one sample: `uint8`, `uint16`, `float32` …"""
    orientation: int = 1
    """EXIF orientation 1..8; 1 is upright."""
    extra_bytes: int = 0
    """What its decoder holds besides the pixels: the coefficients of a JPEG in several scans, the frames of an
    animation, the four bands of a lossless WebP."""
    notes: Notes = NOTHING

    @property
    def pixels(self) -> int:
        return self.width * self.height

    @property
    def decoded_bytes(self) -> int:
        """What the stored pixels take once decoded, all bands at full depth."""
        return self.pixels * self.bands * _BYTES_BY_DTYPE.get(self.dtype, 4)


def sniff(data: bytes | mmap.mmap) -> Format:
    """Tell the format by its magic number. Raises ItemError `empty` or `unsupported`."""
    if not data:
        raise ItemError("empty", "the file has 0 bytes")
    if data[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return "tiff"
    if not any(data[:4096]):
        raise ItemError("unreadable", "the file begins with zero bytes only; it was probably never written in full")
    kind = next((name for at, magic, name in _KNOWN_OTHERS if data[at : at + len(magic)] == magic), None)
    what = f"this is a {kind} file" if kind else "this is not an image of a known format"
    raise ItemError("unsupported", f"{what}; {READS} can be read. Convert it first")


def jpeg_header(data: bytes | mmap.mmap) -> Header:
    """Walk a JPEG's segments up to its pixels and make sure that the pixels end. Raises ItemError.

    The decoder only warns of a file cut short and paints the rest grey, so the end marker is looked for here: inside
    entropy-coded data a 0xFF is always followed by a zero or a restart marker, so FF D9 can be nothing else
    (ITU-T T.81, B.1.1.2).
    """
    frame: tuple[int, int, int, int] | None = None
    orientation, coefficients, is_progressive = 1, 0, False
    at = 2
    while True:
        at, marker = _next_jpeg_marker(data, at)
        if marker == 0xDA:
            break
        if marker == 0xD9:
            raise ItemError("unreadable", "the JPEG ends before its first pixel")
        if marker == 0x01 or 0xD0 <= marker <= 0xD8:
            continue
        length = int.from_bytes(data[at : at + 2])
        body = data[at + 2 : at + length]
        if at + length > len(data):
            raise ItemError("truncated", "the JPEG is cut short inside its header")
        if length < 2:
            raise ItemError("unreadable", "the JPEG's header is damaged")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            frame = struct.unpack(">BHHB", body[:6])
            coefficients = _jpeg_coefficients(body)
            is_progressive = marker not in (0xC0, 0xC1)
        elif marker == 0xE1 and body[:6] == b"Exif\0\0":
            orientation = exif_orientation(body[6:])
        at += length
    if frame is None or 0 in frame:
        raise ItemError("unreadable", "the JPEG does not say how large it is")
    if data.find(b"\xff\xd9", at) < 0:
        raise ItemError("truncated", "the JPEG is cut short: its end marker is missing")
    precision, height, width, bands = frame
    if precision != 8:
        raise ItemError("unsupported", f"a JPEG with {precision} bits a sample; only 8 can be read. Convert it to PNG")
    # A scan that begins with fewer than all bands is one of several, like those of a progressive JPEG.
    extra = 2 * coefficients if is_progressive or data[at + 2 : at + 3] < bytes([bands]) else 0
    return Header(
        format="jpeg",
        width=width,
        height=height,
        bands=bands,
        dtype="uint8",
        orientation=orientation,
        extra_bytes=extra,
    )


def _jpeg_coefficients(frame: bytes) -> int:
    """How many there are, by the size and the sampling factors in a frame's header (ITU-T T.81, B.2.2)."""
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    factors = [(byte >> 4, byte & 15) for byte in frame[7::3]]
    most = max((x for x, _ in factors), default=0) * max((y for _, y in factors), default=0)
    return height * width * sum(x * y for x, y in factors) // max(1, most)


def _next_jpeg_marker(data: bytes | mmap.mmap, at: int) -> tuple[int, int]:
    """The marker that starts at `at` (fill bytes skipped) and the position after it."""
    if at < len(data) and data[at] != 0xFF:
        raise ItemError("unreadable", "the JPEG's header is damaged")
    while at < len(data) and data[at] == 0xFF:
        at += 1
    if at + 2 >= len(data):
        raise ItemError("truncated", "the JPEG is cut short inside its header")
    return at + 1, data[at]


_PNG_BANDS_BY_COLOUR_TYPE = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_ANIMATED_PNG_BYTES_PER_PIXEL, _ANIMATED_WEBP_BYTES_PER_PIXEL, _WEBP_BYTES_PER_PIXEL = 12, 9, 4
"""Frames that OpenCV 5.0 holds, measured at 17 and 36 megapixels; and what a lossless WebP is decoded into."""


def png_header(data: bytes | mmap.mmap) -> Header:
    """Walk a PNG's chunks to its end. Raises ItemError."""
    if len(data) < 33:
        raise ItemError("truncated", "the PNG is cut short inside its header")
    width, height, depth, colour_type = struct.unpack(">IIBB", data[16:26])
    if data[12:16] != b"IHDR" or colour_type not in _PNG_BANDS_BY_COLOUR_TYPE or 0 in (width, height):
        raise ItemError("unreadable", "the PNG's header is damaged")
    bands, orientation, at, animation = _PNG_BANDS_BY_COLOUR_TYPE[colour_type], 1, 8, 0
    while data[at + 4 : at + 8] != b"IEND":
        length = int.from_bytes(data[at : at + 4])
        if at + 12 + length >= len(data):
            raise ItemError("truncated", "the PNG is cut short: its end chunk is missing")
        kind = data[at + 4 : at + 8]
        if kind == b"eXIf":
            orientation = exif_orientation(data[at + 8 : at + 8 + length])
        elif kind == b"tRNS" and colour_type != 0:
            bands = 4
        elif kind == b"acTL":
            animation = _ANIMATED_PNG_BYTES_PER_PIXEL
        at += 12 + length
    dtype = "uint16" if depth == 16 else "uint8"
    extra = animation * width * height
    return Header(
        format="png", width=width, height=height, bands=bands, dtype=dtype, orientation=orientation, extra_bytes=extra
    )


def webp_header(data: bytes | mmap.mmap) -> Header:
    """Walk a WebP's chunks (RIFF container, RFC 9649). Raises ItemError."""
    if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ItemError("truncated", "the WebP file is shorter than it says it is")
    size: tuple[int, int] | None = None
    bands, orientation, at, held = 3, 1, 12, _WEBP_BYTES_PER_PIXEL
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        body = data[at + 8 : at + 8 + length]
        if kind == b"VP8X" and length >= 10:
            size = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
            bands = 4 if body[0] & 0x10 else 3
            held = _ANIMATED_WEBP_BYTES_PER_PIXEL if body[0] & 0x02 else held
        elif kind in (b"VP8 ", b"VP8L") and size is None:
            size, alpha = _webp_frame(kind, body)
            bands = 4 if alpha else 3
        elif kind == b"EXIF":
            orientation = exif_orientation(body.removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    if size is None or 0 in size:
        raise ItemError("unreadable", "the WebP file holds no picture")
    width, height = size
    extra = held * width * height
    return Header(
        format="webp",
        width=width,
        height=height,
        bands=bands,
        dtype="uint8",
        orientation=orientation,
        extra_bytes=extra,
    )


def _webp_frame(kind: bytes, body: bytes) -> tuple[tuple[int, int], bool]:
    """((width, height), has alpha) of a simple lossy or lossless WebP bitstream."""
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", body[6:10])
        return (width & 0x3FFF, height & 0x3FFF), False
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), bool(bits >> 28 & 1)
    raise ItemError("unreadable", "the WebP file's picture is damaged")


def exif_orientation(exif: bytes) -> int:
    """Orientation 1..8 of an EXIF block (a little TIFF); 1 where it is absent or makes no sense."""
    order: Literal["little", "big"] = "little" if exif[:2] == b"II" else "big"
    directory = int.from_bytes(exif[4:8], order)
    entries = int.from_bytes(exif[directory : directory + 2], order)
    for at in range(directory + 2, directory + 2 + 12 * min(entries, 512), 12):
        if int.from_bytes(exif[at : at + 2], order) == 0x0112:
            value = int.from_bytes(exif[at + 8 : at + 10], order)
            return value if 1 <= value <= 8 else 1
    return 1
