"""Files that cannot be read: each ends with its code and a sentence that helps, and costs little before it does."""

from __future__ import annotations

import os
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.gpuworker import pictures

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import Limits, decode, probe

RGB = pictures.scene(200, 300)


def failure(data: bytes, limits: Limits | None = None) -> ItemError:
    with pytest.raises(ItemError) as caught:
        decode(data, limits)
    return caught.value


def outcome(data: bytes) -> str:
    try:
        decode(data, Limits(max_pixels=1_000_000))
    except ItemError as error:
        return error.code
    return "decoded"


class TestNotAnImage:
    def test_empty(self) -> None:
        assert failure(b"").code == "empty"

    @pytest.mark.parametrize(
        ("start", "name"),
        [
            (b"GIF89a", "GIF"),
            (b"BM\0\0", "BMP"),
            (b"\0\0\0\x18ftypmp42", "video"),
            (b"%PDF-1.7", "PDF"),
            (b"PK\x03\x04", "zip"),
        ],
    )
    def test_other_formats_are_named(self, start: bytes, name: str) -> None:
        error = failure(start + b"x" * 100)
        assert error.code == "unsupported"
        assert name in error.message
        assert "JPEG, PNG, WebP, TIFF" in error.message

    def test_text(self) -> None:
        assert failure(b"hello, I am not an image").code == "unsupported"

    def test_zeros_are_a_file_never_written(self) -> None:
        assert failure(bytes(5000)).code == "unreadable"

    def test_a_raw_camera_file(self) -> None:
        tags = [(50706, "B", 4, (1, 4, 0, 0), True)]
        error = failure(pictures.tiff(RGB[:, :, 0], photometric="cfa", extratags=tags))
        assert error.code == "unsupported"
        assert "DNG" in error.message


WHOLE = {
    "jpeg": pictures.jpeg(RGB),
    "jpeg with a preview": pictures.jpeg(RGB, orientation=6),
    "png": pictures.png(RGB),
    "webp": pictures.webp(RGB),
    "webp with exif": pictures.webp(RGB, orientation=6),
    "tiff": pictures.tiff(RGB, photometric="rgb", rowsperstrip=20, compression="zlib"),
    "tiled tiff": pictures.tiff(RGB, photometric="rgb", tile=(64, 64)),
    "bigtiff": pictures.tiff(RGB, photometric="rgb", bigtiff=True),
}


class TestCutShort:
    @pytest.mark.parametrize("kind", WHOLE)
    @pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
    def test_a_file_cut_anywhere_is_truncated(self, kind: str, share: float) -> None:
        data = WHOLE[kind]
        error = failure(data[: max(9, int(len(data) * share))])
        assert error.code == "truncated"

    @pytest.mark.parametrize("kind", WHOLE)
    def test_the_whole_file_is_not(self, kind: str) -> None:
        assert decode(WHOLE[kind]).rgb.size == RGB.size

    def test_bytes_after_the_end_do_no_harm(self) -> None:
        for kind in ("jpeg", "png", "webp", "tiff"):
            assert decode(WHOLE[kind] + b"trailer").rgb.size == RGB.size

    def test_a_preview_inside_the_header_is_not_taken_for_the_end(self) -> None:
        # The end marker of a thumbnail stored in a header segment must not hide that the picture itself is cut.
        whole = WHOLE["jpeg"]
        preview = b"Exif\0\0" + pictures.exif(1) + pictures.jpeg(pictures.scene(16, 16))
        data = whole[:2] + b"\xff\xe1" + struct.pack(">H", len(preview) + 2) + preview + whole[2:]
        assert decode(data).rgb.size == RGB.size
        assert failure(data[:-100]).code == "truncated"


