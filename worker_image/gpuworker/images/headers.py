"""What an image file says of itself, read without decoding a pixel, so that limits hold before memory is spent."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from gpuworker.contract.items import ItemError
from gpuworker.images.exif import orientation_of
from gpuworker.images.jpeg_segments import SOS, Segment, segments
from gpuworker.images.notes import FRAMES_LEFT, NOTHING, Notes

Format = Literal["jpeg", "png", "webp", "tiff", "bmp", "jp2", "avif", "heic"]

READS = "JPEG, PNG, WebP, TIFF and GeoTIFF, BMP, JPEG 2000, AVIF and HEIC"

_BYTES_BY_DTYPE = {
    "bool": 1,
    "uint8": 1,
    "int8": 1,
    "uint16": 2,
    "int16": 2,
    "float16": 2,
    "float64": 8,
    "int64": 8,
    "uint64": 8,
    "complex64": 8,
    "complex128": 16,
}

_BEGINNINGS: tuple[tuple[Format, int, tuple[bytes, ...]], ...] = (
    ("jpeg", 0, (b"\xff\xd8\xff",)),
    ("png", 0, (b"\x89PNG\r\n\x1a\n",)),
    ("tiff", 0, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("jp2", 0, (b"\xff\x4f\xff\x51", b"\0\0\0\x0cjP  ")),
)
_AVIF_BRANDS = {b"avif", b"avis"}
_HEIC_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_BMP_HEADERS = {12, 16, 40, 52, 56, 64, 108, 124}
"""Sizes of the header that follows BMP's first; `BM` alone is how many a text begins."""

_KNOWN_OTHERS = (
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (4, b"ftyp", "video"),
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
    if (known := _known(data)) is not None:
        return known
    if not any(data[:4096]):
        raise ItemError("unreadable", "the file begins with zero bytes only; it was probably never written in full")
    kind = next((name for at, magic, name in _KNOWN_OTHERS if data[at : at + len(magic)] == magic), None)
    what = f"this is a {kind} file" if kind else "this is not an image of a known format"
    raise ItemError("unsupported", f"{what}; {READS} can be read. Convert it first")


def _known(data: bytes | mmap.mmap) -> Format | None:
    for known, at, beginnings in _BEGINNINGS:
        if any(data[at : at + len(beginning)] == beginning for beginning in beginnings):
            return known
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[:2] == b"BM" and (len(data) < 18 or int.from_bytes(data[14:18], "little") in _BMP_HEADERS):
        return "bmp"
    return _by_brands(data) if data[4:8] == b"ftyp" else None


def _by_brands(data: bytes | mmap.mmap) -> Format | None:
    """AVIF or HEIC by what the first box of an ISO base media file (ISO 14496-12) says that it is; None for a film."""
    length = min(int.from_bytes(data[:4]), len(data), 4096)
    if length < 12:
        raise ItemError("truncated", "the file is cut short inside its first box")
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, length - 3, 4))}
    if brands & _AVIF_BRANDS:
        return "avif"
    return "heic" if brands & _HEIC_BRANDS else None


def jpeg_header(data: bytes | mmap.mmap) -> Header:
    """Walk a JPEG's segments up to its pixels and make sure that the pixels end. Raises ItemError.

    The decoder only warns of a file cut short and paints the rest grey, so the end marker is looked for here; whether
    the scans before it are whole is seen once they are decoded (`opencv`).
    """
    frame: Segment | None = None
    exif = xmp = scan = b""
    at = len(data)
    for segment in segments(data):
        if segment.marker == SOS:
            scan, at = segment.body, segment.end
            break
        if segment.marker == 0xF7:
            raise ItemError("unsupported", f"this is a JPEG-LS file; {READS} can be read. Convert it first")
        if segment.is_frame and frame is None:
            frame = segment
        elif segment.marker == 0xE1 and segment.body.startswith(b"Exif\0\0"):
            exif += segment.body[6:] if exif else segment.body
        elif segment.marker == 0xE1 and segment.body.startswith(_XMP_IN_JPEG):
            xmp = segment.body
    if not scan:
        raise ItemError("unreadable", "the JPEG ends before its first pixel")
    if frame is None or 0 in _jpeg_frame(frame):
        raise ItemError("unreadable", "the JPEG does not say how large it is")
    if data.find(b"\xff\xd9", at) < 0:
        raise ItemError("truncated", "the JPEG is cut short: its end marker is missing")
    return _jpeg_header(frame, first_scan=scan, orientation=orientation_of(exif, xmp))


_XMP_IN_JPEG = b"http://ns.adobe.com/xap/1.0/\0"


def _jpeg_header(frame: Segment, *, first_scan: bytes, orientation: int) -> Header:
    precision, height, width, bands = _jpeg_frame(frame)
    if precision != 8:
        raise ItemError("unsupported", f"a JPEG with {precision} bits a sample; only 8 can be read. Convert it to PNG")
    # A scan that begins with fewer than all bands is one of several, like those of a progressive JPEG.
    is_in_several = frame.marker not in (0xC0, 0xC1) or first_scan[:1] < bytes([bands])
    return Header(
        format="jpeg",
        width=width,
        height=height,
        bands=bands,
        dtype="uint8",
        orientation=orientation,
        extra_bytes=2 * _jpeg_coefficients(frame.body) if is_in_several else 0,
    )


