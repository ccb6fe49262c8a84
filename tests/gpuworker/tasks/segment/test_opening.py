"""When a file is read by windows, when it is decoded whole, and what is said of one that can be neither."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tests.gpuworker import pictures
from tests.gpuworker.large_tiff import GEO, write_stripped, write_tiled

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode, decoding_bytes
from gpuworker.tasks.segment.opening import bytes_to_open, open_scene
from gpuworker.tiles.scene import WholeScene
from gpuworker.tiles.windowed import WindowedScene

RGB = pictures.scene(300, 400)


def by_windows(data: bytes | Path, **options: Any) -> bool:
    scene = open_scene(data, Options(**options), name="a.tif", windows_from_bytes=0)
    return isinstance(scene, WindowedScene)


def failure(data: bytes | Path, name: str = "a.tif", **options: Any) -> ItemError:
    with pytest.raises(ItemError) as caught:
        open_scene(data, Options(**options), name=name)
    assert bytes_to_open(data, Options(**options)) == 0, "nothing waits for memory to fail in"
    return caught.value


class TestWhichWay:
    def test_what_is_looked_at_by_tiles(self) -> None:
        plain = pictures.tiff(RGB, photometric="rgb", tile=(64, 64))
        geo = pictures.tiff(np.tile(RGB, (1, 3, 1)), photometric="rgb", tile=(64, 64), extratags=GEO)
        assert by_windows(plain, tile_size=128)
        assert by_windows(geo)
        assert not by_windows(plain)
        assert not by_windows(geo, tile_size="whole")

    def test_what_fits_into_one_tile_is_looked_at_whole(self) -> None:
        assert not by_windows(pictures.tiff(RGB, photometric="rgb", extratags=GEO))
        assert not by_windows(pictures.tiff(RGB, photometric="rgb"), tile_size=400)

    def test_other_formats_are_decoded_whole(self) -> None:
        assert not by_windows(pictures.png(RGB), tile_size=128)

    def test_a_file_whose_blocks_cannot_be_understood_alone(self) -> None:
        light = RGB[:, :, 0].astype(np.float32)
        assert not by_windows(pictures.tiff(light, photometric="miniswhite", tile=(64, 64)), tile_size=128)

    def test_small_images_are_decoded_whole(self) -> None:
        data = pictures.tiff(RGB, photometric="rgb", tile=(64, 64))
        assert isinstance(open_scene(data, Options(tile_size=128), name="a.tif"), WholeScene)

    def test_images_that_are_looked_at_by_tiles_keep_all_their_pixels(self) -> None:
        geo = pictures.tiff(np.tile(RGB, (1, 3, 1)), photometric="rgb", extratags=GEO)
        tiled = open_scene(geo, Options(), name="a.tif", max_decode_px=100)
        whole = open_scene(geo, Options(tile_size="whole"), name="a.tif", max_decode_px=100)
        assert tiled.whole().rgb.shape == (300, 1200, 3)
        assert whole.whole().rgb.shape == (38, 150, 3)


class TestTooLarge:
    def test_one_strip_names_the_command_that_tiles_it_again(self, tmp_path: Path) -> None:
        _write_one_strip(tmp_path / "x.tif")
        error = failure(tmp_path / "x.tif", name="field 7/ortho mosaic.tif")
        assert error.code == "too_large"
        assert "20000×20000" in error.message
        assert error.message.endswith(
            "gdal_translate -co TILED=YES -co COMPRESS=DEFLATE -co BIGTIFF=IF_SAFER "
            "'field 7/ortho mosaic.tif' 'field 7/ortho mosaic_tiled.tif'"
        )

    def test_one_strip_of_a_picture_of_middling_size_is_decoded_whole(self, tmp_path: Path) -> None:
        _write_one_strip(tmp_path / "x.tif", side=6_000)
        strip_and_its_copy = 2 * 6_000**2 * 4 * 2
        file_bytes = (tmp_path / "x.tif").stat().st_size
        assert bytes_to_open(tmp_path / "x.tif", Options()) == strip_and_its_copy + file_bytes

    def test_one_strip_that_is_not_compressed_needs_no_command(self, tmp_path: Path) -> None:
        path = tmp_path / "plain.tif"
        made: Any = tifffile.memmap(
            path, shape=(6000, 6000, 4), dtype=np.uint16, photometric="minisblack", planarconfig="contig", extratags=GEO
        )
        made[5000:5010, 5000:5010] = 500
        made.flush()
        del made
        scene = open_scene(path, Options(), name="a.tif")
        assert isinstance(scene, WindowedScene)
        assert scene.cost_bytes < 150_000_000

    def test_bytes_and_pixels(self, tmp_path: Path) -> None:
        path = tmp_path / "t.tif"
        write_tiled(path, side=8_000)
        few = failure(path, max_bytes=1000)
        assert few.code == "too_large"
        assert "max_bytes" in few.message
        error = failure(path, max_pixels=1000)
        assert error.code == "too_large"
        assert re.search(r"8000×8000 pixels.*max_pixels raises it", error.message)

    def test_deep_images_of_many_bands_are_no_matter_by_windows(self, tmp_path: Path) -> None:
        path = tmp_path / "t.tif"
        write_tiled(path, side=8_000)
        assert isinstance(open_scene(path, Options(max_pixels=64_000_000), name="t.tif"), WindowedScene)

    def test_the_whole_of_it_is_not_to_be_had(self, tmp_path: Path) -> None:
        path = tmp_path / "t.tif"
        write_tiled(path, side=8_000)
        with pytest.raises(ItemError, match="only be looked at by tiles") as caught:
            open_scene(path, Options(), name="t.tif").whole()
        assert caught.value.code == "too_large"


class TestOptions:
    def test_a_band_that_is_not_there(self) -> None:
        data = pictures.tiff(RGB, photometric="rgb", tile=(64, 64))
        for options in (Options(bands=(4,)), Options(bands=(1, 2, 9), tile_size=64)):
            with pytest.raises(ItemError, match=r"asks for band .; the image has 3 bands") as caught:
                open_scene(data, options, name="a.tif", windows_from_bytes=0)
            assert caught.value.code == "unsuitable"

    def test_bands_of_every_format(self) -> None:
        for data in (pictures.png(RGB), pictures.tiff(RGB, photometric="rgb"), pictures.webp(RGB)):
            turned = open_scene(data, Options(bands=(3, 1, 2)), name="a").whole().rgb
            assert (turned == RGB[:, :, [2, 0, 1]]).all()
            grey = open_scene(data, Options(bands=(2,)), name="a").whole().rgb
            assert (grey == RGB[:, :, [1, 1, 1]]).all()

    def test_transparency_that_is_asked_for_as_a_band_is_one(self) -> None:
        rgba = np.dstack([RGB, RGB[:, :, 1]])
        for data in (pictures.png(rgba), pictures.tiff(rgba, photometric="rgb", extrasamples=["unassalpha"])):
            assert (open_scene(data, Options(bands=(4,)), name="a").whole().rgb[:, :, 0] == RGB[:, :, 1]).all()

    def test_bytes_are_stretched_where_that_is_asked(self) -> None:
        dark = RGB // 4
        for data in (pictures.png(dark), pictures.tiff(dark, photometric="rgb")):
            assert open_scene(data, Options(), name="a").whole().rgb.max() == 63
            assert open_scene(data, Options(stretch="minmax"), name="a").whole().rgb.max() == 255

    def test_no_stretch_cuts_off(self) -> None:
        data = pictures.tiff(np.array([[-5, 7, 255, 300]], np.int16), photometric="minisblack")
        rgb = open_scene(data, Options(stretch="none"), name="a").whole().rgb
        assert rgb[0, :, 0].tolist() == [0, 7, 255, 255]


class TestWholeByBlocks:
    def test_a_large_tiff_is_put_together_from_its_blocks(self, tmp_path: Path) -> None:
        path = tmp_path / "s.tif"
        write_stripped(path, side=5_000)
        image = decode(path)
        assert decoding_bytes(path) < 3 * 5_000**2 + 20_000_000  # the picture, a block, and what tells its brightness
        assert (image.rgb[100:140, 200:240, 0] == 255).all()
        assert image.rgb[0, :16, 0].tolist() == image.rgb[4_999, 160:176, 0].tolist()
        assert (np.diff(image.rgb[0, :12, 0].astype(int)) > 0).all()


def test_a_file_that_lost_every_block_is_black_and_says_so() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        blocks = iter([np.zeros((64, 64, 1), np.uint16), *[None] * 5])
        writer.write(blocks, shape=(128, 192), dtype=np.uint16, tile=(64, 64), photometric="minisblack", metadata=None)
    data = bytearray(out.getvalue())
    page = tifffile.TiffFile(io.BytesIO(data)).pages.first
    assert isinstance(page, tifffile.TiffPage)
    for tag in (324, 325):  # TileOffsets and TileByteCounts
        at, size = page.tags[tag].valueoffset, 4 if page.tags[tag].dtype == 4 else 2
        data[at : at + size] = bytes(size)
    scene = open_scene(bytes(data), Options(), name="a")
    assert not scene.whole().rgb.any()
    assert scene.notes.warnings == ("blank",)
    assert open_scene(out.getvalue(), Options(), name="a").notes.warnings == ()
    assert by_windows(bytes(data), tile_size=64)


def _write_one_strip(path: Path, side: int = 20_000) -> None:
    """side×side pixels in one compressed strip, whose content is not needed: the header says enough."""
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        options: Any = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None, "extratags": GEO}
        shape, strip = (side, side, 4), iter([b"not to be decoded"])
        writer.write(strip, shape=shape, dtype=np.uint16, compression="zlib", rowsperstrip=side, **options)
