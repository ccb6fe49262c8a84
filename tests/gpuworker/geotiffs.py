"""GeoTIFFs for tests: written by GDAL (through rasterio), or with tags as one likes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from tests.gpuworker import pictures

from gpuworker.geo.georeference import Georeference, georeference
from gpuworker.images.tiff.file import GeoTag, Tiff
from gpuworker.masks.instances import Instance

OSBS = (Path(__file__).parents[1] / "data/osbs/OSBS_029.tif").read_bytes()
"""Tree crowns in Florida: 400×400 pixels of 10 cm in UTM zone 17 (weecology/NeonTreeEvaluation, MIT)."""
OWN_SYSTEM = "+proj=tmerc +lat_0=49 +lon_0=9.5 +k=0.9999 +x_0=500 +y_0=1000 +ellps=bessel +units=m"
PLACES: Mapping[str, tuple[str, Affine]] = {
    "north up in UTM": ("EPSG:32617", Affine(0.1, 0, 404211.9, 0, -0.1, 3285142.9)),
    "rotated": ("EPSG:25832", Affine(0.04, 0.03, 500_000.0, 0.03, -0.04, 5_400_000.0)),
    "in degrees": ("EPSG:4326", Affine(2e-6, 0, 8.4, 0, -1.5e-6, 49.01)),
    "in degrees of another datum": ("EPSG:4258", Affine(2e-6, 0, 8.4, 0, -1.5e-6, -33.5)),
    "in US feet": ("EPSG:2236", Affine(0.5, 0, 800_000.0, 0, -0.5, 500_000.0)),
    "in feet": ("EPSG:2222", Affine(0.5, 0, 700_000.0, 0, -0.5, 900_000.0)),
    "in Web Mercator": ("EPSG:3857", Affine(0.2, 0, 935_000.0, 0, -0.2, 8_399_000.0)),
    "in a system of its own": (OWN_SYSTEM, Affine(0.1, 0, 400.0, 0, -0.1, 900.0)),
}


def geotiff(crs: str | None, transform: Affine | None, *, is_point: bool = False, size: int = 60) -> bytes:
    """size×size RGB."""
    pixels = np.random.default_rng(1).integers(0, 255, (3, size, size), np.uint8)
    profile: dict[str, Any] = {"driver": "GTiff", "width": size, "height": size, "count": 3, "dtype": "uint8"}
    placed = {"crs": crs and CRS.from_user_input(crs), "transform": transform}
    with warnings.catch_warnings(), MemoryFile() as memory:
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with memory.open(**profile, **{name: value for name, value in placed.items() if value is not None}) as written:
            if is_point:
                written.update_tags(AREA_OR_POINT="Point")
            written.write(pixels)
        return bytes(memory.read())


def tagged(**tags: tuple[int, str, Any]) -> bytes:
    """A TIFF with tags as given: name (for the reader) = (code, TIFF type, value)."""
    extra = [(code, kind, 0 if kind == "s" else len(value), value, True) for code, kind, value in tags.values()]
    return pictures.tiff(np.zeros((8, 8, 3), np.uint8), photometric="rgb", extratags=extra)


def read(data: bytes) -> Georeference | None:
    """As the worker reads it."""
    return georeference(Tiff(data).geo)


def placed(data: bytes) -> Georeference:
    found = read(data)
    assert found is not None
    return found


def a_tag(code: int, value: Any) -> GeoTag:
    return GeoTag(code=code, dtype=3, count=1, value=value)


def instance(mask: NDArray[np.bool_], *, x: int = 7, y: int = 11, category: int = 1) -> Instance:
    return Instance(x=x, y=y, mask=mask, score=0.87654321, category_id=category, source="test")


def disc_with_hole() -> NDArray[np.bool_]:
    rows, columns = np.mgrid[:31, :31]
    away = (rows - 15) ** 2 + (columns - 15) ** 2
    disc: NDArray[np.bool_] = (away < 200) & (away > 20)
    return disc


def as_rasterio_has_it(data: bytes) -> tuple[CRS | None, Affine]:
    with MemoryFile(data) as memory, rasterio.Env(), memory.open() as opened:
        return opened.crs, opened.transform
