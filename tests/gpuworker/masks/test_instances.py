"""Masks on crops: run lengths as pycocotools makes them of the full mask, polygons that cover the same pixels."""

from __future__ import annotations

import numpy as np
import pycocotools.mask
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.properties import examples

from gpuworker.masks.instances import Instance, polygon_area, polygons, rle_texts, runs_of


@st.composite
def placed_crops(draw: st.DrawFn, largest: int = 12) -> tuple[NDArray[np.bool_], int, int, int, int]:
    """(crop, x, y, height, width) with the crop anywhere in the full mask, its edges included."""
    height, width = draw(st.integers(1, largest)), draw(st.integers(1, largest))
    h, w = draw(st.integers(1, height)), draw(st.integers(1, width))
    crop = draw(hnp.arrays(np.bool_, (h, w)) | st.sampled_from([np.zeros((h, w), np.bool_), np.ones((h, w), np.bool_)]))
    return crop, draw(st.integers(0, width - w)), draw(st.integers(0, height - h)), height, width


def full_mask(crop: NDArray[np.bool_], x: int, y: int, height: int, width: int) -> NDArray[np.uint8]:
    mask = np.zeros((height, width), np.uint8, order="F")
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return mask


def rle(crop: NDArray[np.bool_], *, x: int, y: int, height: int, width: int) -> str:
    return rle_texts([runs_of(crop, x=x, y=y, height=height, width=width)])[0]


class TestRunLengths:
    @examples(400)
    @given(placed_crops())
    @example((np.ones((3, 4), np.bool_), 0, 0, 3, 4))
    @example((np.zeros((3, 4), np.bool_), 0, 0, 3, 4))
    @example((np.ones((1, 1), np.bool_), 0, 0, 1, 1))
    @example((np.ones((3, 1), np.bool_), 3, 0, 3, 4))
    def test_the_same_bytes_as_pycocotools(self, placed: tuple[NDArray[np.bool_], int, int, int, int]) -> None:
        crop, x, y, height, width = placed
        expected = pycocotools.mask.encode(full_mask(crop, x, y, height, width))["counts"]
        assert rle(crop, x=x, y=y, height=height, width=width).encode() == expected

    def test_long_runs_and_long_differences(self) -> None:
        # Runs of millions of pixels take up to five characters, and their differences are negative as well.
        crop = np.random.default_rng(0).random((40, 3)) < 0.5
        for x, y in ((0, 0), (3997, 2960), (2000, 1500)):
            expected = pycocotools.mask.encode(full_mask(crop, x, y, 3000, 4000))["counts"]
            assert rle(crop, x=x, y=y, height=3000, width=4000).encode() == expected

    def test_a_large_mask_is_sought_in_parts(self) -> None:
        # given crops of more than a million pixels, lower than the image and as high, with runs across their parts
        for crop_height, height in ((1100, 1200), (1200, 1200)):
            crop = np.ones((crop_height, 2100), np.bool_)
            crop[300:400, ::700] = False
            expected = pycocotools.mask.encode(full_mask(crop, 50, 0, height, 2200))["counts"]
            assert rle(crop, x=50, y=0, height=height, width=2200).encode() == expected

    def test_a_crop_as_high_as_the_image_joins_runs_over_columns(self) -> None:
        crop = np.ones((5, 2), np.bool_)
        crop[2, 0] = False
        expected = pycocotools.mask.encode(full_mask(crop, 1, 0, 5, 4))["counts"]
        assert rle(crop, x=1, y=0, height=5, width=4).encode() == expected


class TestInstance:
    @examples(100)
    @given(placed_crops())
    def test_the_tight_crop_is_pycocotools_box(self, placed: tuple[NDArray[np.bool_], int, int, int, int]) -> None:
        crop, x, y, height, width = placed
        one = Instance(x=x, y=y, mask=crop, score=0.5, category_id=1, source="test")
        encoded = pycocotools.mask.encode(full_mask(crop, x, y, height, width))
        tight = one.tight()
        if tight is None:
            assert one.area == pycocotools.mask.area(encoded) == 0
        else:
            box = [tight.x, tight.y, tight.mask.shape[1], tight.mask.shape[0]]
            assert box == pycocotools.mask.toBbox(encoded).tolist()
            assert tight.area == one.area == pycocotools.mask.area(encoded)


def covered(outlines: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """The pixels that pycocotools sees inside polygons."""
    encoded = pycocotools.mask.merge(pycocotools.mask.frPyObjects(outlines, height, width))
    return np.asarray(pycocotools.mask.decode(encoded), np.bool_)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
class TestPolygons:
    @examples(100)
    @given(hnp.arrays(np.bool_, st.tuples(st.integers(1, 7), st.integers(1, 7))).filter(lambda crop: crop.any()))
    def test_small_parts_are_exact_but_for_their_holes(self, crop: NDArray[np.bool_]) -> None:
        height, width = 12, 13
        outlines = polygons(crop, x=3, y=2)
        seen = covered(outlines, height, width)
        mask = full_mask(crop, 3, 2, height, width).astype(bool)
        assert (seen & mask).sum() == mask.sum()
        assert not (seen & ~mask & ~enclosed(mask)).any()

    def test_a_disc_is_met_closely_with_few_corners(self) -> None:
        rows, columns = np.mgrid[:101, :101]
        disc = (rows - 50) ** 2 + (columns - 50) ** 2 <= 48**2
        outlines = polygons(disc, x=0, y=0)
        seen = covered(outlines, 101, 101)
        assert (seen & disc).sum() / (seen | disc).sum() > 0.97
        assert len(outlines) == 1
        assert len(outlines[0]) < 120
        assert polygon_area(outlines[0]) == pytest.approx(disc.sum(), rel=0.03)

    def test_a_rectangle_is_its_four_outer_corners(self) -> None:
        (outline,) = polygons(np.ones((20, 30), np.bool_), x=5, y=7)
        corners = {(outline[i], outline[i + 1]) for i in range(0, len(outline), 2)}
        assert corners == {(5, 7), (35, 7), (35, 27), (5, 27)}
        assert polygon_area(outline) == 600

    def test_the_largest_part_comes_first(self) -> None:
        mask = np.zeros((20, 40), np.bool_)
        mask[2:5, 2:5] = True
        mask[5:18, 20:38] = True
        assert [polygon_area(outline) for outline in polygons(mask, x=0, y=0)] == [13 * 18, 9]


def enclosed(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Background that cannot reach the border in four directions."""
    outside = np.zeros(mask.shape, np.bool_)
    outside[[0, -1]] = ~mask[[0, -1]]
    outside[:, [0, -1]] = ~mask[:, [0, -1]]
    for _ in range(mask.size):
        grown = outside.copy()
        grown[1:] |= outside[:-1]
        grown[:-1] |= outside[1:]
        grown[:, 1:] |= outside[:, :-1]
        grown[:, :-1] |= outside[:, 1:]
        grown &= ~mask
        if (grown == outside).all():
            break
        outside = grown
    return ~mask & ~outside
