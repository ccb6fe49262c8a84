"""Outlines of masks: exact, and polygons that every map program takes."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from rasterio.features import is_valid_geom, rasterize
from tests.properties import examples

from gpuworker.geo.rings import Part, parts

MASKS = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def drawn(*rows: str) -> NDArray[np.bool_]:
    return np.array([[character == "#" for character in row] for row in rows])


def found(mask: NDArray[np.bool_], x: int = 0, y: int = 0) -> list[Part]:
    return list(parts(mask, x=x, y=y))


def twice_area(ring: NDArray[np.int64]) -> int:
    x, y = ring[:, 0], ring[:, 1]
    return abs(int(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))))


def geometry(part: Part) -> dict[str, object]:
    rings = [part.outer, *part.holes]
    return {"type": "Polygon", "coordinates": [[*ring.tolist(), ring[0].tolist()] for ring in rings]}


class TestParts:
    def test_a_rectangle_has_four_corners_at_its_pixels_edges(self) -> None:
        [part] = found(np.ones((2, 3), np.bool_), x=10, y=20)
        assert sorted(map(tuple, part.outer.tolist())) == [(10, 20), (10, 22), (13, 20), (13, 22)]
        assert part.holes == ()

    def test_a_hole_stays_a_hole(self) -> None:
        [part] = found(drawn("####", "#..#", "####"))
        [hole] = part.holes
        assert sorted(map(tuple, hole.tolist())) == [(1, 1), (1, 2), (3, 1), (3, 2)]

    def test_an_island_in_a_hole_is_a_part_of_its_own(self) -> None:
        ring, island = found(drawn("#####", "#...#", "#.#.#", "#...#", "#####"))
        assert (len(ring.holes), len(island.holes)) == (1, 0)

    def test_pixels_that_touch_at_a_corner_are_two_parts(self) -> None:
        assert len(found(drawn("#.", ".#"))) == 2

    @pytest.mark.parametrize(
        "mask",
        [
            drawn(".#.", "#.#", ".#."),  # a hole that leaks at its corners
            drawn("####", "#.##", "##.#", "####"),  # two holes that touch at a corner
            drawn("###", "#.#", "##."),  # a hole that touches the outside at a corner
        ],
    )
    def test_what_touches_at_corners_is_valid(self, mask: NDArray[np.bool_]) -> None:
        for part in found(mask):
            for ring in (part.outer, *part.holes):
                assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)


def test_an_outline_takes_the_memory_of_its_length_and_not_of_its_area() -> None:
    # given a field of 16 million pixels with a pond in it, and a yard beside it
    mask = np.ones((4000, 4000), np.bool_)
    mask[1500:1600, 1500:1600] = False
    mask[:, 3900] = False
    # when
    tracemalloc.start()
    try:
        field, yard = found(mask)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # then
    assert (len(field.holes), len(yard.holes)) == (1, 0)
    assert peak_bytes < mask.nbytes


@examples(150)
@given(mask=MASKS)
def test_any_mask_comes_back_from_its_rings(mask: NDArray[np.bool_]) -> None:
    # given rings of it
    all_parts = found(mask)
    # then their area is that of the pixels
    area = sum(twice_area(part.outer) - sum(map(twice_area, part.holes)) for part in all_parts) / 2
    assert area == mask.sum()
    # and no ring meets a corner twice, or has corners that are none
    for ring in (ring for part in all_parts for ring in (part.outer, *part.holes)):
        assert len({tuple(corner) for corner in ring.tolist()}) == len(ring)
        steps = np.roll(ring, -1, axis=0) - ring
        assert ((steps[:, 0] == 0) != (steps[:, 1] == 0)).all()
        assert ((steps[:, 0] == 0) != (np.roll(steps, 1, axis=0)[:, 0] == 0)).all()
    # and rasterio burns them into the mask again
    if all_parts:
        assert all(is_valid_geom(geometry(part)) for part in all_parts)
        burnt = rasterize([geometry(part) for part in all_parts], out_shape=mask.shape)
        assert np.array_equal(burnt.astype(bool), mask)
    # and each part is a part of its own: its holes lie in it, and no pixel is in two
    assert sum(int(rasterize([geometry(part)], out_shape=mask.shape).sum()) for part in all_parts) == mask.sum()


def test_noise_with_hundreds_of_parts_and_holes_comes_back() -> None:
    mask = np.random.default_rng(5).random((120, 120)) < 0.6
    all_parts = found(mask)
    assert len(all_parts) == cv2.connectedComponents(mask.view(np.uint8), connectivity=4)[0] - 1
    assert sum(len(part.holes) for part in all_parts) > 100
    for part in all_parts:
        burnt = rasterize([geometry(part)], out_shape=mask.shape)
        assert twice_area(part.outer) - sum(map(twice_area, part.holes)) == 2 * int(burnt.sum())
        assert mask[burnt == 1].all()
