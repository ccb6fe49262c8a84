"""How a picture is to be turned: any type of whole number, either byte order, EXIF before XMP, as Pillow reads them."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.gpuworker import pictures

from gpuworker.images.decoding import probe
from gpuworker.images.exif import as_orientation, orientation_of

RGB = pictures.scene(16, 24)
TYPES = {
    "BYTE": (1, "B"),
    "SHORT": (3, "H"),
    "LONG": (4, "I"),
    "SBYTE": (6, "b"),
    "SSHORT": (8, "h"),
    "SLONG": (9, "i"),
    "UNDEFINED": (7, "B"),
    "FLOAT": (11, "f"),
    "DOUBLE": (12, "d"),
}
XMP = b'<x:xmpmeta><rdf:Description tiff:Orientation="8"/></x:xmpmeta>'


def block(value: float, kind: str = "SHORT", *, order: str = "<", count: int = 1) -> bytes:
    """A little TIFF whose only tag is an orientation; values that do not fit into it come after it."""
    code, form = TYPES[kind]
    values = struct.pack(order + form, value) * count
    place = values.ljust(4, b"\0") if len(values) <= 4 else struct.pack(order + "I", 26)
    start = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "IHHHI", 8, 1, 0x0112, code, count) + place + bytes(4)
    return start + entry + (values if len(values) > 4 else b"")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_an_orientation_of_any_type_and_count(kind: str, order: str, count: int) -> None:
    assert orientation_of(block(6, kind, order=order, count=count)) == 6


@pytest.mark.parametrize("value", [0, 9, 77])
def test_one_that_makes_no_sense_is_none_and_xmp_does_not_mend_it(value: int) -> None:
    assert orientation_of(block(value, "LONG"), XMP) == 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_fractions_are_numbers_too(order: str) -> None:
    start = b"II*\0" if order == "<" else b"MM\0*"
    for kind in (5, 10):
        head = struct.pack(order + "IHHHIII", 8, 1, 0x0112, kind, 1, 26, 0)
        assert orientation_of(start + head + struct.pack(order + "II", 12, 2)) == 6
        assert orientation_of(start + head + struct.pack(order + "II", 12, 0)) == 1


def test_types_that_there_are_not_and_counts_of_nothing_are_none() -> None:
    for kind in (0, 2, 14, 99):
        assert orientation_of(b"MM\0*" + struct.pack(">IHHHII", 8, 1, 0x0112, kind, 1, 6)) == 1
    assert orientation_of(block(6.5, "FLOAT")) == 1
    assert orientation_of(block(6, count=1).replace(struct.pack("<HI", 3, 1), struct.pack("<HI", 3, 0))) == 1


def test_the_words_before_the_block_may_be_there_or_not() -> None:
    assert orientation_of(b"Exif\0\0" + block(6)) == orientation_of(b"Exif\0\0Exif\0\0" + block(6)) == 6


def test_xmp_counts_where_exif_is_silent() -> None:
    silent = block(6).replace(struct.pack("<H", 0x0112), struct.pack("<H", 0x0110))
    assert orientation_of(b"", XMP) == orientation_of(silent, XMP) == 8
    assert orientation_of(b"", b"<tiff:Orientation>3</tiff:Orientation>") == 3
    assert orientation_of(block(6), XMP) == 6


@given(st.binary(max_size=80))
def test_noise_is_upright_or_turned_and_never_an_error(noise: bytes) -> None:
    for start in (b"II*\0", b"MM\0*", b"Exif\0\0MM\0*\0\0\0\x08", b""):
        assert 1 <= orientation_of(start + noise, noise) <= 8


def with_segments(*bodies: bytes) -> bytes:
    data = pictures.jpeg(RGB)
    segments = b"".join(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body for body in bodies)
    return data[:2] + segments + data[2:]


def with_chunk(kind: bytes, body: bytes) -> bytes:
    data = pictures.webp(RGB, orientation=1)
    more = kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    kept = data[12 : data.find(b"EXIF")]
    flags = bytes([kept[8] | 0x0C])
    kept = kept[:8] + flags + kept[9:] + more
    return b"RIFF" + struct.pack("<I", len(kept) + 4) + b"WEBP" + kept


def by_pillow(data: bytes) -> int:
    value: Any = Image.open(io.BytesIO(data)).getexif().get(274, 1)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


LONG = block(6, "LONG", order=">")
XMP_SEGMENT = b"http://ns.adobe.com/xap/1.0/\0" + XMP
PNG = pictures.png(RGB)
FILES = {
    "jpeg, LONG": (with_segments(b"Exif\0\0" + LONG), 6),
    "jpeg, two blocks": (with_segments(b"Exif\0\0" + LONG, b"Exif\0\0" + block(3)), 6),
    "jpeg, XMP only": (with_segments(XMP_SEGMENT), 8),
    "jpeg, XMP before EXIF": (with_segments(XMP_SEGMENT, b"Exif\0\0" + LONG), 6),
    "png, LONG": (PNG[:33] + pictures.png_chunk(b"eXIf", LONG) + PNG[33:], 6),
    "png, with the words": (PNG[:33] + pictures.png_chunk(b"eXIf", b"Exif\0\0" + LONG) + PNG[33:], 6),
    "png, XMP only": (
        PNG[:33] + pictures.png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP) + PNG[33:],
        8,
    ),
    "webp, LONG": (with_chunk(b"EXIF", LONG), 6),
    "webp, with the words": (with_chunk(b"EXIF", b"Exif\0\0" + LONG), 6),
    "webp, XMP only": (with_chunk(b"XMP ", XMP), 8),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_is_read_as_pillow_reads_it(name: str) -> None:
    data, expected = FILES[name]
    assert probe(data).orientation == by_pillow(data) == expected


@pytest.mark.parametrize("kind", ["H", "I", "B", "i", "b"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_a_tiff_says_it_in_any_type_and_count_too(kind: str, count: int, order: str) -> None:
    value = bytes([6] * count) if kind in "Bb" else 6 if count == 1 else (6,) * count
    data = pictures.tiff(RGB, photometric="rgb", byteorder=order, extratags=[(274, kind, count, value, True)])
    assert probe(data).orientation == 6


@pytest.mark.parametrize("value", [0, 9, -1, (), (0, 6), b"", "6", None, 6.5])
def test_what_makes_no_sense_as_an_orientation_is_upright(value: object) -> None:
    assert as_orientation(value) == 1
