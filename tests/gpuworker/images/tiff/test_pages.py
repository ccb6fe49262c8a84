"""Files of several pages: which is looked at, which are bands of one picture, and what is said of the rest."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from tests.gpuworker import pictures

from gpuworker.contract import CAVEATS
from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode, probe
from gpuworker.images.notes import MASK_LEFT, PAGES_LEFT, PREVIEW
from gpuworker.images.rendering import Rendering
from gpuworker.tasks.segment.opening import open_scene
from gpuworker.tiles.scene import grid

RGB = pictures.scene()
OTHER = RGB[::-1].copy()
DNG = (50706, "B", 4, (1, 4, 0, 0), True)


def written(*pages: tuple[NDArray[Any], dict[str, Any]], ome: bool = False) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out, ome=ome) as writer:
        for pixels, options in pages:
            kind = "rgb" if pixels.ndim == 3 else "minisblack"
            writer.write(pixels, **{"photometric": kind, "metadata": None, "contiguous": False} | options)
    return out.getvalue()


def a_page(pixels: NDArray[Any], **options: Any) -> tuple[NDArray[Any], dict[str, Any]]:
    return pixels, options


class TestWhichIsLookedAt:
    def test_the_first_of_a_stack_and_the_others_are_named(self) -> None:
        image = decode(written(a_page(RGB), a_page(OTHER), a_page(OTHER)))
        assert (image.rgb == RGB).all()
        assert image.notes.warnings == (PAGES_LEFT,)
        assert (image.notes.page, image.notes.pages_left) == (1, (2, 3))

    def test_of_a_single_page_nothing_is_said(self) -> None:
        notes = decode(written(a_page(RGB))).notes
        assert (notes.warnings, notes.page, notes.pages_left) == ((), None, ())

    @pytest.mark.parametrize("subfile", [1, 0])
    def test_behind_a_thumbnail_the_picture_whether_it_is_marked_or_not(self, subfile: int) -> None:
        image = decode(written(a_page(RGB[::8, ::8], subfiletype=subfile), a_page(RGB)))
        assert image.rgb.shape == RGB.shape
        assert image.notes.page == 2
        assert image.notes.pages_left == (() if subfile else (1,))  # what is not marked might be a picture

    def test_the_largest_of_several_behind_a_thumbnail(self) -> None:
        pages = [a_page(RGB[::8, ::8], subfiletype=1), a_page(RGB[::2, ::2], subfiletype=1), a_page(RGB)]
        assert decode(written(*pages)).rgb.shape == RGB.shape

    def test_overviews_and_masks_are_no_pictures(self) -> None:
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), MemoryFile() as memory:
            with memory.open(driver="GTiff", width=64, height=64, count=3, dtype="uint8") as out:
                out.write(np.full((3, 64, 64), 90, np.uint8))
                out.write_mask(np.full((64, 64), 255, np.uint8))
                out.build_overviews([2, 4])
            notes = probe(bytes(memory.read())).notes
        assert (notes.warnings, notes.page) == ((), None)

    def test_a_page_by_its_number(self) -> None:
        image = decode(written(a_page(RGB), a_page(OTHER)), rendering=Rendering(page=2))
        assert (image.rgb == OTHER).all()
        assert (image.notes.warnings, image.notes.page) == ((), 2)

    @pytest.mark.parametrize(("page", "has"), [(3, "2 pages"), (99, "2 pages")])
    def test_a_page_that_is_not_there(self, page: int, has: str) -> None:
        with pytest.raises(ItemError, match=f"page {page}; the TIFF has {has}") as caught:
            decode(written(a_page(RGB), a_page(OTHER)), rendering=Rendering(page=page))
        assert caught.value.code == "unsuitable"

    def test_what_is_no_tiff_has_one_page(self) -> None:
        assert (decode(pictures.png(RGB), rendering=Rendering(page=1)).rgb == RGB).all()
        with pytest.raises(ItemError, match="page 2; a PNG is one picture") as caught:
            decode(pictures.png(RGB), rendering=Rendering(page=2))
        assert caught.value.code == "unsuitable"

    def test_of_very_many_pages_not_every_one_is_named(self) -> None:
        notes = probe(written(*[a_page(RGB[:4, :4, 0])] * 400)).notes
        assert notes.warnings == (PAGES_LEFT,)
        assert notes.pages_left == tuple(range(2, 102))

    def test_a_page_that_is_cut_short_is_no_matter_for_the_first_and_told_of_itself(self) -> None:
        data = written(a_page(RGB), a_page(OTHER))[:-500]
        assert (decode(data).rgb == RGB).all()
        with pytest.raises(ItemError) as caught:
            decode(data, rendering=Rendering(page=2))
        assert caught.value.code == "truncated"


class TestChannels:
    CHANNELS = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))

    def of_ome(self, axes: str = "CYX") -> bytes:
        out = io.BytesIO()
        tifffile.imwrite(out, self.CHANNELS, ome=True, photometric="minisblack", metadata={"axes": axes})
        return out.getvalue()

    def of_imagej(self) -> bytes:
        out = io.BytesIO()
        tifffile.imwrite(out, self.CHANNELS, imagej=True, metadata={"axes": "CYX"})
        return out.getvalue()

    def test_pages_that_are_channels_make_colours(self) -> None:
        for data in (self.of_ome(), self.of_imagej()):
            image = decode(data)
            assert (image.rgb == RGB).all()
            assert image.bands == 3
            assert not image.notes.warnings

    @pytest.mark.parametrize("axes", ["ZYX", "TYX"])
    def test_slices_and_moments_are_pictures_of_their_own(self, axes: str) -> None:
        image = decode(self.of_ome(axes))
        assert (image.rgb == RGB[:, :, :1]).all()
        assert image.notes.pages_left == (2, 3)

    def test_who_asks_for_more_bands_than_a_page_has_gets_those_of_the_pages(self) -> None:
        plain = written(*(a_page(channel) for channel in self.CHANNELS))
        assert probe(plain).notes.warnings == (PAGES_LEFT,)
        image = decode(plain, rendering=Rendering(bands=(3, 2, 1)))
        assert (image.rgb == RGB[:, :, ::-1]).all()
        assert not image.notes.warnings
        with pytest.raises(ItemError, match="band 4; the image has 3 bands"):
            decode(plain, rendering=Rendering(bands=(4,)))

    def test_pages_that_differ_are_no_bands(self) -> None:
        data = written(a_page(self.CHANNELS[0]), a_page(self.CHANNELS[1][:9]))
        with pytest.raises(ItemError, match="band 2; the image has 1 band"):
            decode(data, rendering=Rendering(bands=(2,)))

    @pytest.mark.parametrize("layout", [{}, {"tile": (16, 16)}, {"rowsperstrip": 5, "compression": "zlib"}])
    def test_they_are_the_same_by_windows(self, layout: dict[str, Any]) -> None:
        data = written(*(a_page(channel, **layout) for channel in self.CHANNELS))
        options = Options(bands=(1, 2, 3), tile_size=20, tile_overlap=0.1)
        scene = open_scene(data, options, name="a.tif", windows_from_bytes=0)
        for window in grid(scene.height, scene.width, side=20, overlap=0.1):
            part = scene.read(window)
            assert part is not None
            rows = slice(window.top, window.bottom)
            assert (part.rgb == RGB[rows, window.left : window.right]).all()

    def test_a_channel_whose_pixels_are_cut_off_is_told(self) -> None:
        data = written(*(a_page(channel, compression="zlib") for channel in self.CHANNELS))
        with pytest.raises(ItemError) as caught:
            decode(data[:-40], rendering=Rendering(bands=(1, 2, 3)))
        assert caught.value.code in ("truncated", "unsuitable")


class TestRawFiles:
    RAW = np.zeros((96, 128), np.uint16)

    def test_the_largest_preview_is_taken_and_said(self) -> None:
        pages = [
            a_page(RGB[::4, ::4], subfiletype=1, extratags=[DNG], subifds=2),
            a_page(self.RAW, photometric="cfa"),
            a_page(RGB, subfiletype=1),
        ]
        image = decode(written(*pages))
        assert (image.rgb == RGB).all()
        assert image.notes.warnings == (PREVIEW,)

    def test_a_previews_orientation_is_that_of_the_file(self) -> None:
        turn = (274, "H", 1, 6, True)
        pages = [
            a_page(RGB[::4, ::4], subfiletype=1, extratags=[DNG, turn], subifds=2),
            a_page(self.RAW, photometric="cfa"),
            a_page(pictures.stored_as(RGB, 6), subfiletype=1),
        ]
        assert (decode(written(*pages)).rgb == RGB).all()

    def test_a_small_picture_with_raw_pixels_below_it_is_no_picture_without_a_word(self) -> None:
        begin, below = a_page(RGB[::4, ::4], subfiletype=1, subifds=1), a_page(self.RAW, photometric="cfa")
        assert decode(written(begin, below)).notes.warnings == (PREVIEW,)
        begin = a_page(RGB[::4, ::4], subfiletype=1, subifds=2)  # as NEF has it
        image = decode(written(begin, a_page(RGB, subfiletype=1), below))
        assert (image.rgb == RGB).all()
        assert image.notes.warnings == (PREVIEW,)

    def test_without_a_preview_it_is_refused(self) -> None:
        with pytest.raises(ItemError, match=r"raw camera file.*develop") as caught:
            probe(written(a_page(self.RAW, photometric="cfa", extratags=[DNG])))
        assert caught.value.code == "unsupported"


SIDE = 4_200
"""A mask of that size may not be decoded again for every block."""


@pytest.fixture(scope="module")
def masked() -> bytes:
    """Half of it is hidden by a mask in one strip."""
    mask = np.zeros((SIDE, SIDE), np.bool_)
    mask[:, 2_000:] = True
    grey = np.full((SIDE, SIDE), 90, np.uint8)
    options: dict[str, Any] = {"subfiletype": 4, "rowsperstrip": SIDE, "compression": "zlib"}
    return written(a_page(grey, tile=(512, 512), compression="zlib"), a_page(mask, **options))


class TestMasks:
    def test_a_whole_image_is_masked_by_it(self, masked: bytes) -> None:
        scene: Any = open_scene(masked, Options(), name="a.tif")
        assert not scene.valid_mask[:, :2_000].any()
        assert scene.valid_mask[:, 2_000:].all()
        assert not scene.notes.warnings

    def test_by_windows_it_is_said_that_it_was_left(self, masked: bytes) -> None:
        scene = open_scene(masked, Options(tile_size=1_000), name="a.tif", windows_from_bytes=0)
        assert scene.notes.warnings == (MASK_LEFT,)
        assert MASK_LEFT in CAVEATS

    def test_a_mask_belongs_to_the_page_before_it(self) -> None:
        mask = np.zeros(RGB.shape[:2], np.bool_)
        data = written(a_page(RGB), a_page(OTHER), a_page(mask, subfiletype=4))
        scene: Any = open_scene(data, Options(), name="a.tif")
        assert scene.valid_mask is None
