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
        """Square metres of a square radian of longitude at each latitude (N float64, in radians): the radii of
        curvature M · N · cos(latitude)."""
        e2 = self._e2
        area: NDArray[np.float64] = (
            self.semi_major_m**2 * (1 - e2) * np.abs(np.cos(latitude)) / (1 - e2 * np.sin(latitude) ** 2) ** 2
        )
        return area

    def places(self, longitude: NDArray[np.float64], latitude: NDArray[np.float64]) -> NDArray[np.float64]:
        """N×3 float64: metres from the middle of the earth (EPSG method 9602, on the figure itself), of N float64
        radians."""
        across = self.semi_major_m / np.sqrt(1 - self._e2 * np.sin(latitude) ** 2)
        x, y = np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude)
        found: NDArray[np.float64] = across[:, None] * np.stack([x, y, (1 - self._e2) * np.sin(latitude)], axis=1)
        return found

    @property
    def _e2(self) -> float:
        """The square of the eccentricity."""
        flattening = 1 / self.inverse_flattening if self.inverse_flattening else 0.0
        return flattening * (2 - flattening)
