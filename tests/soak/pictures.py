"""Pictures of plants in rows of which it is known how many there are, so that what comes back can be counted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np

SIDE_PX = 240
ROWS = 4
"""The most plants are a square of it: each has a cell to itself, and touches no other."""
RADIUS_PX = 11
SOIL, PLANT = (60, 80, 120), (40, 170, 50)
"""Blue, green, red."""


def plant(folder: Path, count: int, *, seed: int) -> Mapping[str, int]:
    """Write `count` pictures, all different; how many plants are in each, by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = np.random.default_rng(seed)
    planted = {}
    for number in range(count):
        name = f"plot {number:03d}.png"
        cells = drawn.permutation(ROWS**2)[: drawn.integers(1, ROWS**2, endpoint=True)]
        cv2.imwrite(str(folder / name), _picture(cells, drawn))
        planted[name] = len(cells)
    return planted


def _picture(cells: np.ndarray, drawn: np.random.Generator) -> np.ndarray:
    """Plants in these cells, each somewhat beside its middle, on ground with a little noise."""
    pixels = np.full((SIDE_PX, SIDE_PX, 3), SOIL, np.uint8)
    cell = SIDE_PX // ROWS
    for place in cells:
        row, column = divmod(int(place), ROWS)
        aside = drawn.integers(-cell // 5, cell // 5, 2)
        centre = (column * cell + cell // 2 + int(aside[0]), row * cell + cell // 2 + int(aside[1]))
        cv2.circle(pixels, centre, RADIUS_PX, PLANT, cv2.FILLED)
    return pixels + drawn.integers(0, 6, pixels.shape, dtype=np.uint8)
