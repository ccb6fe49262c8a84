"""JPEG 2000 in boxes and without, of any depth up to 16 bits, held against Pillow; cut ones are refused."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio.shutil
from PIL import Image
from rasterio.io import MemoryFile
from tests.gpuworker import pictures
from tests.gpuworker.formats import box, by_pillow, seen_by_pillow, with_jp2_boxes

from gpuworker.contract.items import ItemError
from gpuworker.images.decoding import decode, probe
from gpuworker.images.rendering import Rendering, stretched

RGB = pictures.scene()
ALPHA = np.where(RGB[:, :, 0] < 60, 0, 255).astype(np.uint8)
JP2, J2K = by_pillow(RGB, "JPEG2000"), by_pillow(RGB, "JPEG2000", no_jp2=True)


def encoded(pixels: Any, **options: Any) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, **options))


@pytest.mark.parametrize(
    "data",
    [
        JP2,
        J2K,
        by_pillow(RGB[:, :, 0], "JPEG2000"),
        by_pillow(np.dstack([RGB, ALPHA]), "JPEG2000"),
        by_pillow(np.asarray(Image.fromarray(np.dstack([RGB, ALPHA])).convert("LA")), "JPEG2000"),
        by_pillow(RGB, "JPEG2000", tile_size=(16, 16)),
        by_pillow(np.asarray(Image.fromarray(RGB)), "JPEG2000", irreversible=True),
    ],
    ids=["jp2", "codestream", "grey", "rgba", "grey and alpha", "tiles", "lossy"],
)
def test_it_is_read_as_pillow_reads_it(data: bytes) -> None:
    image = decode(data)
    assert (image.height, image.width) == RGB.shape[:2]
    assert np.abs(image.rgb.astype(int) - seen_by_pillow(data)).max() <= 1


def test_ycc_becomes_rgb() -> None:
    out = io.BytesIO()
    Image.fromarray(RGB).convert("YCbCr").save(out, "JPEG2000")
    assert np.abs(decode(out.getvalue()).rgb.astype(int) - RGB).max() <= 3


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_deep_samples_are_stretched_like_any(bits: int) -> None:
    deep = (RGB[:, :, 0].astype(np.uint32) * ((1 << bits) - 1) // 255).astype(np.uint16)
    image = decode(encoded(deep, bitspersample=bits))
    assert image.dtype == "uint16"
    assert np.array_equal(image.rgb[:, :, 0], stretched(deep))


@pytest.mark.parametrize("bits", [1, 4])
def test_shallow_samples_fill_a_byte(bits: int) -> None:
    shallow = RGB[:, :, 0] >> (8 - bits)
    image = decode(encoded(shallow, bitspersample=bits))
    assert np.array_equal(image.rgb[:, :, 0], shallow * (255 // ((1 << bits) - 1)))


def test_transparency_of_ten_bits_is_as_opaque_as_it_says() -> None:
    deep = np.dstack([RGB, np.full(RGB.shape[:2], 255, np.uint8)]).astype(np.uint32) * 1023 // 255
    cdef = struct.pack(">H", 4) + b"".join(struct.pack(">HHH", i, i == 3, (i + 1) % 4) for i in range(4))
    plain = encoded(deep.astype(np.uint16), bitspersample=10, codecformat="jp2")
    data = plain if b"cdef" in plain else with_jp2_boxes(plain, box(b"cdef", cdef))
    assert probe(data).bands == 4
    expected = np.stack([stretched(deep[:, :, i].astype(np.uint16)) for i in range(3)], axis=2)
    assert np.array_equal(decode(data).rgb, expected)


def test_a_palette_is_looked_up() -> None:
    index = (RGB[:, :, 0] // 64).astype(np.uint8)
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    pclr = box(b"pclr", struct.pack(">HB3B", 4, 3, 7, 7, 7) + colours.tobytes())
    cmap = box(b"cmap", b"".join(struct.pack(">HBB", 0, 1, i) for i in range(3)))
    data = with_jp2_boxes(by_pillow(index, "JPEG2000"), pclr, cmap, space=16)
    assert probe(data).bands == 3
    assert np.array_equal(decode(data).rgb, colours[index])


def test_bands_are_chosen() -> None:
    image = decode(JP2, rendering=Rendering(bands=(3, 2, 1)))
    assert np.array_equal(image.rgb, RGB[:, :, ::-1])


@pytest.mark.parametrize(
    "data",
    [
        with_jp2_boxes(by_pillow(np.dstack([RGB, ALPHA]), "JPEG2000"), space=12),
        with_jp2_boxes(JP2, space=14),
        J2K.replace(b"\x07\x01\x01", b"\x07\x02\x02", 2),
        J2K.replace(b"\x07\x01\x01", b"\x19\x01\x01", 1),
    ],
    ids=["cmyk", "lab", "subsampled", "26 bits"],
)
def test_what_would_come_out_in_other_colours_is_unsupported(data: bytes) -> None:
    with pytest.raises(ItemError) as caught:
        decode(data)
    assert caught.value.code == "unsupported"


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_opacity_in_a_single_bit_is_unsupported(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    with MemoryFile() as memory:
        with memory.open(driver="GTiff", width=64, height=48, count=4, dtype="uint8", alpha="yes") as out:
            out.write(np.moveaxis(np.dstack([RGB, ALPHA]), -1, 0))
        with memory.open() as source:
            rasterio.shutil.copy(source, path, driver="JP2OpenJPEG", **{"1BIT_ALPHA": "YES"})
    with pytest.raises(ItemError, match="differ in depth") as caught:
        decode(path)
    assert caught.value.code == "unsupported"


@pytest.mark.parametrize(
    "data", [JP2, J2K, by_pillow(RGB, "JPEG2000", tile_size=(16, 16))], ids=["jp2", "j2k", "tiles"]
)
def test_a_file_that_is_cut_anywhere_is_truncated(data: bytes) -> None:
    for length in [*range(12, len(data), 17), len(data) - 2, len(data) - 1]:
        with pytest.raises(ItemError) as caught:
            probe(data[:length])
        assert caught.value.code == "truncated", length
    assert np.array_equal(decode(data + b"tail").rgb, decode(data).rgb)


def test_a_last_tile_that_does_not_say_how_long_it_is() -> None:
    at = J2K.find(b"\xff\x90")
    data = J2K[: at + 6] + bytes(4) + J2K[at + 10 :]
    assert np.array_equal(decode(data).rgb, RGB)
