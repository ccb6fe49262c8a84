"""Decoding: formats, depths, bands, compressions and orientations give the pixels that were put in."""

from __future__ import annotations

import io
import zlib
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tests.gpuworker import pictures

from gpuworker.images.decoding import Image, Limits, decode, decoding_bytes, probe
from gpuworker.images.rendering import stretched

RGB = pictures.scene()


def close(image: Image, expected: NDArray[Any], tolerance: int = 0) -> bool:
    """Whether the pixels are `expected`, and the image says so of its size."""
    assert (image.height, image.width) == expected.shape[:2]
    assert image.rgb.shape == expected.shape
    assert image.rgb.flags.c_contiguous
    return bool(np.abs(image.rgb.astype(int) - expected).max() <= tolerance)


class TestCommonFormats:
    def test_a_png_keeps_every_pixel(self) -> None:
        assert close(decode(pictures.png(RGB)), RGB)

    def test_a_lossless_webp_keeps_every_pixel(self) -> None:
        assert close(decode(pictures.webp(RGB)), RGB)

    def test_a_lossy_webp_and_a_jpeg_come_close(self) -> None:
        smooth = RGB.copy()
        smooth[:, :, 2] = 0
        assert close(decode(pictures.jpeg(smooth)), smooth, tolerance=12)
        assert close(decode(pictures.webp(smooth, quality=95)), smooth, tolerance=24)

    def test_grey_becomes_three_equal_bands(self) -> None:
        image = decode(pictures.png(RGB[:, :, 0]))
        assert close(image, np.repeat(RGB[:, :, :1], 3, axis=2))
        assert image.bands == 1

    def test_sixteen_bit_png_is_stretched(self) -> None:
        deep = RGB[:, :, 0].astype(np.uint16) * 16
        image = decode(pictures.png(deep))
        assert image.dtype == "uint16"
        assert image.rgb.min() == 0
        assert image.rgb.max() == 255

    def test_transparent_pixels_become_white(self) -> None:
        rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
        rgba[:10, :, 3] = 0
        for data in (pictures.png(rgba), pictures.webp(rgba)):
            image = decode(data)
            assert (image.rgb[:10] == 255).all()
            assert (image.rgb[10:] == RGB[10:]).all()

    def test_a_cmyk_jpeg_comes_out_as_rgb(self) -> None:
        ink = np.zeros((32, 32, 4), np.uint8)
        ink[:, :, 0] = 255
        data = bytes(imagecodecs.jpeg8_encode(255 - ink, level=95, colorspace="CMYK", outcolorspace="CMYK"))
        image = decode(data)
        assert image.bands == 4
        assert image.rgb.shape == (32, 32, 3)

    def test_a_palette_png_with_transparency(self) -> None:
        header = b"\x89PNG\r\n\x1a\n" + pictures.png_chunk(b"IHDR", bytes([0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0]))
        palette = pictures.png_chunk(b"PLTE", bytes([200, 10, 20, 1, 2, 3])) + pictures.png_chunk(b"tRNS", b"\xff\0")
        pixels = pictures.png_chunk(b"IDAT", zlib.compress(b"\0\0\1")) + pictures.png_chunk(b"IEND", b"")
        data = header + palette + pixels
        assert decode(data).rgb.tolist() == [[[200, 10, 20], [255, 255, 255]]]

    @pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
    def test_a_grey_png_that_names_a_grey_for_what_is_transparent(self, depth: int) -> None:
        header = pictures.png_chunk(b"IHDR", bytes([0, 0, 0, 16, 0, 0, 0, 2, depth, 0, 0, 0, 0]))
        named = pictures.png_chunk(b"tRNS", (1).to_bytes(2))
        one = (1).to_bytes(2) if depth == 16 else bytes([sum(1 << i for i in range(0, 8, depth))])
        rows = b"\0" + bytes(2 * depth) + b"\0" + one * (2 * depth // len(one))
        pixels = pictures.png_chunk(b"IDAT", zlib.compress(rows)) + pictures.png_chunk(b"IEND", b"")
        image = decode(b"\x89PNG\r\n\x1a\n" + header + named + pixels)
        assert (image.rgb[0] == 0).all()
        assert (image.rgb[1] == 255).all()


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_format_is_turned_upright(self, orientation: int) -> None:
        stored = pictures.stored_as(RGB, orientation)
        smooth = RGB.copy()
        smooth[:, :, 2] = 0
        assert close(decode(pictures.png(stored, orientation=orientation)), RGB)
        assert close(decode(pictures.webp(stored, orientation=orientation)), RGB)
        assert close(
            decode(pictures.jpeg(pictures.stored_as(smooth, orientation), orientation=orientation)),
            smooth,
            tolerance=12,
        )
        tag = (274, "H", 1, orientation, True)
        assert close(decode(pictures.tiff(np.ascontiguousarray(stored), photometric="rgb", extratags=[tag])), RGB)

    def test_big_endian_exif(self) -> None:
        data = pictures.jpeg(pictures.stored_as(RGB, 6), orientation=6, order=">")
        assert probe(data).orientation == 6

    @pytest.mark.parametrize("nonsense", [0, 9, 77])
    def test_an_orientation_that_means_nothing_is_ignored(self, nonsense: int) -> None:
        assert close(decode(pictures.png(RGB, orientation=nonsense)), RGB)

    def test_a_damaged_exif_block_is_ignored(self) -> None:
        data = pictures.jpeg(RGB, orientation=6)
        broken = data.replace(pictures.exif(6), b"II*\0" + b"\xff" * (len(pictures.exif(6)) - 4))
        assert probe(broken).orientation == 1

    def test_a_georeferenced_tiff_stays_as_its_tags_say(self) -> None:
        tags = [(274, "H", 1, 6, True), (33550, "d", 3, (0.1, 0.1, 0.0), True)]
        assert close(decode(pictures.tiff(RGB, photometric="rgb", extratags=tags)), RGB)


TIFF_LAYOUTS: list[dict[str, Any]] = [
    {},
    {"compression": "lzw"},
    {"compression": "zlib"},
    {"compression": "zlib", "predictor": 2},
    {"compression": "packbits"},
    {"compression": "zstd"},
    {"tile": (16, 32)},
    {"tile": (16, 32), "compression": "lzw"},
    {"rowsperstrip": 5, "compression": "zlib"},
    {"planarconfig": "separate"},
    {"planarconfig": "separate", "tile": (16, 16), "compression": "zlib"},
    {"bigtiff": True},
    {"bigtiff": True, "tile": (16, 16), "compression": "zlib"},
    {"byteorder": ">"},
]


class TestTiff:
    @pytest.mark.parametrize("layout", TIFF_LAYOUTS, ids=str)
    def test_eight_bit_rgb_keeps_every_pixel(self, layout: dict[str, Any]) -> None:
        pixels = RGB if layout.get("planarconfig") != "separate" else np.ascontiguousarray(RGB.transpose(2, 0, 1))
        assert close(decode(pictures.tiff(pixels, photometric="rgb", **layout)), RGB)

    @pytest.mark.parametrize("layout", TIFF_LAYOUTS, ids=str)
    @pytest.mark.parametrize("bands", [1, 2, 3, 4, 6])
    def test_sixteen_bits_of_any_number_of_bands(self, layout: dict[str, Any], bands: int) -> None:
        ramp = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)
        pixels = np.stack([ramp * (i + 1) for i in range(bands)], axis=2)
        stored = pixels if layout.get("planarconfig") != "separate" else np.ascontiguousarray(pixels.transpose(2, 0, 1))
        if bands == 1:
            data = pictures.tiff(ramp, photometric="minisblack", **layout | {"planarconfig": None})
        else:
            data = pictures.tiff(stored, photometric="minisblack", **{"planarconfig": "contig"} | layout)
        image = decode(data)
        assert (image.bands, image.dtype) == (bands, "uint16")
        for band in range(3):
            assert (image.rgb[:, :, band] == stretched(ramp * (band + 1 if bands >= 3 else 1))).all()

    def test_jpeg_in_tiff(self) -> None:
        smooth = RGB.copy()
        smooth[:, :, 2] = 0
        data = pictures.tiff(smooth, photometric="rgb", tile=(16, 16), compression="jpeg")
        assert close(decode(data), smooth, tolerance=30)

    def test_white_is_zero(self) -> None:
        grey = RGB[:, :, 0]
        assert close(decode(pictures.tiff(grey, photometric="miniswhite")), np.repeat(255 - grey[:, :, None], 3, 2))

    def test_one_bit(self) -> None:
        bits = RGB[:, :, 0] > 100
        expected = np.repeat(np.where(bits, 255, 0)[:, :, None], 3, 2)
        assert close(decode(pictures.tiff(bits, photometric="minisblack")), expected)

    def test_palette(self) -> None:
        colours = np.zeros((3, 256), np.uint16)
        colours[0, 7] = 65535
        colours[2, 9] = 65535
        index = np.array([[7, 9], [9, 0]], np.uint8)
        image = decode(pictures.tiff(index, photometric="palette", colormap=colours))
        assert image.rgb.tolist() == [[[255, 0, 0], [0, 0, 255]], [[0, 0, 255], [0, 0, 0]]]

    def test_float_with_nan_and_nodata(self) -> None:
        height = np.linspace(100, 200, 48 * 64, dtype=np.float32).reshape(48, 64)
        height[0, 0], height[0, 1] = np.nan, -9999
        data = pictures.tiff(height, photometric="minisblack", extratags=[(42113, "s", 0, "-9999", True)])
        image = decode(data)
        assert image.rgb[0, 0].tolist() == [0, 0, 0]
        assert image.rgb[0, 1].tolist() == [0, 0, 0]
        assert image.rgb[-1, -1].tolist() == [255, 255, 255]
        assert abs(int(image.rgb[24, 0, 0]) - 128) < 6

    def test_transparency_in_tiff_becomes_white(self) -> None:
        rgba = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)])
        rgba[5, 5, 3] = 0
        image = decode(pictures.tiff(rgba, photometric="rgb", extrasamples=["unassalpha"]))
        assert image.rgb[5, 5].tolist() == [255, 255, 255]
        assert image.rgb[6, 6].tolist() == RGB[6, 6].tolist()

    def test_a_fourth_band_that_is_no_transparency_is_left_out(self) -> None:
        bands = np.dstack([RGB, np.zeros(RGB.shape[:2], np.uint8)])
        assert close(decode(pictures.tiff(bands, photometric="rgb", extrasamples=["unspecified"])), RGB)

    def test_the_first_page_counts(self) -> None:
        out = io.BytesIO()
        with tifffile.TiffWriter(out) as writer:
            writer.write(RGB, photometric="rgb", metadata=None)
            writer.write(RGB[::2, ::2], photometric="rgb", metadata=None, subfiletype=1)
        assert close(decode(out.getvalue()), RGB)

    def test_geo_tags_are_carried(self) -> None:
        scale = (33550, "d", 3, (0.5, 0.5, 0.0), True)
        keys = (34735, "H", 4, (1, 1, 0, 0), True)
        image = decode(pictures.tiff(RGB, photometric="rgb", extratags=[scale, keys]))
        assert [(tag.code, tag.value) for tag in image.geo] == [(33550, (0.5, 0.5, 0.0)), (34735, (1, 1, 0, 0))]
        assert decode(pictures.tiff(RGB, photometric="rgb")).geo == ()


