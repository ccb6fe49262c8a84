"""Compressions of which a TIFF says more than its decoder asks: held against GDAL, whole and by windows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from rasterio.io import MemoryFile
from tests.gpuworker import pictures
from tests.gpuworker.images.tiff import writer as tw

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode
from gpuworker.tasks.segment.opening import open_scene
from gpuworker.tiles.scene import grid
from gpuworker.tiles.windowed import WindowedScene

RGB = pictures.scene(128, 128)
COLLAR = 32
SEEN = np.arange(128)[:, None].repeat(128, 1) >= COLLAR

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def by_gdal(bands: Sequence[NDArray[Any]], **options: Any) -> bytes:
    height, width = bands[0].shape
    with MemoryFile() as memory:
        with memory.open(
            driver="GTiff", count=len(bands), height=height, width=width, dtype=bands[0].dtype, **options
        ) as out:
            out.write(np.stack(bands))
        return bytes(memory.read())


def seen_by_gdal(data: bytes) -> NDArray[Any]:
    with MemoryFile(data) as memory, memory.open() as opened:
        return np.moveaxis(opened.read(), 0, -1)


def by_windows(data: bytes) -> NDArray[np.uint8]:
    """H×W×3, of which only what means something is drawn."""
    scene = open_scene(data, Options(tile_size=64), name="a.tif", windows_from_bytes=0)
    assert isinstance(scene, WindowedScene)
    rgb = np.zeros((scene.height, scene.width, 3), np.uint8)
    for window in grid(scene.height, scene.width, side=64, overlap=0.1):
        part = scene.read(window)
        if part is not None:
            rgb[window.top : window.bottom, window.left : window.right] = part.rgb
    return rgb


def with_tag(data: bytes, code: int, value: int) -> bytes:
    """The same little-endian file, one short tag of its first directory changed."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        at = file.pages.first.tags[code].valueoffset
    return data[:at] + value.to_bytes(2, "little") + data[at + 2 :]


@pytest.mark.parametrize("compression", ["group3", "group4", "tiff_ccitt"])
def test_a_fax_is_black_on_white_by_windows_too(compression: str) -> None:
    out = io.BytesIO()
    Image.fromarray(RGB[:, :, 0] > 100).save(out, "TIFF", compression=compression)
    data = out.getvalue()
    assert np.array_equal(decode(data).rgb[:, :, 0], np.where(RGB[:, :, 0] > 100, 255, 0))
    assert np.array_equal(by_windows(data), decode(data).rgb)


@pytest.mark.parametrize("layout", [{"tiled": True, "blockxsize": 64, "blockysize": 64}, {}], ids=["tiles", "strips"])
def test_three_bands_in_jpeg_are_no_luminance_and_colour_differences(layout: dict[str, Any]) -> None:
    bands = list(np.moveaxis(RGB, -1, 0))
    data = by_gdal(bands, compress="jpeg", photometric="minisblack", interleave="pixel", **layout)
    assert np.abs(decode(data).rgb.astype(int) - seen_by_gdal(data)).max() <= 1
    assert np.array_equal(by_windows(data), decode(data).rgb)


@pytest.mark.parametrize("kind", ["cielab", "icclab"])
def test_lab_in_jpeg_is_refused(kind: str) -> None:
    data = by_gdal(list(np.moveaxis(RGB, -1, 0)), compress="jpeg", photometric=kind, interleave="pixel")
    with pytest.raises(ItemError, match="LAB") as caught:
        decode(data)
    assert caught.value.code == "unsupported"


def test_planes_of_luminance_in_jpeg_are_refused() -> None:
    data = by_gdal(list(np.moveaxis(RGB, -1, 0)), compress="jpeg", photometric="rgb", interleave="band")
    with pytest.raises(ItemError, match="YCBCR") as caught:
        decode(with_tag(data, 262, tw.YCBCR))
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize("code", [32_766, 32_809, 34_661, 12_345])
def test_a_compression_that_nobody_knows_is_no_damage(code: int) -> None:
    page = tw.Page(samples=RGB, photometric=tw.RGB)
    with pytest.raises(ItemError, match="compression") as caught:
        decode(with_tag(tw.tiff([page]), 259, code))
    assert caught.value.code == "unsupported"


def test_slides_in_jpeg_2000_are_in_luminance_and_colour_difference() -> None:
    ycc = np.asarray(Image.fromarray(RGB).convert("YCbCr"))
    data = pictures.tiff(ycc, photometric="rgb", compression="aperio_jp2000_rgb", compressionargs={"level": 0})
    assert np.array_equal(decode(data).rgb, ycc)
    slide = with_tag(data, 259, 33_003)
    assert np.abs(decode(slide).rgb.astype(int) - RGB).max() <= 3
    assert np.array_equal(by_windows(slide), decode(slide).rgb)


class TestLerc:
    @pytest.mark.parametrize("compression", ["lerc", "lerc_deflate", "lerc_zstd"])
    @pytest.mark.parametrize("interleave", ["pixel", "band"])
    def test_what_is_no_number_stays_none(self, compression: str, interleave: str) -> None:
        bands = [np.where(SEEN, band / np.float32(255), np.nan).astype(np.float32) for band in np.moveaxis(RGB, -1, 0)]
        plain = by_gdal(bands, interleave=interleave)
        data = by_gdal(bands, interleave=interleave, compress=compression)
        assert np.isnan(seen_by_gdal(data)).mean() == 0.25
        assert np.array_equal(decode(data).rgb, decode(plain).rgb)
        assert np.array_equal(by_windows(data), decode(data).rgb)

    @pytest.mark.parametrize("compression", ["lerc", "lerc_deflate", "lerc_zstd"])
    @pytest.mark.parametrize("collar", [COLLAR, 0])
    def test_opacity_lies_beside_the_bands(self, compression: str, collar: int) -> None:
        opacity = np.where(np.arange(128)[:, None].repeat(128, 1) >= collar, 255, 0).astype(np.uint8)
        bands = [*np.moveaxis(RGB, -1, 0), opacity]
        layout = {"tiled": True, "blockxsize": 64, "blockysize": 64}
        data = by_gdal(bands, compress=compression, photometric="rgb", alpha="yes", interleave="pixel", **layout)
        assert np.array_equal(decode(data).rgb, np.where(opacity[:, :, None] > 0, RGB, 255))
        assert np.array_equal(by_windows(data)[collar:], decode(data).rgb[collar:])


def test_a_file_that_does_not_list_all_of_its_strips_is_told_from_a_whole_one() -> None:
    page = tw.Page(samples=RGB, photometric=tw.RGB, rows_per_strip=32, compression=tw.DEFLATE)
    data = bytearray(tw.tiff([page]))
    with tifffile.TiffFile(io.BytesIO(bytes(data))) as file:
        counts = [file.pages.first.tags[code].offset + 4 for code in (273, 279)]  # of offsets and of sizes
    for at in counts:
        data[at : at + 4] = (2).to_bytes(4, "little")
    with pytest.raises(ItemError, match="lists 2 of 4 strips") as caught:
        decode(bytes(data))
    assert caught.value.code == "truncated"
