"""What a file says of itself is held against its decoder: what it reads whole is not vetoed, what it does not is."""

from __future__ import annotations

import io
import struct

import cv2
import imagecodecs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from tests.gpuworker import pictures
from tests.gpuworker.formats import by_pillow, heic
from tests.properties import examples

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import decode, probe
from gpuworker.images.headers import sniff

RGB = pictures.scene()
PNG, WEBP, LOSSY = pictures.png(RGB), pictures.webp(RGB), pictures.webp(RGB, quality=80)
END = PNG.find(b"IEND") - 4


def code_of(data: bytes) -> str:
    with pytest.raises(ItemError) as caught:
        decode(data)
    return caught.value.code


class TestKnownByContent:
    def test_every_format_by_its_first_bytes(self) -> None:
        pytest.importorskip("pillow_heif")
        known = {
            "jpeg": pictures.jpeg(RGB),
            "png": PNG,
            "webp": WEBP,
            "tiff": pictures.tiff(RGB, photometric="rgb"),
            "bmp": by_pillow(RGB, "BMP"),
            "jp2": by_pillow(RGB, "JPEG2000"),
            "avif": by_pillow(RGB, "AVIF"),
            "heic": heic(RGB),
        }
        assert {name: sniff(data) for name, data in known.items()} == {name: name for name in known}

    @pytest.mark.parametrize(
        ("brands", "expected"),
        [
            ((b"mif1", b"avif"), "avif"),
            ((b"avis", b"msf1"), "avif"),
            ((b"mif1", b"heic"), "heic"),
            ((b"heix", b"mif1"), "heic"),
            ((b"msf1", b"hevc"), "heic"),
        ],
    )
    def test_heif_by_any_of_its_brands(self, brands: tuple[bytes, bytes], expected: str) -> None:
        assert sniff(struct.pack(">I4s4sI4s", 20, b"ftyp", brands[0], 0, brands[1])) == expected

    def test_a_film_is_named(self) -> None:
        with pytest.raises(ItemError, match="this is a video file") as caught:
            sniff(struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"mp42"))
        assert caught.value.code == "unsupported"


class TestPng:
    @pytest.mark.parametrize("kind", [b"tEXt", b"prVt", b"eXIf"])
    def test_a_checksum_that_is_wrong_where_it_does_not_matter(self, kind: bytes) -> None:
        more = pictures.png_chunk(kind, b"a\0b")[:-4] + b"1234"
        assert np.array_equal(decode(PNG[:33] + more + PNG[33:]).rgb, RGB)

    def test_bytes_after_the_end(self) -> None:
        assert np.array_equal(decode(PNG + b"\0" * 99 + PNG[:50]).rgb, RGB)

    @pytest.mark.parametrize("lost", [1, 4, 8, 11, 12, 20])
    def test_an_end_that_is_not_there_in_full(self, lost: int) -> None:
        assert code_of(PNG[:-lost]) == "truncated"

    def test_rows_that_are_missing_before_a_whole_end(self) -> None:
        at = PNG.find(b"IDAT") - 4
        length = int.from_bytes(PNG[at : at + 4])
        half = pictures.png_chunk(b"IDAT", PNG[at + 8 : at + 8 + length // 2])
        assert code_of(PNG[:at] + half + PNG[END:]) == "unreadable"

    def test_junk_between_chunks_is_damage(self) -> None:
        assert code_of(PNG[:33] + b"\0\0\0" + PNG[33:]) == "unreadable"


class TestWebp:
    @pytest.mark.parametrize("data", [WEBP, LOSSY, pictures.webp(RGB, orientation=6)], ids=["whole", "lossy", "exif"])
    def test_bytes_after_the_end_say_nothing(self, data: bytes) -> None:
        turned = b"EXIF" + struct.pack("<I", 26) + pictures.exif(3)
        assert np.array_equal(decode(data + turned).rgb, decode(data).rgb)

    @pytest.mark.parametrize("data", [WEBP, LOSSY], ids=["lossless", "lossy"])
    def test_a_picture_cut_whose_file_says_its_new_size(self, data: bytes) -> None:
        half = data[: len(data) // 4 * 2]
        assert code_of(half[:4] + struct.pack("<I", len(half) - 8) + half[8:]) == "truncated"


@given(st.sampled_from([PNG, WEBP, LOSSY]), st.integers(12, 400), st.binary(max_size=9))
@examples(300)
def test_what_is_inserted_anywhere_is_read_as_the_decoder_reads_it(data: bytes, at: int, junk: bytes) -> None:
    spoilt = data[:at] + junk + data[at:]
    try:
        read = decode(spoilt).rgb
    except ItemError:
        read = None
    expected = cv2.imdecode(np.frombuffer(spoilt, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
    assert (read is None) == (expected is None)
    assert read is None or read.shape != expected.shape or np.array_equal(read, expected)


def test_what_is_cut_out_is_white_in_every_format_that_has_transparency() -> None:
    pytest.importorskip("pillow_heif")
    rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
    rgba[:9, :, 3] = 0
    files = [pictures.png(rgba), pictures.webp(rgba), by_pillow(rgba, "JPEG2000"), by_pillow(rgba, "AVIF")]
    for data in (*files, heic(rgba, mode="RGBA")):
        image = decode(data)
        assert image.notes.warnings == ()
        assert (image.rgb[:8] >= 252).all()
        assert np.abs(image.rgb[10:].astype(int) - RGB[10:]).max() <= 3


def test_a_jpeg_ls_is_called_by_its_name() -> None:
    with pytest.raises(ItemError, match="JPEG-LS") as caught:
        probe(bytes(imagecodecs.jpegls_encode(np.zeros((8, 8), np.uint8))))
    assert caught.value.code == "unsupported"


def test_frames_that_were_left_are_said() -> None:
    frames = [Image.fromarray(np.full((8, 8, 3), value, np.uint8)) for value in (0, 99)]
    for kind in ("PNG", "WEBP"):
        for shown in (frames, frames[:1]):
            out = io.BytesIO()
            shown[0].save(out, kind, save_all=True, append_images=shown[1:])
            assert decode(out.getvalue()).notes.warnings == (("pictures_left",) if len(shown) > 1 else ())
