"""Synthetic floor plans with known rooms: what the room detector is measured and tested with.

A seed gives one plan, the same on every machine: a home of about 5 to 11 rooms cut out of a rectangle (some of them
L-shaped, open to each other, or left outside), doors with swings, windows, furniture, text, then paper: skew, uneven
light, blur, noise.
The convention that makes counting possible: an opening of at most 110 pixels parts two rooms, one of at least 150
makes them one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from benchmarks.plans.drawing import draw
from benchmarks.plans.layout import lay_out
from benchmarks.plans.openings import cut_doors, cut_windows
from benchmarks.plans.paper import photographed
from numpy.typing import NDArray

HELD_OUT = range(100_000, 100_200)
"""Seeds that nothing was tuned on: the benchmark's."""
TUNING = range(1000)


@dataclass(frozen=True, kw_only=True, eq=False)
class FloorPlan:
    """One picture and what is in it."""

    rgb: NDArray[np.uint8]
    rooms: tuple[NDArray[np.float64], ...]
    """Corners (n×2, x and y) of each room's floor, to the faces of its walls, in the picture's pixels."""
    names: tuple[str, ...]
    """What is written in each room; "" where nothing is."""


def make_plan(seed: int, *, clean: bool = False) -> FloorPlan:
    """The plan of a seed; `clean`: as it was drawn and turned, without a scanner's noise and light."""
    random = np.random.default_rng(seed)
    layout = lay_out(random)
    cut_doors(layout, random)
    cut_windows(layout, random)
    ink, names = draw(layout, random)
    rgb, matrix = photographed(ink, random, clean=clean)
    rooms = tuple(np.asarray(room, np.float64) @ matrix[:, :2].T + matrix[:, 2] for room in layout.rooms)
    return FloorPlan(rgb=rgb, rooms=rooms, names=names)
