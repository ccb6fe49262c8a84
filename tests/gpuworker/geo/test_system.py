"""Reference systems that GeoTIFF keys describe: the places on earth are those of GDAL's own reading."""

from __future__ import annotations

import pytest
from affine import Affine
from pyproj import CRS, Transformer
from tests.gpuworker.geotiffs import as_rasterio_has_it, geotiff, placed, tagged

from gpuworker.geo.georeference import NO_CRS

SCALE = (33550, "d", (0.5, 0.5, 0.0))
TIE = (33922, "d", (0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0))
AT = "+x_0=5 +y_0=6"
OWN = [
    f"+proj=lcc +lat_1=49 +lat_0=49 +lon_0=9 +k_0=0.999 {AT} +datum=WGS84",
    f"+proj=lcc +lat_1=40 +lat_2=50 +lat_0=45 +lon_0=9 {AT} +datum=NAD83 +units=us-ft",
    f"+proj=aea +lat_1=40 +lat_2=50 +lat_0=45 +lon_0=9 {AT} +datum=WGS84",
    f"+proj=laea +lat_0=45 +lon_0=9 {AT} +ellps=GRS80",
    f"+proj=merc +lon_0=9 +k=0.9 {AT} +datum=WGS84",
    f"+proj=merc +lat_ts=30 +lon_0=9 {AT} +datum=WGS84",
    f"+proj=stere +lat_0=90 +lat_ts=71 +lon_0=9 {AT} +datum=WGS84",
    f"+proj=stere +lat_0=-90 +lat_ts=-71 +lon_0=9 {AT} +datum=WGS84",
    f"+proj=stere +lat_0=90 +k_0=0.99 +lon_0=9 {AT} +datum=WGS84",
    f"+proj=sterea +lat_0=52 +k_0=0.99 +lon_0=5 {AT} +ellps=bessel",
    f"+proj=stere +lat_0=52 +k_0=0.99 +lon_0=5 {AT} +ellps=bessel",
    f"+proj=omerc +lat_0=4 +lonc=115 +alpha=53 +k=0.99984 +gamma=53.1 {AT} +ellps=evrstSS",
    f"+proj=omerc +no_uoff +lat_0=4 +lonc=115 +alpha=53 +k=0.99984 +gamma=53.1 {AT} +ellps=evrstSS",
    f"+proj=somerc +lat_0=47 +lon_0=8 {AT} +datum=WGS84",  # GDAL writes it as an oblique one of azimuth 90
    "+proj=sinu +lon_0=3 +R=6371007",
    "+proj=eqc +lat_ts=30 +lon_0=4 +datum=WGS84",
    "+proj=poly +lat_0=4 +lon_0=5 +datum=WGS84",
    "+proj=cass +lat_0=4 +lon_0=5 +datum=WGS84",
    "+proj=eqdc +lat_1=40 +lat_2=50 +lat_0=45 +lon_0=9 +datum=WGS84",
    "+proj=cea +lat_ts=30 +lon_0=4 +datum=WGS84",
    "+proj=aeqd +lat_0=3 +lon_0=4 +datum=WGS84",
    "+proj=robin +lon_0=3 +datum=WGS84",
    "+proj=moll +lon_0=4 +datum=WGS84",  # ESRI's text
    "+proj=geos +h=35785831 +lon_0=0 +sweep=y +datum=WGS84",
    f"+proj=tmerc +lat_0=0 +lon_0=2 {AT} +pm=paris +ellps=clrk80ign",
    "+proj=utm +zone=33 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7",
    "+proj=longlat +R=6371000",
    "+proj=longlat +pm=paris +ellps=clrk80ign",
]
BY_CODE = [2048, 2056, 2180, 3031, 3413, 4267, 4277, 4979, 5514, 7405, 27561, 27572, 27700, 28992, 31467, 32661]
KEYS = [
    ((1024, 1), (3072, 32617), (3076, 9002)),  # another unit than the code's
    ((1024, 1), (3072, 2236), (3076, 9001)),
    ((1024, 1), (3072, 4326)),  # the other kind than the model's
    ((1024, 2), (2048, 32617)),
    ((1024, 1), (3072, 7405)),  # heights besides
    ((1024, 2), (2048, 32767), (2050, 6326)),
    ((1024, 2), (2048, 32767), (2056, 7004)),
    ((1024, 2), (2048, 4326), (2054, 9105)),
    ((1024, 2), (2048, 32767), (2050, 6258), (2054, 9105)),
    ((1024, 1), (3072, 32767), (2048, 4277), (3074, 32767), (3075, 1), (3076, 9001)),
    ((1024, 1), (3072, 32767), (2048, 4267), (3074, 10901), (3076, 9003)),
    ((1024, 1), (3072, 32767), (2048, 4277), (3074, 16030), (3076, 9002)),
]


def on_earth(crs: CRS) -> tuple[float, float]:
    """Longitude and latitude of a place that all of them have."""
    place = (8.1, 50.2) if crs.is_geographic else (1000.0, 2000.0)
    longitude, latitude = Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(*place)
    return float(longitude), float(latitude)


def hold_against_gdal(data: bytes) -> None:
    ours, (theirs, _) = placed(data).definition, as_rasterio_has_it(data)
    assert ours is not None
    assert theirs is not None
    assert on_earth(CRS.from_user_input(ours)) == pytest.approx(on_earth(CRS.from_wkt(theirs.to_wkt())), abs=1e-9)


@pytest.mark.parametrize("crs", [*OWN, *(f"EPSG:{code}" for code in BY_CODE), "ESRI:102001", "ESRI:54030"])
def test_what_gdal_writes_is_where_gdal_reads_it(crs: str) -> None:
    hold_against_gdal(geotiff(crs, Affine(0.1, 0, 400.0, 0, -0.1, 900.0), size=4))


@pytest.mark.parametrize("keys", KEYS)
def test_keys_of_any_writer_are_read_as_by_gdal(keys: tuple[tuple[int, int], ...]) -> None:
    entries = (number for key, value in keys for number in (key, 0, 1, value))
    hold_against_gdal(tagged(scale=SCALE, tie=TIE, keys=(34735, "H", (1, 1, 0, len(keys), *entries))))


@pytest.mark.parametrize(
    "keys",
    [
        ((1024, 3), (2048, 4978)),  # earth-centred
        ((1024, 1), (3072, 1234)),  # no such code
        ((1024, 1), (3072, 5703)),  # heights only
        ((1024, 1), (3072, 32767)),
        ((1024, 2), (2048, 32767)),
        ((1024, 1), (3072, 32767), (3075, 1), (3076, 9001)),  # a projection of no known earth
        ((1024, 1), (3072, 32767), (2048, 4326), (3075, 99), (3076, 9001)),
        ((1024, 1), (3072, 32767), (2048, 4326), (3075, 1), (3076, 9999)),  # lengths of no known unit
    ],
)
def test_what_describes_no_place_on_earth_is_none(keys: tuple[tuple[int, int], ...]) -> None:
    entries = (number for key, value in keys for number in (key, 0, 1, value))
    found = placed(tagged(scale=SCALE, tie=TIE, keys=(34735, "H", (1, 1, 0, len(keys), *entries))))
    assert (found.definition, found.crs, found.warnings) == (None, None, (NO_CRS,))
