"""Small floor plans drawn for one test each: black walls on white paper, coordinates in whole pixels."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

WALL = 10


def paper(height: int = 400, width: int = 600) -> NDArray[np.uint8]:
    """H×W×3, white."""
    return np.full((height, width, 3), 255, np.uint8)


def wall(page: NDArray[np.uint8], left: int, top: int, right: int, bottom: int, value: int = 0) -> None:
    """A filled rectangle; right and bottom are outside it."""
    page[top:bottom, left:right] = value


def house(**openings: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Two rooms, 235×280 and 235×280, with a wall between them; each opening is a rectangle of paper."""
    page = paper()
    wall(page, 50, 50, 550, 350)
    wall(page, 60, 60, 295, 340, 255)
    wall(page, 305, 60, 540, 340, 255)
    for left, top, right, bottom in openings.values():
        wall(page, left, top, right, bottom, 255)
    return page


LEFT_ROOM = np.array([[60, 60], [295, 60], [295, 340], [60, 340]], np.float64)
RIGHT_ROOM = np.array([[305, 60], [540, 60], [540, 340], [305, 340]], np.float64)


def turned(page: NDArray[np.uint8], degrees: float) -> NDArray[np.uint8]:
    """The page turned clockwise around its middle, on white."""
    height, width = page.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    moved: NDArray[np.uint8] = cv2.warpAffine(page, matrix, (width, height), borderValue=(255, 255, 255))
    return moved


def same_corners(found: NDArray[Any], true: NDArray[Any], within_px: float = 2.5) -> bool:
    """Whether both have the same corners in any order."""
    if len(found) != len(true):
        return False
    return all(np.abs(found - corner).max(1).min() <= within_px for corner in true)


def in_tones(page: NDArray[np.uint8], tone: tuple[int, int, int], line: tuple[int, int, int]) -> NDArray[np.uint8]:
    """The page with its paper and its walls in two other colours, and all between them mixed."""
    ink = 1 - page[:, :, :1] / 255
    mixed: NDArray[np.uint8] = np.round(np.array(tone) * (1 - ink) + np.array(line) * ink).astype(np.uint8)
    return mixed


def surrounded(page: NDArray[np.uint8], colour: tuple[int, int, int], by_px: int) -> NDArray[np.uint8]:
    """The page in the middle of a larger one of that colour."""
    return np.asarray(cv2.copyMakeBorder(page, *[by_px] * 4, cv2.BORDER_CONSTANT, value=colour), np.uint8)
