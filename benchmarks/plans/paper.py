"""A clean drawing becomes a scan or a photograph of one: turned, unevenly lit, soft and noisy."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def photographed(
    ink: NDArray[np.uint8], random: np.random.Generator, *, clean: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """H×W drawing (255 is paper) -> H×W×3 RGB, and the 2×3 matrix that moved its points; `clean`: only turned."""
    height, width = ink.shape
    angle = float(random.uniform(-2, 2)) if random.random() < 0.8 else 0.0
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), angle, 1.0)
    # Points are the corners of pixels; warpAffine speaks of their centres.
    centres = matrix.copy()
    centres[:, 2] += matrix[:, :2] @ (0.5, 0.5) - 0.5
    turned = cv2.warpAffine(ink, centres, (width, height), flags=cv2.INTER_LINEAR, borderValue=255)
    if clean:
        return cv2.cvtColor(turned, cv2.COLOR_GRAY2RGB), np.asarray(matrix, np.float64)
    soft = cv2.GaussianBlur(turned, (0, 0), float(random.uniform(0.3, 0.9))).astype(np.float32)
    black, white = float(random.uniform(10, 70)), float(random.uniform(215, 252))
    grey = black + soft / 255 * (white - black)
    grey *= _light(height, width, random)
    grey += random.normal(0, float(random.uniform(2, 9)), grey.shape).astype(np.float32)
    _specks(grey, random)
    tint = np.array([1.0, random.uniform(0.95, 1.0), random.uniform(0.86, 1.0)], np.float32)
    return np.clip(grey[:, :, None] * tint, 0, 255).astype(np.uint8), np.asarray(matrix, np.float64)


def _light(height: int, width: int, random: np.random.Generator) -> NDArray[np.float32]:
    """Darker towards one side and away from one spot."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j].astype(np.float32)
    direction = random.uniform(0, 2 * np.pi)
    slope = (np.cos(direction) * (x - 0.5) + np.sin(direction) * (y - 0.5)) * random.uniform(0, 0.4)
    spot = ((x - random.uniform(0.2, 0.8)) ** 2 + (y - random.uniform(0.2, 0.8)) ** 2) * random.uniform(0, 0.45)
    light: NDArray[np.float32] = np.clip(1 - np.abs(slope.min()) + slope - spot, 0.4, 1.0).astype(np.float32)
    return light


def _specks(grey: NDArray[np.float32], random: np.random.Generator) -> None:
    """Dust of a pixel or a few, dark and bright."""
    height, width = grey.shape
    for value in (40.0, 250.0):
        count = int(random.uniform(0, 0.0012) * grey.size)
        grey[random.integers(0, height, count), random.integers(0, width, count)] = value
    for _ in range(int(random.integers(0, 25))):
        centre = int(random.integers(0, width)), int(random.integers(0, height))
        cv2.circle(grey, centre, int(random.integers(1, 4)), float(random.uniform(40, 160)), cv2.FILLED)