class TestReducedDecoding:
    @pytest.mark.parametrize(
        ("max_decode_px", "factor"), [(None, 1), (1600, 1), (801, 1), (800, 2), (500, 2), (400, 4), (200, 8), (10, 8)]
    )
    def test_the_long_side_stays_enough(self, max_decode_px: int | None, factor: int) -> None:
        rgb = pictures.scene(1203, 1600)
        for data in (pictures.jpeg(rgb), pictures.png(rgb)):
            image = decode(data, max_decode_px=max_decode_px)
            assert (image.height, image.width) == (1203, 1600)
            assert image.rgb.shape == (-(-1203 // factor), 1600 // factor, 3)

    def test_a_reduced_picture_is_turned_too(self) -> None:
        stored = pictures.stored_as(pictures.scene(600, 800), 6)
        image = decode(pictures.jpeg(stored, orientation=6), max_decode_px=400)
        assert (image.height, image.width, image.rgb.shape) == (600, 800, (300, 400, 3))
        assert image.rgb[-1, -1, 0] > 240
        assert image.rgb[0, -1, 1] < 15


class TestDecodingBytes:
    def test_it_covers_what_decoding_takes(self) -> None:
        rgb = pictures.scene(600, 800)
        pixels = 600 * 800
        making_a_picture = 6 * pixels + 256 * 800 * 20
        assert decoding_bytes(pictures.jpeg(rgb)) == 2 * 3 * pixels
        assert decoding_bytes(pictures.jpeg(rgb), max_decode_px=400) == 2 * 3 * pixels // 4
        assert decoding_bytes(pictures.jpeg(rgb, orientation=6)) == 2 * 3 * pixels
        assert decoding_bytes(pictures.png(rgb.astype(np.uint16))) == 6 * pixels + making_a_picture
        floats = pictures.tiff(rgb.astype(np.float32), photometric="rgb")
        assert decoding_bytes(floats) == 12 * pixels + making_a_picture

    def test_what_will_be_refused_takes_nothing(self) -> None:
        assert decoding_bytes(b"") == 0
        assert decoding_bytes(pictures.png(RGB)[:-5]) == 0
        assert decoding_bytes(pictures.png(RGB), Limits(max_pixels=10)) == 0