class TestDamaged:
    def test_a_jpeg_whose_header_is_noise(self) -> None:
        assert failure(b"\xff\xd8\xff\xe0" + b"\x00\x04ab" + b"noise" * 50).code == "unreadable"

    def test_a_jpeg_without_pixels(self) -> None:
        assert failure(b"\xff\xd8\xff\xd9" + bytes(64)).code == "unreadable"

    def test_a_png_whose_pixels_are_noise(self) -> None:
        data = bytearray(WHOLE["png"])
        at = data.find(b"IDAT") + 20
        data[at : at + 200] = bytes(200)
        assert failure(bytes(data)).code == "unreadable"

    def test_a_webp_whose_pixels_are_noise(self) -> None:
        data = bytearray(WHOLE["webp"])
        data[40:400] = b"\xff" * 360
        assert failure(bytes(data)).code == "unreadable"

    def test_a_tiff_whose_strips_are_noise(self) -> None:
        data = bytearray(WHOLE["tiff"])
        start = data.find(b"x\x9c") if b"x\x9c" in data else len(data) - 500
        data[start : start + 400] = b"\xaa" * 400
        assert failure(bytes(data)).code == "unreadable"

    def test_a_tiff_with_a_directory_of_noise(self) -> None:
        assert failure(b"II*\0\x08\0\0\0" + b"\xee" * 300).code in {"unreadable", "unsupported", "truncated"}

    def test_a_tiff_volume(self) -> None:
        data = pictures.tiff(
            np.zeros((4, 16, 16), np.uint8), photometric="minisblack", volumetric=True, tile=(4, 16, 16)
        )
        assert failure(data).code == "unsupported"

    def test_a_twelve_bit_jpeg(self) -> None:
        data = bytearray(WHOLE["jpeg"])
        data[data.find(b"\xff\xc0") + 4] = 12
        assert failure(bytes(data)).code == "unsupported"

    @pytest.mark.parametrize("seed", range(30))
    def test_random_damage_never_ends_otherwise(self, seed: int) -> None:
        random = np.random.default_rng(seed)
        for data in WHOLE.values():
            broken = bytearray(data)
            for at in random.integers(0, len(data), 12):
                broken[at] = random.integers(0, 256)
            assert outcome(bytes(broken)) in {"decoded", "unreadable", "truncated", "unsupported", "too_large"}


def bomb(kind: str) -> bytes:
    """A small file whose header promises 60,000×60,000 pixels."""
    if kind == "png":
        header = struct.pack(">II", 60_000, 60_000) + bytes([8, 2, 0, 0, 0])
        chunks = (
            pictures.png_chunk(b"IHDR", header) + pictures.png_chunk(b"IDAT", b"x") + pictures.png_chunk(b"IEND", b"")
        )
        return b"\x89PNG\r\n\x1a\n" + chunks
    if kind == "jpeg":
        data = bytearray(pictures.jpeg(RGB))
        at = data.find(b"\xff\xc0") + 5
        data[at : at + 4] = struct.pack(">HH", 60_000, 60_000)
        return bytes(data)
    if kind == "webp":
        data = bytearray(pictures.webp(RGB, orientation=1))
        data[24:30] = struct.pack("<I", 59_999)[:3] * 2
        return bytes(data)
    if kind == "tiff":
        return _with_tiff_values(pictures.tiff(RGB, photometric="rgb"), {256: 60_000, 257: 60_000})
    return _with_tiff_values(pictures.tiff(RGB, photometric="rgb", tile=(64, 64)), {322: 60_000, 323: 60_000})


def _with_tiff_values(data: bytes, values: dict[int, int]) -> bytes:
    """Overwrite inline values of the first directory of a classic little-endian TIFF."""
    out = bytearray(data)
    directory = struct.unpack_from("<I", out, 4)[0]
    for at in range(directory + 2, directory + 2 + 12 * struct.unpack_from("<H", out, directory)[0], 12):
        code, kind = struct.unpack_from("<HH", out, at)
        if code in values:
            struct.pack_into("<H" if kind == 3 else "<I", out, at + 8, values[code])
    return bytes(out)


