"""The figure of the earth, and how large a piece of it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

WGS84_M, _WGS84_INVERSE_FLATTENING = 6_378_137.0, 298.257223563


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """The figure of the earth that degrees refer to."""

    semi_major_m: float = WGS84_M
    inverse_flattening: float = _WGS84_INVERSE_FLATTENING

    def square_radian_m2(self, latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """Square metres of a square radian of longitude by latitude: the radii of curvature M · N · cos(latitude)."""
        flattening = 1 / self.inverse_flattening if self.inverse_flattening else 0.0
        e2 = flattening * (2 - flattening)
        area: NDArray[np.float64] = (
            self.semi_major_m**2 * (1 - e2) * np.abs(np.cos(latitude)) / (1 - e2 * np.sin(latitude) ** 2) ** 2
        )
        return area
