"""EPSG's units by code, as PROJ's database has them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

from pyproj.database import get_units_map

DEGREE = 9102


def metres_of(unit: int) -> float | None:
    """Length of a unit; None where EPSG has no such."""
    return _sizes("linear").get(unit)


def radians_of(unit: int) -> float | None:
    """Angle of a unit; None where EPSG has no such, or it is one of writing (degrees, minutes and seconds)."""
    return _sizes("angular").get(unit)


@cache
def _sizes(category: Literal["linear", "angular"]) -> Mapping[int, float]:
    units = get_units_map(auth_name="EPSG", category=category, allow_deprecated=True).values()
    return {int(unit.code): unit.conv_factor for unit in units if unit.conv_factor > 0}
