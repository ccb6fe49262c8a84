"""Where pixels lie on earth: as GDAL says it, and areas as PROJ has them; damaged tags never raise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Geod, Transformer
from rasterio.crs import CRS
from rasterio.warp import transform as reproject
from tests.gpuworker.geotiffs import (
    OSBS,
    PLACES,
    a_tag,
    as_rasterio_has_it,
    disc_with_hole,
    geotiff,
    instance,
    placed,
    read,
    tagged,
)
from tests.properties import examples

from gpuworker.geo.georeference import NO_CRS, NOT_PLACED, georeference
from gpuworker.geo.rings import parts
from gpuworker.images.decoding import decode

SCALE = (33550, "d", (0.5, 0.5, 0.0))
TIE = (33922, "d", (0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0))
KEYS = st.sampled_from([1024, 1025, 2048, 2054, 2055, 2057, 2059, 3072, 3076, 3077])
ENTRIES = st.lists(st.tuples(KEYS, st.sampled_from([0, 34736]), st.just(1), st.integers(0, 4)), max_size=4)
ANYTHING = st.one_of(
    st.none(),
    st.text(max_size=5),
    st.binary(max_size=5),
    st.integers(),
    st.lists(st.floats(), max_size=20),
    ENTRIES.map(lambda entries: [1, 1, 0, len(entries), *(number for entry in entries for number in entry)]),
)
"""What a tag may hold by accident; directories that point at doubles are among it."""
STRETCHED = {
    "World Mercator": ("EPSG:3395", Affine(0.5, 0, 1_113_000, 0, -0.5, 6_413_000)),
    "World Mercator over the antimeridian": ("EPSG:3395", Affine(0.5, 0, 20_037_505, 0, -0.5, 6_413_000)),
    "in the middle of a polar map": ("EPSG:3031", Affine(1, 0, -9, 0, -1, 9)),
    "at the rim of a polar map": ("EPSG:3413", Affine(1, 0, 3_000_000, 0, -1, -3_000_000)),
    "a cylinder": ("ESRI:54002", Affine(1, 0, 900_000, 0, -1, 6_000_000)),
    "Robinson's": ("ESRI:54030", Affine(1, 0, 900_000, 0, -1, 6_000_000)),
}


def directory(*keys: tuple[int, int]) -> tuple[int, str, tuple[int, ...]]:
    """A GeoKeyDirectory of short values."""
    return 34735, "H", (1, 1, 0, len(keys), *(number for key, value in keys for number in (key, 0, 1, value)))


def area_by_proj(place: str) -> float:
    """Square metres of the disc with a hole, from its corners in an equal-area projection about it."""
    crs, transform = PLACES[place]
    source = CRS.from_user_input(crs)

    def signed(ring: np.ndarray, target: CRS) -> float:
        columns, rows = ring[:, 0], ring[:, 1]
        xs, ys = transform.a * columns + transform.b * rows, transform.d * columns + transform.e * rows
        x, y = map(np.array, reproject(source, target, xs + transform.c, ys + transform.f))
        x, y = x - x[0], y - y[0]
        return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2

    middle = (transform.a * 22 + transform.b * 26 + transform.c, transform.d * 22 + transform.e * 26 + transform.f)
    (longitude,), (latitude,) = reproject(source, CRS.from_epsg(4326), [middle[0]], [middle[1]])
    equal_area = CRS.from_string(f"+proj=laea +lat_0={latitude} +lon_0={longitude} +ellps=WGS84")
    [part] = parts(disc_with_hole(), x=7, y=11)
    return signed(part.outer, equal_area) - sum(signed(hole, equal_area) for hole in part.holes)


class TestPlace:
    @pytest.mark.parametrize("is_point", [False, True])
    @pytest.mark.parametrize("place", PLACES)
    def test_it_is_where_rasterio_has_it(self, place: str, is_point: bool) -> None:
        # given
        data = geotiff(*PLACES[place], is_point=is_point)
        # when
        found = placed(data)
        crs, transform = as_rasterio_has_it(data)
        # then
        assert found.transform == pytest.approx(tuple(transform)[:6], abs=1e-9, rel=1e-15)
        assert transform.almost_equals(PLACES[place][1], 1e-6)
        assert crs is not None
        assert found.epsg == (None if "own" in place else crs.to_epsg())

    def test_the_tree_crowns(self) -> None:
        found = placed(OSBS)
        assert (found.crs, found.metres, found.warnings) == ("EPSG:32617", 1.0, ())
        assert found.transform == tuple(as_rasterio_has_it(OSBS)[1])[:6]

    def test_corners_are_those_of_pixels(self) -> None:
        corners = placed(geotiff("EPSG:32617", Affine(0.5, 0, 100.0, 0, -0.5, 900.0))).at(np.array([[0, 0], [2, 4]]))
        assert corners.tolist() == [[100.0, 900.0], [101.0, 898.0]]

    def test_a_picture_without_tags_has_none(self) -> None:
        assert read(geotiff(None, None)) is None

    def test_a_place_by_polynomials_alone_says_so(self) -> None:
        """RPC, as satellite scenes have it before they are rectified."""
        found = placed(tagged(rpc=(50844, "d", (1.0,) * 92)))
        assert (found.crs, found.transform, found.warnings) == (None, None, (NOT_PLACED,))

    def test_a_system_of_its_own_has_no_code_and_is_known(self) -> None:
        found = placed(geotiff(*PLACES["in a system of its own"]))
        assert (found.crs, found.warnings) == (None, ())

    def test_a_system_that_nobody_knows_says_so(self) -> None:
        found = placed(tagged(scale=SCALE, tie=TIE, keys=directory((1024, 1), (3072, 1234))))
        assert (found.crs, found.warnings) == (None, (NO_CRS,))

    def test_a_system_without_a_place_says_so(self) -> None:
        found = placed(geotiff("EPSG:32617", None))
        assert (found.crs, found.transform, found.warnings) == ("EPSG:32617", None, (NOT_PLACED,))

    def test_a_tie_point_may_lie_anywhere(self) -> None:
        tie = (33922, "d", (10.0, 20.0, 0.0, 1000.0, 2000.0, 0.0))
        data = tagged(scale=SCALE, tie=tie, keys=directory((1024, 1), (3072, 32617)))
        assert placed(data).transform == (0.5, 0.0, 995.0, 0.0, -0.5, 2010.0)
        assert placed(data).transform == tuple(as_rasterio_has_it(data)[1])[:6]

    @pytest.mark.parametrize(
        "keys",
        [
            ((1024, 1), (3072, 32617), (3076, 9001)),
            ((1024, 1), (3072, 32617), (3076, 9002)),  # in feet it is another system
            ((1024, 1), (3072, 2236), (3076, 9003)),
            ((1024, 1), (3072, 2236), (3076, 9001)),
            ((1024, 1), (3072, 6437)),
            ((3072, 32617),),
            ((1024, 1), (3072, 32767), (2048, 4326), (3074, 16017), (3076, 9001)),  # zone and datum, no system
            ((1024, 1), (3072, 32767), (2048, 4326), (3074, 16133), (3076, 9001)),
            ((1024, 1), (3072, 32767), (2048, 4269), (3074, 16010), (3076, 9001)),
            ((1024, 1), (3072, 32767), (2048, 4258), (3074, 16032), (3076, 9001)),
            ((1024, 1), (3072, 32617), (3076, 9001), (4096, 5703)),
        ],
    )
    def test_its_system_is_the_one_that_gdal_makes_of_the_keys(self, keys: tuple[tuple[int, int], ...]) -> None:
        data = tagged(scale=SCALE, tie=TIE, keys=directory(*keys))
        crs, transform = as_rasterio_has_it(data)
        assert crs is not None
        assert placed(data).epsg == crs.to_epsg()
        assert placed(data).metres == pytest.approx(crs.linear_units_factor[1], rel=1e-9)
        assert placed(data).transform == tuple(transform)[:6]

    def test_a_scale_that_is_negative_in_y_is_north_up(self) -> None:
        data = tagged(scale=(33550, "d", (0.5, -0.5, 0.0)), tie=TIE, keys=directory((1024, 1), (3072, 32617)))
        assert placed(data).transform == tuple(as_rasterio_has_it(data)[1])[:6] == (0.5, 0, 1000, 0, -0.5, 2000)


class TestArea:
    @pytest.mark.parametrize("place", [name for name in PLACES if "own" not in name])
    def test_it_is_that_of_an_equal_area_projection(self, place: str) -> None:
        area = placed(geotiff(*PLACES[place])).area_m2(instance(disc_with_hole()))
        # UTM and state planes are conformal: their scale differs from 1 by up to 0.1 % in their middle.
        tolerance = 1e-3 if "degrees" not in place and "Web" not in place else 1e-5
        assert area == pytest.approx(area_by_proj(place), rel=tolerance)

    def test_a_tall_instance_is_measured_row_by_row(self) -> None:
        """From the equator to the pole in degrees: an eighth of the earth's surface for a quarter of the turn."""
        found = placed(geotiff("EPSG:4326", Affine(0.1, 0, 0, 0, -0.1, 90)))
        octant = instance(np.ones((900, 900), np.bool_), x=0, y=0)
        assert found.area_m2(octant) == pytest.approx(510_065_621_724_089 / 8, rel=1e-6)

    @pytest.mark.parametrize("name", STRETCHED)
    def test_of_a_system_that_stretches_the_earth_it_is_the_grounds(self, name: str) -> None:
        crs, transform = STRETCHED[name]
        square = instance(np.ones((10, 10), np.bool_), x=4, y=5)
        lies = Transformer.from_crs(crs, "EPSG:4326", always_xy=True)
        corners = [lies.transform(*(transform @ at)) for at in ((4, 5), (4, 15), (14, 15), (14, 5))]
        ground, _ = Geod(ellps="WGS84").polygon_area_perimeter(*zip(*corners, strict=True))
        counted = 100 * abs(transform.a * transform.e)
        assert abs(counted / ground - 1) > 0.02
        assert placed(geotiff(crs, transform)).area_m2(square) == pytest.approx(ground, rel=1e-3)

    def test_of_another_body_it_is_that_of_its_unit(self) -> None:
        moon = geotiff("+proj=eqc +R=1737400 +units=m", Affine(2, 0, 100, 0, -2, 100))
        assert placed(moon).area_m2(instance(np.ones((10, 10), np.bool_))) == 400

    def test_of_a_system_of_its_own_it_is_that_of_its_unit(self) -> None:
        found = placed(geotiff(*PLACES["in a system of its own"]))
        assert found.area_m2(instance(np.ones((10, 10), np.bool_))) == pytest.approx(1.0)

    def test_feet_are_feet(self) -> None:
        square = instance(np.ones((2, 2), np.bool_))
        assert placed(geotiff(*PLACES["in feet"])).area_m2(square) == pytest.approx(0.3048**2, rel=1e-12)
        assert placed(geotiff(*PLACES["in US feet"])).area_m2(square) == pytest.approx((1200 / 3937) ** 2, rel=1e-12)

    @pytest.mark.parametrize(
        ("keys", "metres"),
        [
            (((1024, 1), (3072, 32617)), 1.0),  # as EPSG has it, though the file does not say so
            (((1024, 1), (3072, 2236)), 1200 / 3937),
            (((1024, 1), (3072, 32767), (3076, 9002)), 0.3048),
            (((1024, 1), (3072, 32767), (3076, 32767)), None),
        ],
    )
    def test_an_unknown_unit_is_no_area(self, keys: tuple[tuple[int, int], ...], metres: float | None) -> None:
        found = placed(tagged(scale=SCALE, tie=TIE, keys=directory(*keys)))
        area = found.area_m2(instance(np.ones((2, 2), np.bool_)))
        assert area == (None if metres is None else pytest.approx(metres**2))

    def test_a_unit_may_be_given_by_its_length(self) -> None:
        keys = 34735, "H", (1, 1, 0, 3, 1024, 0, 1, 1, 3072, 0, 1, 32767, 3077, 34736, 1, 1)
        found = placed(tagged(scale=SCALE, tie=TIE, keys=keys, doubles=(34736, "d", (7.0, 0.25))))
        assert found.metres == 0.25


