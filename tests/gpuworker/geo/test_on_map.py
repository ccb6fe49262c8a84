"""Masks on the map: a pixel's middle, transformed by itself, lies in the polygons just where it is in the mask."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import CRS, Transformer
from tests.gpuworker.geotiffs import disc_with_hole, geotiff, placed
from tests.properties import examples

from gpuworker.geo.on_map import OnMap
from gpuworker.geo.rings import parts

SIZE = 60
CASES = {
    "in the middle of a UTM zone": ("EPSG:32617", Affine(0.1, 0, 404211.9, 0, -0.1, 3285142.9)),
    "upside down": ("EPSG:32617", Affine(0.1, 0, 404211.9, 0, 0.1, 3285142.9)),
    "turned": ("EPSG:25832", Affine(0.04, 0.03, 500_000.0, 0.03, -0.04, 5_400_000.0)),
    "over the antimeridian from the west": ("EPSG:32660", Affine(2000, 0, 780_000.0, 0, -2000, 7_000_000.0)),
    "over the antimeridian from the east": ("EPSG:32701", Affine(2000, 0, 120_000.0, 0, -2000, 8_000_000.0)),
    "over the antimeridian in Fiji": ("EPSG:3460", Affine(5000, 0, 1_900_000, 0, -5000, 4_100_000)),
    "degrees beyond 180": ("EPSG:4326", Affine(0.25, 0, 174.0, 0, -0.25, -10.0)),
    "degrees that end at 180": ("EPSG:4326", Affine(0.25, 0, 165.0, 0, -0.25, -10.0)),
    "degrees that begin at -180": ("EPSG:4326", Affine(0.25, 0, -180.0, 0, -0.25, -10.0)),
    "degrees from 0 to 360": ("EPSG:4326", Affine(6.0, 0, 0.0, 0, -3.0, 90.0)),
    "the whole earth": ("EPSG:4326", Affine(6.0, 0, -180.0, 0, -3.0, 90.0)),
    "around the north pole": ("EPSG:3413", Affine(50_000, 0, -1_500_000, 0, -50_000, 1_500_000)),
    "around the south pole": ("EPSG:3031", Affine(50_000, 0, -1_510_000, 0, -50_000, 1_490_000)),
    "a hemisphere": ("EPSG:3408", Affine(150_000, 0, -4_500_100, 0, -150_000, 4_500_100)),
    "large pixels far from the middle": ("EPSG:3035", Affine(40_000, 0, 6_000_000, 0, -40_000, 6_500_000)),
    "Web Mercator over the antimeridian": ("EPSG:3857", Affine(20_000, 0, 19_500_000, 0, -20_000, 9_000_000)),
    "another datum": ("EPSG:27700", Affine(100, 0, 400_000, 0, -100, 300_000)),
    "feet on NAD27": ("EPSG:32024", Affine(100, 0, 2_000_000, 0, -100, 500_000)),
    "oblong pixels": ("EPSG:32633", Affine(4000, 0, 300_000, 0, -250, 8_700_000)),
    "a projection of its own": (
        "+proj=lcc +lat_1=40 +lat_2=60 +lat_0=50 +lon_0=175 +datum=WGS84",
        Affine(20_000, 0, -600_000, 0, -20_000, 600_000),
    ),
}


def a_full() -> np.ndarray:
    return np.ones((SIZE, SIZE), np.bool_)


def a_disc() -> np.ndarray:
    """With a hole in its middle, which is the pole where there is one."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    away = np.hypot(rows - 29.6, columns - 30.2)
    return np.asarray((away < 27) & (away > 9))


def a_comb() -> np.ndarray:
    """Teeth on both sides of every line."""
    mask = np.zeros((SIZE, SIZE), np.bool_)
    mask[5:55, 24:28] = True
    mask[5:55:7, 3:57] = True
    return mask


MASKS = {"full": a_full(), "disc": a_disc(), "comb": a_comb()}