class TestLimits:
    def test_bytes(self) -> None:
        data = WHOLE["png"]
        error = failure(data, Limits(max_bytes=len(data) - 1))
        assert error.code == "too_large"
        assert "max_bytes" in error.message
        assert f"{len(data) - 1:,}" in error.message
        assert decode(data, Limits(max_bytes=len(data))).rgb.size == RGB.size

    @pytest.mark.parametrize("kind", WHOLE)
    def test_pixels(self, kind: str) -> None:
        error = failure(WHOLE[kind], Limits(max_pixels=300 * 200 - 1))
        assert error.code == "too_large"
        assert "max_pixels" in error.message
        assert "59,999" in error.message
        assert decode(WHOLE[kind], Limits(max_pixels=300 * 200)).rgb.size == RGB.size

    @pytest.mark.parametrize("kind", ["png", "jpeg", "webp", "tiff", "tile"])
    def test_a_bomb_is_refused_before_memory_is_spent(self, kind: str) -> None:
        data = bomb(kind)
        tracemalloc.start()
        error = failure(data)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert error.code in {"too_large", "truncated"}
        assert peak_bytes < 5_000_000

    def test_many_deep_bands_count_as_memory(self) -> None:
        data = pictures.tiff(np.zeros((100, 100, 30), np.uint16), photometric="minisblack", planarconfig="contig")
        error = failure(data, Limits(max_pixels=50_000))
        assert error.code == "too_large"
        assert "30 bands" in error.message


class TestProbe:
    @pytest.mark.parametrize(
        ("data", "expected"),
        [
            (pictures.jpeg(RGB), ("jpeg", 300, 200, 3, "uint8", 1)),
            (pictures.jpeg(RGB, orientation=8), ("jpeg", 300, 200, 3, "uint8", 8)),
            (pictures.jpeg(RGB[:, :, 0]), ("jpeg", 300, 200, 1, "uint8", 1)),
            (pictures.png(RGB), ("png", 300, 200, 3, "uint8", 1)),
            (pictures.png(RGB.astype(np.uint16)), ("png", 300, 200, 3, "uint16", 1)),
            (pictures.webp(RGB), ("webp", 300, 200, 3, "uint8", 1)),
            (pictures.webp(RGB, quality=80), ("webp", 300, 200, 3, "uint8", 1)),
            (pictures.webp(RGB, orientation=5), ("webp", 300, 200, 3, "uint8", 5)),
            (pictures.tiff(RGB.astype(np.float32), photometric="rgb"), ("tiff", 300, 200, 3, "float32", 1)),
        ],
    )
    def test_the_header_tells(self, data: bytes, expected: tuple[Any, ...]) -> None:
        header = probe(data)
        told = (header.format, header.width, header.height, header.bands, header.dtype, header.orientation)
        assert told == expected

    def test_what_it_would_take_in_memory(self) -> None:
        assert probe(pictures.png(RGB.astype(np.uint16))).decoded_bytes == 300 * 200 * 3 * 2


class TestFromAFile:
    """By its path a file is what its bytes are, whole, cut or refused, and no more of it is read than is needed."""

    @pytest.mark.parametrize("kind", WHOLE)
    def test_the_same_pixels(self, kind: str, tmp_path: Path) -> None:
        path = tmp_path / "picture"
        path.write_bytes(WHOLE[kind])
        assert (decode(path).rgb == decode(WHOLE[kind]).rgb).all()
        assert probe(path) == probe(WHOLE[kind])

    @pytest.mark.parametrize("kind", [*WHOLE, "empty", "text", "zeros"])
    @pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
    def test_the_same_failures(self, kind: str, share: float, tmp_path: Path) -> None:
        whole = WHOLE.get(kind, {"empty": b"", "text": b"no picture", "zeros": bytes(5000)}.get(kind, b""))
        cut = whole if kind not in WHOLE else whole[: int(len(whole) * share)]
        path = tmp_path / "picture"
        path.write_bytes(cut)
        with pytest.raises(ItemError) as caught:
            decode(path)
        expected = failure(cut)
        assert (caught.value.code, caught.value.message) == (expected.code, expected.message)

    def test_the_header_of_gigabytes_costs_nothing(self, tmp_path: Path) -> None:
        path = tmp_path / "large.tif"
        path.write_bytes(pictures.tiff(RGB, photometric="rgb", tile=(64, 64)))
        with path.open("r+b") as file:
            file.truncate(3 << 30)
        tracemalloc.start()
        assert probe(path).width == 300
        assert decode(path).rgb.size == RGB.size
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 5_000_000

    def test_its_size_is_looked_at_first(self, tmp_path: Path) -> None:
        path = tmp_path / "large"
        path.touch()
        os.truncate(path, Limits().max_bytes + 1)
        with pytest.raises(ItemError, match="The option max_bytes raises it") as caught:
            decode(path)
        assert caught.value.code == "too_large"