class TestDamage:
    @pytest.mark.parametrize(
        "tags",
        [
            {"scale": SCALE},
            {"scale": (33550, "d", (0.0, 0.0, 0.0)), "tie": TIE},
            {"scale": (33550, "d", (math.nan, 0.5, 0.0)), "tie": TIE},
            {"scale": (33550, "d", (0.5,)), "tie": TIE},
            {"scale": (33550, "s", "half"), "tie": TIE},
            {"matrix": (34264, "d", (1.0,) * 16)},
            {"matrix": (34264, "d", (1.0, 2.0))},
            {"keys": (34735, "s", "nonsense")},
            {"keys": (34735, "H", (1, 1))},
        ],
    )
    def test_what_places_nothing_is_told_and_the_image_is_read(self, tags: dict[str, tuple[int, str, object]]) -> None:
        data = tagged(**tags)
        assert placed(data).warnings == (NOT_PLACED,)
        assert decode(data).rgb.shape == (8, 8, 3)

    def test_a_directory_that_is_cut_short_gives_what_it_has(self) -> None:
        keys = 34735, "H", (1, 1, 0, 9, 1024, 0, 1, 1, 3072, 0, 1, 32617, 3076, 0)
        assert placed(tagged(scale=SCALE, tie=TIE, keys=keys)).epsg == 32617

    @examples(300)
    @given(st.dictionaries(st.sampled_from([33550, 33922, 34264, 34735, 34736, 34737]), ANYTHING, min_size=1))
    def test_no_tags_whatever_raise(self, values: dict[int, object]) -> None:
        found = georeference([a_tag(code, value) for code, value in values.items()])
        assert found is not None
        area = found.area_m2(instance(np.ones((2, 2), np.bool_)))
        assert area is None or not area < 0
        assert found.transform is None or all(map(math.isfinite, found.transform))