@dataclass(frozen=True, kw_only=True)
class Drawn:
    polygons: list[list[np.ndarray]]

    def holds(self, longitude: np.ndarray, latitude: np.ndarray) -> np.ndarray:
        """By the rule of even and odd, over all rings."""
        inside = np.zeros(longitude.shape, np.bool_)
        for ring in (ring for polygon in self.polygons for ring in polygon):
            for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
                if y0 != y1:
                    spans = (y0 > latitude) != (y1 > latitude)
                    inside ^= spans & (longitude < x0 + (latitude - y0) / (y1 - y0) * (x1 - x0))
        return inside


def on_map(crs: str, transform: Affine, mask: np.ndarray) -> Drawn:
    place = OnMap(placed(geotiff(crs, transform, size=SIZE)))
    return Drawn(polygons=[polygon for part in parts(mask, x=0, y=0) for polygon in place.polygons(part)])


def middles(crs: str, transform: Affine) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[:SIZE, :SIZE] + 0.5
    x, y = transform @ (columns, rows)
    there = Transformer.from_crs(CRS.from_user_input(crs), "EPSG:4326", always_xy=True)
    longitude, latitude = there.transform(x, y)
    return (np.asarray(longitude) + 180) % 360 - 180, np.asarray(latitude)


def twice_area(ring: np.ndarray) -> float:
    x, y = (ring - ring[0]).T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("case", CASES)
def test_pixels_are_in_the_polygons_of_their_mask(case: str, mask: str) -> None:
    drawn = on_map(*CASES[case], MASKS[mask])
    inside = drawn.holds(*middles(*CASES[case]))
    assert np.array_equal(inside, MASKS[mask])


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("case", CASES)
def test_rings_are_on_the_map_and_run_the_right_way(case: str, mask: str) -> None:
    drawn = on_map(*CASES[case], MASKS[mask])
    for outer, *holes in drawn.polygons:
        assert twice_area(outer) > 0
        assert all(twice_area(hole) < 0 for hole in holes)
        for ring in (outer, *holes):
            assert np.abs(ring).max(axis=0).tolist() <= [180.0, 90.0]
            assert np.abs(np.diff(ring[:, 0])).max() < 360 or np.abs(ring[:, 1]).max() == 90


@examples(60)
@given(
    seed=st.integers(0, 10_000),
    case=st.sampled_from(sorted(CASES)),
)
def test_masks_of_any_shape(seed: int, case: str) -> None:
    coarse = np.random.default_rng(seed).random((SIZE // 4, SIZE // 4)) < 0.5
    mask = np.kron(coarse, np.ones((4, 4), np.bool_)).astype(bool)
    assert np.array_equal(on_map(*CASES[case], mask).holds(*middles(*CASES[case])), mask)


def test_long_edges_are_as_bent_as_the_image() -> None:
    """A field of 60 pixels of 40 km: its edge has corners where a straight one would be pixels off."""
    crs, transform = CASES["large pixels far from the middle"]
    [[ring]] = on_map(crs, transform, a_full()).polygons
    back = Transformer.from_crs("EPSG:4326", crs, always_xy=True)
    along = np.concatenate([ring + share * (np.roll(ring, -1, axis=0) - ring) for share in np.linspace(0, 1, 21)])
    columns, rows = ~transform @ back.transform(along[:, 0], along[:, 1])
    off = np.minimum.reduce([np.abs(columns), np.abs(rows), np.abs(SIZE - columns), np.abs(SIZE - rows)])
    assert off.max() < 0.05


def test_small_fields_need_no_more_corners() -> None:
    [[outer, hole]] = on_map(*CASES["in the middle of a UTM zone"], np.pad(disc_with_hole(), 5)).polygons
    [part] = parts(np.pad(disc_with_hole(), 5), x=0, y=0)
    assert (len(outer), len(hole)) == (len(part.outer), len(part.holes[0]))
