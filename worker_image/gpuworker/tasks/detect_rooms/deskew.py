"""How far a plan lies askew, by the direction in which its ink lines up best; and the turn that sets it right."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_LIMIT_DEG = 6.0
_COARSE_DEG, _FINE_DEG = 0.5, 0.05
_POINTS_AT_MOST = 60_000


def skew_of(mask: NDArray[np.uint8]) -> float:
    """Degrees by which the straight edges of a mask (H×W uint8) are turned clockwise, within ±6; 0 where there are
    none."""
    edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    rows, columns = np.nonzero(edges)
    if len(rows) < 200:
        return 0.0
    step = -(-len(rows) // _POINTS_AT_MOST)
    points = np.stack([columns[::step], rows[::step]]).astype(np.float32)
    points -= points.mean(1, keepdims=True)
    coarse = _best(points, np.arange(-_LIMIT_DEG, _LIMIT_DEG + 1e-6, _COARSE_DEG))
    return round(_best(points, coarse + np.arange(-_COARSE_DEG, _COARSE_DEG + 1e-6, _FINE_DEG)), 3)


def _best(points: NDArray[np.float32], angles_deg: NDArray[np.float64]) -> float:
    """The angle at which projections on both axes are the most uneven; of equals the one nearest to 0."""
    scores = [(_unevenness(points, angle), -abs(angle), float(angle)) for angle in angles_deg]
    return max(scores)[2]


def _unevenness(points: NDArray[np.float32], angle_deg: float) -> float:
    angle = np.deg2rad(angle_deg)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = points[0] * cos + points[1] * sin, points[1] * cos - points[0] * sin
    profiles = (np.bincount((on_axis - on_axis.min()).astype(np.int32)) for on_axis in (along, across))
    return float(sum((profile.astype(np.float64) ** 2).sum() for profile in profiles))


def straightening(height: int, width: int, skew_deg: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
    """The 2×3 matrix that turns a picture upright on a canvas that loses nothing, and that canvas' width and height."""
    if skew_deg == 0.0:
        return np.array([[1.0, 0, 0], [0, 1, 0]]), (width, height)
    matrix = np.asarray(cv2.getRotationMatrix2D((width / 2, height / 2), skew_deg, 1.0), np.float64)
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64) @ matrix[:, :2].T + matrix[:, 2]
    low = np.floor(corners.min(0))
    matrix[:, 2] -= low
    across, down = np.ceil(corners.max(0) - low).astype(int)
    return matrix, (int(across), int(down))


def turned(pixels: NDArray[np.uint8], matrix: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.uint8]:
    """The picture (H×W or H×W×3 uint8) moved by a matrix (2×3 float64) that speaks of pixels' corners (warpAffine's of
    their centres); new parts white."""
    if pixels.shape == size[::-1] and np.array_equal(matrix, [[1, 0, 0], [0, 1, 0]]):
        return pixels
    centres = matrix.copy()
    centres[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    moved: NDArray[np.uint8] = cv2.warpAffine(pixels, centres, size, flags=cv2.INTER_LINEAR, borderValue=255)
    return moved


def turned_back(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points (n×2 float64) of the upright canvas in the picture as it was; `matrix` (2×3 float64) turned it."""
    inverse: NDArray[np.float64] = np.asarray(cv2.invertAffineTransform(matrix), np.float64)
    back: NDArray[np.float64] = points @ inverse[:, :2].T + inverse[:, 2]
    return back
