"""The nodata tag, held against GDAL's own mask."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.io import MemoryFile
from tests.gpuworker import pictures

from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode
from gpuworker.images.nodata import has_value, nodata_of
from gpuworker.tasks.segment.opening import open_scene

LOWEST = float(np.finfo(np.float32).max)
TAG = 42113


def tagged(samples: Any, text: str, **options: Any) -> bytes:
    extra = [(TAG, "s", 0, text, True)]
    return pictures.tiff(samples, photometric="minisblack", extratags=extra, **options)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("dtype", "text", "values"),
    [
        ("float32", "-3.40282e+38", [-LOWEST, -3.40282e38, 0, 1]),
        ("float32", "-3.402823e+38", [-LOWEST, 0]),
        ("float32", "-3.4028234663852886e+38", [-LOWEST, 0]),
        ("float32", "3.40282e+38", [LOWEST, 0]),
        ("float32", "0.1", [0.1, 0.1000001, 0.100001, 0.1001]),
        ("float32", "-9999.9", [-9999.9, -9999.8, 3]),
        ("float32", " -9999\n", [-9999, 1]),
        ("float32", "-9999,5", [-9999, -9999.5]),
        ("float64", "-1.79769e+308", [-np.finfo(np.float64).max, 0]),
        ("float64", "-9999.9", [np.float32(-9999.9), -9999.9, -9999.8]),
        ("uint8", "255.0", [255, 0]),
        ("uint8", "-9999", [0, 241, 255]),
        ("uint8", "256", [0, 255]),
        ("uint8", "1e2", [100, 1]),
        ("uint16", "65535", [65_535, 65_534]),
        ("int16", "-32768.0", [-32_768, 0]),
        ("int16", "32768", [32_767, -32_768]),
        ("int32", "-2147483648", [-2_147_483_648, 0]),
        ("int32", "-3.40282e+38", [-2_147_483_648, 0]),
    ],
)
def test_a_sample_is_nodata_where_gdal_takes_it_for_that(dtype: str, text: str, values: list[float]) -> None:
    samples = np.array([values], dtype)
    with MemoryFile(tagged(samples, text)) as memory, memory.open() as opened:
        right = opened.read_masks(1) > 0
    found = has_value(samples, nodata_of(text))
    assert (np.ones(samples.shape, bool) if found is None else found).tolist() == right.tolist()


@pytest.mark.parametrize("text", ["nan", "-nan", "1.#QNAN", "inf", "", "none", "\0"])
def test_what_is_no_number_is_no_value_either(text: str) -> None:
    samples = np.array([[np.nan, np.inf, -np.inf, 0, 1, 7]], np.float32)
    found = has_value(samples, nodata_of("nan" if text == "\0" else text))
    assert found is not None
    assert found.tolist()[0][:3] == [False] * 3
    assert found.tolist()[0][-1]


@pytest.mark.parametrize("text", ["-3.4e+38", "-3.403e+38", "-3.40282346638529e+038"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_lowest_float_may_be_written_with_any_digits(text: str, dtype: str) -> None:
    samples = np.array([[-LOWEST, -1e30, 0]], dtype)
    found = has_value(samples, nodata_of(text))
    assert found is not None
    assert found.tolist() == [[False, True, True]]


def test_whole_numbers_of_64_bits_are_exact() -> None:
    samples = np.array([[2**63 - 1, 2**63 - 2]], np.int64)
    found = has_value(samples, nodata_of(str(2**63 - 1)))
    assert found is not None
    assert found.tolist() == [[False, True]]


def test_a_value_that_one_band_lacks_does_not_darken_the_others() -> None:
    bands = np.full((20, 20, 3), 500.0, np.float32) + np.arange(400, dtype=np.float32).reshape(20, 20, 1)
    bands[:5, :, 0] = -9999  # a fourth of the red band alone
    rgb = decode(tagged(bands, "-9999", planarconfig="contig")).rgb
    assert rgb[5, 0, 0] <= 5
    assert rgb[19, 19, 0] == 255
    assert int(rgb[10, 10, 1]) == pytest.approx(134, abs=3)  # as without the missing values


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("side", [32, 64])
def test_an_internal_mask_is_the_same_by_windows(side: int) -> None:
    pixels = np.random.default_rng(2).integers(0, 255, (3, 64, 64), np.uint8)
    mask = np.zeros((64, 64), np.uint8)
    mask[10:50, 20:60] = 255
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
        with memory.open(
            driver="GTiff", width=64, height=64, count=3, dtype="uint8", tiled=True, **_blocks(side)
        ) as out:
            out.write(pixels)
            out.write_mask(mask)
        data = io.BytesIO(memory.read()).getvalue()
    scene: Any = open_scene(data, Options(), name="a.tif")
    assert (scene.valid_mask == (mask > 0)).all()
    assert not scene.notes.warnings


def _blocks(side: int) -> dict[str, int]:
    return {"blockxsize": side, "blockysize": side}


@pytest.mark.parametrize("windows_from_bytes", [0, 1 << 40])
def test_an_image_in_which_nothing_is_says_so(windows_from_bytes: int) -> None:
    nothing = np.full((64, 64), -9999, np.float32)
    for data in (tagged(nothing, "-9999", tile=(16, 16)), tagged(nothing * np.nan, "-9999", tile=(16, 16))):
        scene = open_scene(data, Options(tile_size=64), name="a.tif", windows_from_bytes=windows_from_bytes)
        assert scene.notes.warnings == ("blank",)
    nothing[60, 60] = 5
    scene = open_scene(tagged(nothing, "-9999", tile=(16, 16)), Options(), name="a.tif")
    assert not scene.notes.warnings
