"""What decoding takes, told by the header: never much less than was measured, and what a real file takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from tests.gpuworker import pictures
from tests.gpuworker.formats import by_pillow, heic
from tests.gpuworker.huge_png import png_of, write_png

from gpuworker.contract.items import ItemError
from gpuworker.images.decode_memory import bytes_by_blocks, bytes_by_cv2, bytes_of_tiff
from gpuworker.images.decoding import Limits, Opened, bytes_to_decode, decode
from gpuworker.images.headers import jpeg_header, png_header, webp_header
from gpuworker.images.rendering import Rendering
from gpuworker.images.tiff.blocks import Blocks
from gpuworker.images.tiff.file import Tiff

RGB = pictures.scene(400, 400)
PIXELS = 400 * 400
RGBA, DEEP = np.dstack([RGB, RGB[:, :, 0]]), RGB.astype(np.uint16) * 257
ROWS_AT_WORK = 20 * 256 / 400
"""Bytes a pixel of so small a picture; of the larger ones that were measured less than one."""


def _progressive(data: bytes) -> bytes:
    return data.replace(b"\xff\xc0", b"\xff\xc2", 1)


def _animated(webp: bytes) -> bytes:
    return webp[:20] + bytes([webp[20] | 0x12]) + webp[21:]


ACTL = pictures.png_chunk(b"acTL", bytes(8))


@pytest.mark.parametrize(
    ("data", "measured"),
    [
        (pictures.jpeg(RGB), 6.05),
        (_progressive(pictures.jpeg(RGB)), 9.04),
        (pictures.png(RGB), 6.05),
        (pictures.png(RGB[:, :, 0]), 6.05),
        (pictures.png(RGBA), 8.83),
        (pictures.png(DEEP), 12.06),
        (pictures.png(DEEP[:, :, 0]), 6.16),
        (pictures.png(np.dstack([DEEP, DEEP[:, :, 0]])), 16.04),
        (png_of(400, 400, b"x", 4), 8.82),
        (png_of(400, 400, b"x", 6, ACTL), 16.05),
        (png_of(400, 400, b"x", 2, ACTL), 12.12),
        (pictures.webp(RGB), 7.05),
        (pictures.webp(RGBA), 8.72),
        (_animated(pictures.webp(RGBA, orientation=1)), 12.07),
    ],
    ids=[
        *("jpeg", "progressive jpeg", "png", "grey png", "rgba png", "deep png", "deep grey png", "deep rgba png"),
        *("grey and alpha png", "animated rgba png", "animated png", "lossless webp", "rgba webp", "animated webp"),
    ],
)
def test_of_other_formats_it_is_what_was_measured(data: bytes, measured: float) -> None:
    header = {b"\xff": jpeg_header, b"\x89": png_header, b"R": webp_header}[data[:1]](data)
    assert 0.98 * measured <= bytes_by_cv2(header, Rendering(), 1) / PIXELS < 1.6 * measured + ROWS_AT_WORK


@pytest.mark.parametrize(
    ("data", "measured"),
    [
        (by_pillow(RGB, "AVIF", subsampling="4:2:0"), 17.64),
        (by_pillow(RGB, "AVIF"), 19.27),
        (by_pillow(RGBA, "AVIF", subsampling="4:2:0"), 32.85),
        (by_pillow(RGB, "JPEG2000"), 15.71),
        (by_pillow(RGBA, "JPEG2000"), 22.63),
        (bytes(imagecodecs.jpeg2k_encode(DEEP, level=60)), 18.63),
        (by_pillow(RGB, "BMP"), 6.3),
    ],
    ids=["avif", "avif 4:4:4", "avif with alpha", "jpeg 2000", "jpeg 2000 with alpha", "deep jpeg 2000", "bmp"],
)
def test_of_newer_formats_it_is_what_was_measured(data: bytes, measured: float) -> None:
    opened = Opened.of(data)
    needed = bytes_to_decode(opened, Limits(), max_decode_px=None, rendering=Rendering())
    assert 0.95 * measured <= needed / PIXELS < 1.6 * measured + ROWS_AT_WORK


@pytest.mark.parametrize(
    ("pixels", "mode", "chroma", "measured"),
    [
        (RGB, "RGB", 420, 5.36),
        (RGB, "RGB", 444, 9.94),
        (RGBA, "RGBA", 420, 10.24),
        (DEEP, "RGB;16", 420, 8.12),
        (DEEP, "RGB;16", 444, 15.82),
        (np.dstack([DEEP, DEEP[:, :, 0]]), "RGBA;16", 444, 20.83),
    ],
    ids=["quarter colours", "whole colours", "alpha", "deep", "deep whole colours", "deep with alpha"],
)
def test_of_heic_it_is_what_was_measured(pixels: Any, mode: str, chroma: int, measured: float) -> None:
    pytest.importorskip("pillow_heif")
    opened = Opened.of(heic(pixels, mode=mode, chroma=chroma))
    needed = bytes_to_decode(opened, Limits(), max_decode_px=None, rendering=Rendering())
    assert 0.98 * measured <= needed / PIXELS < 1.6 * measured + ROWS_AT_WORK


def test_a_progressive_jpeg_is_not_cheaper_for_being_reduced() -> None:
    header = jpeg_header(_progressive(pictures.jpeg(RGB)))
    assert bytes_by_cv2(header, Rendering(), 8) >= 2 * 3 * PIXELS


def test_a_jpeg_whose_bands_come_one_after_another_is_like_a_progressive_one() -> None:
    data = bytearray(pictures.jpeg(RGB))
    data[data.find(b"\xff\xda") + 4] = 1
    assert jpeg_header(bytes(data)).extra_bytes == 2 * 3 * PIXELS


def test_bands_that_are_chosen_or_stretched_need_a_second_picture() -> None:
    header = png_header(pictures.png(RGB))
    for rendering in (Rendering(bands=(3, 2, 1)), Rendering(stretch="minmax")):
        assert bytes_by_cv2(header, rendering, 1) > bytes_by_cv2(header, Rendering(), 1)


@pytest.mark.parametrize(
    ("pixels", "options", "measured"),
    [
        (RGB.astype(np.float32), {"photometric": "rgb", "compression": "zlib"}, 24.0),
        (np.dstack([DEEP, DEEP[:, :, 0]]), {"photometric": "minisblack", "planarconfig": "contig"}, 8 + 4),
        (RGBA, {"photometric": "separated", "compression": "zlib"}, 18.02),
        (RGB[:, :, 0].astype(np.float32), {"photometric": "miniswhite", "compression": "zlib"}, 9.1),
        (RGB, {"photometric": "rgb", "compression": "jpeg2000"}, 15.95),
        (DEEP, {"photometric": "rgb", "compression": "jpeg2000"}, 20.97),
    ],
    ids=["floats", "four plain bands", "cmyk", "white is 0", "jpeg 2000", "deep jpeg 2000"],
)
def test_of_tiffs_it_is_what_was_measured(pixels: Any, options: Any, measured: float) -> None:
    layout = {"tile": (400, 400)} if options.get("compression") == "jpeg2000" else {"rowsperstrip": 400}
    tiff = Tiff(pictures.tiff(pixels, **options, **layout))
    assert 0.98 * measured <= bytes_of_tiff(tiff, Rendering()) / PIXELS < 1.6 * measured + ROWS_AT_WORK


@pytest.mark.parametrize("dtype", ["int8", "uint16", "float16", "int32", "uint64", "int64", "float64", "complex64"])
def test_a_sample_counts_with_all_its_bytes(dtype: str) -> None:
    tiff = Tiff(pictures.tiff(np.zeros((16, 16), dtype), photometric="minisblack"))
    assert tiff.header.decoded_bytes == 16 * 16 * np.dtype(dtype).itemsize


@pytest.mark.parametrize(("rows", "bands", "measured"), [(1, 3, 105), (64, 4, 33)], ids=["thin strips", "opacity"])
def test_the_sample_that_tells_the_brightness_counts(rows: int, bands: int, measured: int) -> None:
    """Measured as VmHWM with 4,000x4,000 floats, in megabytes beside the picture."""
    page = np.broadcast_to(np.float32(0), (4000, 4000, bands))
    options = {"extrasamples": ["unassalpha"]} if bands == 4 else {}
    data = pictures.tiff(page, photometric="rgb", compression="zlib", rowsperstrip=rows, **options)
    blocks = Blocks(Tiff(data), Rendering())
    assert 0.98 * measured <= blocks.sampled_bytes / 1e6 < 1.8 * measured
    assert bytes_by_blocks(Tiff(data).header, blocks) > 48_000_000 + blocks.sampled_bytes


def test_a_tile_larger_than_its_image_counts_with_all_its_samples() -> None:
    tiff = Tiff(pictures.tiff(RGB, photometric="rgb", tile=(4096, 4096), compression="zlib"))
    assert bytes_of_tiff(tiff, Rendering()) > 3 * 4096**2


class TestAgainstASmallBudget:
    @pytest.mark.parametrize("data", [pictures.jpeg(RGB), pictures.png(RGB), pictures.webp(RGB)])
    def test_the_same_file_is_decoded_or_refused_by_the_memory_there_is(self, data: bytes) -> None:
        assert decode(data, Limits(memory_bytes=8 * PIXELS)).rgb.size == RGB.size
        with pytest.raises(ItemError, match=r"400×400 pixels .* needs 0.01 GB of memory, .* had 0.00 GB") as caught:
            decode(data, Limits(memory_bytes=5 * PIXELS))
        assert caught.value.code == "too_large"

    def test_a_jpeg_that_is_reduced_while_it_is_decoded_fits(self) -> None:
        limits = Limits(memory_bytes=PIXELS)
        assert decode(pictures.jpeg(RGB), limits, max_decode_px=50).rgb.shape == (50, 50, 3)

    def test_a_number_that_a_person_has_set_is_all_that_counts(self) -> None:
        assert decode(pictures.png(RGB), Limits(max_pixels=PIXELS, memory_bytes=1)).rgb.size == RGB.size


def decoded_alone(path: Path, memory_bytes: int) -> dict[str, Any]:
    """What became of a file in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.gpuworker.huge_png", str(path), str(memory_bytes)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path.cwd()), *filter(None, sys.path)])},
        capture_output=True,
        check=True,
    )
    said: dict[str, Any] = json.loads(done.stdout)
    return said


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the most memory held is told by /proc")
class TestFourHundredMegapixelsInAMegabyte:
    def test_it_costs_nothing_where_there_is_no_memory_for_it(self, tmp_path: Path) -> None:
        write_png(tmp_path / "huge.png")
        assert (tmp_path / "huge.png").stat().st_size < 1_500_000
        said = decoded_alone(tmp_path / "huge.png", 2_000_000_000)
        assert said["became"].startswith("too_large: the image has 20000×20000 pixels (400 megapixels); decoding it ")
        assert "needs 2.40 GB of memory, and this worker had 2.00 GB" in said["became"]
        assert said["grown_bytes"] < 20_000_000

    @pytest.mark.exhaustive
    def test_it_takes_what_was_foretold_where_there_is(self, tmp_path: Path) -> None:
        write_png(tmp_path / "huge.png")
        said = decoded_alone(tmp_path / "huge.png", 3_000_000_000)
        assert said["became"] == "(20000, 20000, 3)"
        assert 0.9 * said["expected_bytes"] < said["grown_bytes"] < 1.03 * said["expected_bytes"] < 2_500_000_000
