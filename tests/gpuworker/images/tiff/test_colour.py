"""Photometric interpretations: converted, or refused by their name."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from tests.gpuworker import pictures
from tests.gpuworker.images.tiff import writer as tw

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import decode, probe

RGB = pictures.scene()
KIND = 262


def with_tag(data: bytes, code: int, value: int) -> bytes:
    """The same little-endian file, one short tag of its first directory changed."""
    at = data.index(struct.pack("<HHI", code, 3, 1), int.from_bytes(data[4:8], "little"))
    return data[: at + 8] + struct.pack("<H", value) + data[at + 10 :]


def refused(data: bytes) -> ItemError:
    with pytest.raises(ItemError) as caught:
        probe(data)
    return caught.value


@pytest.mark.parametrize("kind", [10, 32_844, 32_845, 32_803, 34_892, 51_177, 52_527, 999])
@pytest.mark.parametrize("samples", [RGB, RGB[:, :, 0]])
def test_what_is_not_known_is_refused_before_a_pixel_is_read(kind: int, samples: Any) -> None:
    data = with_tag(pictures.tiff(samples, photometric="rgb" if samples.ndim == 3 else "minisblack"), KIND, kind)
    error = refused(data)
    assert error.code == "unsupported"
    assert "Convert" in error.message or "develop" in error.message


def test_logluv_is_named() -> None:
    data = with_tag(pictures.tiff(RGB, photometric="rgb"), KIND, 32_845)
    assert "LOGLUV" in refused(data).message


@pytest.mark.parametrize(
    ("dtype", "kind"), [("uint16", "ycbcr"), ("float32", "cielab"), ("uint32", "icclab"), ("float32", "separated")]
)
def test_a_depth_at_which_a_kind_is_not_known_is_refused(dtype: str, kind: str) -> None:
    samples = np.zeros((8, 8, 4 if kind == "separated" else 3), dtype)
    options = {"subsampling": (1, 1)} if kind == "ycbcr" else {}
    assert refused(pictures.tiff(samples, photometric=kind, **options)).code == "unsupported"


def test_inks_of_another_set_are_no_cmyk() -> None:
    samples = np.zeros((8, 8, 4), np.uint8)
    data = pictures.tiff(samples, photometric="separated", extratags=[(332, "H", 1, 2, True)])
    assert "inks" in refused(data).message
    three = with_tag(pictures.tiff(samples[:, :, :3], photometric="rgb"), KIND, 5)
    assert refused(three).code == "unsupported"


def test_a_file_that_says_nothing_is_taken_as_gdal_takes_it() -> None:
    data = pictures.tiff(RGB, photometric="rgb")
    assert (decode(with_tag(data, KIND, 1)).rgb == RGB).all()
    start = int.from_bytes(data[4:8], "little")
    at = data.index(struct.pack("<HHI", KIND, 3, 1), start)
    # Another tag that nobody reads stands in its place.
    assert (decode(data[:at] + struct.pack("<H", 263) + data[at + 2 :]).rgb == RGB).all()


def test_a_palette_of_bytes_is_one_all_the_same() -> None:
    colours = np.zeros((3, 256), np.uint16)
    colours[:, 7] = (200, 100, 50)
    data = pictures.tiff(np.full((2, 2), 7, np.uint8), photometric="palette", colormap=colours)
    assert decode(data).rgb[0, 0].tolist() == [200, 100, 50]


def test_ycbcr_by_its_own_coefficients_and_range() -> None:
    samples = np.full((4, 4, 3), (235, 128, 128), np.uint8)  # white of video
    numbers = [(532, 5, 6, (16, 1, 235, 1, 128, 1, 240, 1, 128, 1, 240, 1), True)]
    data = pictures.tiff(samples, photometric="ycbcr", subsampling=(1, 1), extratags=numbers)
    assert decode(data).rgb[0, 0].tolist() == [255, 255, 255]


def test_sixteen_bits_of_lab() -> None:
    grey = np.zeros((2, 2, 3), np.uint16)
    grey[:, :, 0] = 65_535
    assert (decode(pictures.tiff(grey, photometric="cielab")).rgb == 255).all()
    icc = np.full((2, 2, 3), 0x8000, np.uint16)
    icc[:, :, 0] = 0xFF00
    assert (decode(pictures.tiff(icc, photometric="icclab")).rgb == 255).all()


@pytest.mark.parametrize("bits", [2, 4, 8, 12, 16])
@pytest.mark.parametrize("white_is_zero", [True, False])
def test_white_is_white_at_every_depth(bits: int, white_is_zero: bool) -> None:
    most = (1 << bits) - 1
    samples = np.zeros((6, 8, 1), np.uint8 if bits <= 8 else np.uint16)
    samples[:, 4:] = most
    kind = tw.WHITE_IS_0 if white_is_zero else tw.BLACK_IS_0
    page = tw.Page(samples=samples, photometric=kind, bits=bits if bits not in (8, 16) else 0)
    right = np.repeat([[0] * 4 + [255] * 4], 6, axis=0)
    rgb = decode(tw.tiff([page])).rgb[:, :, 0]
    assert (rgb == (255 - right if white_is_zero else right)).all()