def _jpeg_frame(frame: Segment) -> tuple[int, int, int, int]:
    """Precision, height, width and bands."""
    precision, height, width, bands = struct.unpack(">BHHB", frame.body[:6])
    return precision, height, width, bands


def _jpeg_coefficients(frame: bytes) -> int:
    """How many there are, by the size and the sampling factors in a frame's header (ITU-T T.81, B.2.2)."""
    height, width = int.from_bytes(frame[1:3]), int.from_bytes(frame[3:5])
    factors = [(byte >> 4, byte & 15) for byte in frame[7::3]]
    most = max((x for x, _ in factors), default=0) * max((y for _, y in factors), default=0)
    return height * width * sum(x * y for x, y in factors) // max(1, most)


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
    bands, exif, xmp, frames = _PNG_BANDS_BY_COLOUR_TYPE[colour_type], b"", b"", -1
    for kind, start, end in _png_chunks(data):
        if kind == b"eXIf":
            exif = data[start:end]
        elif kind == b"iTXt" and data[start : start + 18] == b"XML:com.adobe.xmp\0":
            xmp = data[start:end]
        elif kind == b"tRNS":
            bands = 2 if colour_type == 0 else 4
        elif kind == b"acTL":
            frames = int.from_bytes(data[start : start + 4])
    return Header(
        format="png",
        width=width,
        height=height,
        bands=bands,
        dtype="uint16" if depth == 16 else "uint8",
        orientation=orientation_of(exif, xmp),
        extra_bytes=_ANIMATED_PNG_BYTES_PER_PIXEL * width * height if frames >= 0 else 0,
        notes=FRAMES_LEFT if frames > 1 else NOTHING,
    )


def transparent_grey(png: bytes | mmap.mmap) -> int | None:
    """The grey that a PNG without a band for transparency calls transparent, in the samples it is decoded into."""
    depth, most = png[24], 255 if png[24] <= 8 else 65535
    for kind, start, end in _png_chunks(png):
        if kind == b"tRNS" and png[25] == 0 and end - start >= 2:
            return int.from_bytes(png[start : start + 2]) % (1 << depth) * most // ((1 << depth) - 1)
    return None


def _png_chunks(data: bytes | mmap.mmap) -> Iterator[tuple[bytes, int, int]]:
    """Kind of each chunk before the last, and where its body begins and ends. Raises ItemError."""
    at = 8
    while (kind := data[at + 4 : at + 8]) != b"IEND" or at + 12 > len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4])
        if len(kind) == 4 and not kind.isalpha():
            raise ItemError("unreadable", "the PNG is damaged: there are bytes between its chunks")
        if end + 4 >= len(data):
            raise ItemError("truncated", "the PNG is cut short: its end chunk is missing")
        yield kind, at + 8, end
        at = end + 4


def webp_header(data: bytes | mmap.mmap) -> Header:
    """Walk a WebP's chunks (RIFF container, RFC 9649). Raises ItemError."""
    if len(data) < 30 or int.from_bytes(data[4:8], "little") + 8 > len(data):
        raise ItemError("truncated", "the WebP file is shorter than it says it is")
    size: tuple[int, int] | None = None
    bands, exif, xmp, held, frames = 3, b"", b"", _WEBP_BYTES_PER_PIXEL, 0
    for kind, body in _webp_chunks(data):
        frames += kind == b"ANMF"
        if kind == b"VP8X" and len(body) >= 10:
            size = int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
            bands = 4 if body[0] & 0x10 else 3
            held = _ANIMATED_WEBP_BYTES_PER_PIXEL if body[0] & 0x02 else held
        elif kind in (b"VP8 ", b"VP8L") and size is None:
            size, alpha = _webp_frame(kind, body)
            bands = 4 if alpha else 3
        elif kind == b"EXIF":
            exif = exif or body
        elif kind == b"XMP ":
            xmp = xmp or body
    if size is None or 0 in size:
        raise ItemError("unreadable", "the WebP file holds no picture")
    width, height = size
    return Header(
        format="webp",
        width=width,
        height=height,
        bands=bands,
        dtype="uint8",
        orientation=orientation_of(exif, xmp),
        extra_bytes=held * width * height,
        notes=FRAMES_LEFT if frames > 1 else NOTHING,
    )


def _webp_chunks(data: bytes | mmap.mmap) -> Iterator[tuple[bytes, bytes]]:
    """Kind and body of each, up to where the file says that it ends. Raises ItemError."""
    at, end = 12, int.from_bytes(data[4:8], "little") + 8
    while at + 8 <= end:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > end:
            raise ItemError("truncated", "the WebP is cut short: its last chunk is longer than the file")
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _webp_frame(kind: bytes, body: bytes) -> tuple[tuple[int, int], bool]:
    """((width, height), has alpha) of a simple lossy or lossless WebP bitstream."""
    if kind == b"VP8 " and body[3:6] == b"\x9d\x01\x2a":
        width, height = struct.unpack("<HH", body[6:10])
        return (width & 0x3FFF, height & 0x3FFF), False
    if kind == b"VP8L" and body[:1] == b"\x2f" and len(body) >= 5:
        bits = int.from_bytes(body[1:5], "little")
        return ((bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1), bool(bits >> 28 & 1)
    raise ItemError("unreadable", "the WebP file's picture is damaged")
