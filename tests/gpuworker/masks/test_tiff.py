"""The masks TIFF: labels painted as promised, pages lossless, geo tags kept, memory bounded."""

from __future__ import annotations

import io
import tracemalloc
from dataclasses import replace

import cv2
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.properties import examples

from gpuworker.images.tiff.file import GeoTag
from gpuworker.masks.instances import Instance
from gpuworker.masks.packed import packed
from gpuworker.masks.tiff import label_tiff, stack_tiff


def instance(x: int, y: int, mask: NDArray[np.bool_]) -> Instance:
    return Instance(x=x, y=y, mask=mask, score=0.9, category_id=1, source="test")


def block(x: int, y: int, width: int, height: int) -> Instance:
    return instance(x, y, np.ones((height, width), np.bool_))


def pages(data: bytes) -> list[NDArray[np.uint16]]:
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        return [page.asarray() for page in file.pages]


@st.composite
def scenes(draw: st.DrawFn) -> tuple[list[Instance], int, int]:
    height, width = draw(st.integers(1, 15)), draw(st.integers(1, 15))
    found = []
    for _ in range(draw(st.integers(0, 5))):
        h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
        mask = draw(hnp.arrays(np.bool_, (h, w)).filter(np.any))
        found.append(instance(draw(st.integers(0, width - w)), draw(st.integers(0, height - h)), mask))
    return found, height, width


def full(one: Instance, height: int, width: int) -> NDArray[np.bool_]:
    out = np.zeros((height, width), np.bool_)
    out[one.y : one.y + one.mask.shape[0], one.x : one.x + one.mask.shape[1]] = one.mask
    return out


class TestLabels:
    @examples(80)
    @given(scenes())
    def test_each_pixel_is_the_smallest_instance_that_holds_it(self, scene: tuple[list[Instance], int, int]) -> None:
        found, height, width = scene
        labels = label_tiff(packed(found), height=height, width=width)
        expected = np.zeros((height, width), np.uint16)
        for i in sorted(range(len(found)), key=lambda i: (-found[i].area, i)):
            expected[full(found[i], height, width)] = i + 1
        (page,) = pages(labels.tiff)
        assert (page == expected).all()
        shown = [int((expected == i).sum()) for i in range(1, len(found) + 1)]
        assert [one.area - hidden for one, hidden in zip(found, labels.hidden_pixels, strict=True)] == shown

    def test_a_large_image_is_tiled_and_the_same(self) -> None:
        found = [block(0, 0, 2500, 30), block(500, 490, 100, 600), block(511, 511, 2, 2), block(2490, 1690, 10, 10)]
        labels = label_tiff(packed(found), height=1700, width=2500)
        with tifffile.TiffFile(io.BytesIO(labels.tiff)) as file:
            assert file.pages.first.is_tiled
            page = file.pages.first.asarray()
        assert page.dtype == np.uint16
        assert [int((page == i).sum()) for i in range(1, 5)] == [75_000, 60_000 - 4, 4, 100]
        assert labels.hidden_pixels == (0, 4, 0, 0)
        assert (cv2.imdecode(np.frombuffer(labels.tiff, np.uint8), cv2.IMREAD_UNCHANGED) == page).all()

    def test_nothing_found_gives_an_empty_image(self) -> None:
        for height, width in ((3, 5), (2000, 2100)):
            (page,) = pages(label_tiff([], height=height, width=width).tiff)
            assert page.shape == (height, width)
            assert not page.any()

    @pytest.mark.parametrize(
        ("count", "dtype"), [pytest.param(65_535, np.uint16, marks=pytest.mark.exhaustive), (65_536, np.uint32)]
    )
    def test_many_instances_take_a_wider_type(self, count: int, dtype: type) -> None:
        [pixel] = packed([block(0, 0, 1, 1)])
        found = [replace(pixel, x=i % 300, y=i // 300) for i in range(count)]
        (page,) = pages(label_tiff(found, height=300, width=300).tiff)
        assert page.dtype == dtype
        assert page[(count - 1) // 300, (count - 1) % 300] == count

    def test_geo_tags_are_copied_and_the_background_is_nodata(self) -> None:
        geo = [
            GeoTag(code=33550, dtype=12, count=3, value=(0.1, 0.1, 0.0)),
            GeoTag(code=34735, dtype=3, count=4, value=(1, 1, 0, 0)),
            GeoTag(code=34737, dtype=2, count=8, value="UTM 17N|"),
        ]
        for data in (
            label_tiff(packed([block(0, 0, 1, 1)]), height=4, width=4, geo=geo).tiff,
            stack_tiff(packed([block(0, 0, 1, 1)]), height=4, width=4, geo=geo),
        ):
            with tifffile.TiffFile(io.BytesIO(data)) as file:
                tags = file.pages.first.tags
                assert tags[33550].value == (0.1, 0.1, 0.0)
                assert tags[34735].value == (1, 1, 0, 0)
                assert tags[34737].value == "UTM 17N|"
                assert tags[42113].value == "0"

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        found = [block(1, 2, 30, 40), block(5, 5, 3, 3)]
        assert (
            label_tiff(packed(found), height=90, width=80).tiff == label_tiff(packed(found), height=90, width=80).tiff
        )

    def test_memory_is_a_band_not_the_image(self) -> None:
        found = [block(9000, 9000, 200, 200)]
        tracemalloc.start()
        label_tiff(packed(found), height=10_000, width=10_000)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak_bytes < 40_000_000


class TestStack:
    @examples(60)
    @given(scenes())
    def test_every_page_is_a_whole_mask(self, scene: tuple[list[Instance], int, int]) -> None:
        found, height, width = scene
        read = pages(stack_tiff(packed(found), height=height, width=width))
        expected = [full(one, height, width) for one in found] or [np.zeros((height, width), np.bool_)]
        assert len(read) == len(expected)
        assert all((page.astype(bool) == mask).all() for page, mask in zip(read, expected, strict=True))

    def test_pages_have_one_bit_and_empty_strips_cost_little(self) -> None:
        found = [block(10, 1500, 50, 60), block(0, 0, 3, 2900)]
        data = stack_tiff(packed(found), height=3000, width=4001)
        with tifffile.TiffFile(io.BytesIO(data)) as file:
            assert [page.bitspersample for page in file.pages] == [1, 1]
            assert [int(page.asarray().sum()) for page in file.pages] == [3000, 8700]
        assert len(data) < 20_000
