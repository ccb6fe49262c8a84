"""A layout drawn with ink: walls, doors with their swings, windows, furniture, names and dimensions."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from benchmarks.plans.layout import Corners, Gap, Layout
from numpy.typing import NDArray

Point = tuple[float, float]

NAMES = ("Kitchen", "Living Room", "Bedroom", "Bathroom", "Office", "Hall", "Storage", "Dining", "Study", "Laundry")
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_PLAIN)
_PAPER, _INK = 255, 0


def draw(layout: Layout, random: np.random.Generator) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """H×W uint8, 0 is ink, and the name written into each room."""
    page = _Page(np.where(layout.walls > 0, _INK, _PAPER).astype(np.uint8), random)
    for gap in layout.gaps:
        page.gap(gap)
    page.surroundings(layout)
    names = tuple(page.furnish(layout, room) for room in layout.rooms)
    return page.ink, names


class _Page:
    """What is drawn so far, and the pen."""

    def __init__(self, ink: NDArray[np.uint8], random: np.random.Generator) -> None:
        self.ink = ink
        self.random = random
        self.pen = int(random.integers(1, 3))

    def line(self, points: Sequence[Point], *, closed: bool = False, pen: int | None = None) -> None:
        corners = np.round(np.array(points)).astype(np.int32)
        cv2.polylines(self.ink, [corners], closed, _INK, pen or self.pen, cv2.LINE_AA)

    def box(self, left: float, top: float, right: float, bottom: float) -> None:
        self.line([(left, top), (right, top), (right, bottom), (left, bottom)], closed=True)

    def text(self, text: str, at: Point, scale: float, pen: int = 1) -> None:
        font = _FONTS[int(self.random.integers(len(_FONTS)))]
        scale = scale * 1.7 if font == cv2.FONT_HERSHEY_PLAIN else scale
        cv2.putText(self.ink, text, (round(at[0]), round(at[1])), font, scale, _INK, pen, cv2.LINE_AA)

    def gap(self, gap: Gap) -> None:
        if gap.kind == "window":
            self._window(gap)
        elif gap.kind == "sliding":
            half = (gap.start + gap.end) // 2
            self.line([_at(gap, gap.start, gap.near + 2), _at(gap, half + 4, gap.near + 2)], pen=1)
            self.line([_at(gap, half - 4, gap.far - 3), _at(gap, gap.end, gap.far - 3)], pen=1)
        elif gap.kind == "double":
            middle = (gap.start + gap.end) / 2
            self._swing(gap, gap.start, middle)
            self._swing(gap, gap.end, middle)
        elif gap.kind == "swing":
            hinge, latch = (gap.start, gap.end) if self.random.random() < 0.5 else (gap.end, gap.start)
            self._swing(gap, hinge, latch)

    def _swing(self, gap: Gap, hinge: float, latch: float) -> None:
        """A leaf that stands open, and the quarter of a circle that its edge runs along."""
        face = gap.far if gap.side > 0 else gap.near - 1
        radius = abs(latch - hinge)
        turn = np.linspace(0, np.pi / 2, 24)
        towards = 1 if latch > hinge else -1
        arc = [
            _at(gap, hinge + towards * radius * np.sin(angle), face + gap.side * radius * np.cos(angle))
            for angle in turn
        ]
        self.line(arc, pen=1)
        leaf = [_at(gap, hinge, face), arc[0]]
        if self.random.random() < 0.3 and gap.far - gap.near >= 9:
            beside = hinge + towards * 3
            self.line([*leaf, _at(gap, beside, face + gap.side * radius), _at(gap, beside, face)], pen=1)
        else:
            self.line(leaf)

    def _window(self, gap: Gap) -> None:
        """Two to four panes' lines along the wall, closed at its ends or not."""
        for through in np.linspace(gap.near, gap.far - 1, int(self.random.integers(2, 4))):
            self.line([_at(gap, gap.start, through), _at(gap, gap.end - 1, through)], pen=1)

    def surroundings(self, layout: Layout) -> None:
        """What stands around a building on paper: a frame, a title, dimension lines."""
        height, width = self.ink.shape
        if self.random.random() < 0.4:
            inset = int(self.random.integers(6, 14))
            self.box(inset, inset, width - inset, height - inset)
        rows, columns = np.flatnonzero(layout.walls.any(1)), np.flatnonzero(layout.walls.any(0))
        if self.random.random() < 0.6:
            y = rows[0] - 25
            self.line([(columns[0], y), (columns[-1], y)], pen=1)
            for x in (columns[0], (columns[0] + columns[-1]) // 2, columns[-1]):
                self.line([(x - 5, y + 5), (x + 5, y - 5)], pen=1)
            self.text(f"{(columns[-1] - columns[0]) / 80:.2f}", ((columns[0] + columns[-1]) / 2 + 12, y - 6), 0.45)
        if self.random.random() < 0.7:
            title = f"FLOOR PLAN {int(self.random.integers(1, 40))}"
            self.text(title, (columns[0], rows[-1] + 40), float(self.random.uniform(0.7, 1.1)), 2)

    def furnish(self, layout: Layout, room: Corners) -> str:
        """Put things on the free floor of a room, then its name; give the name."""
        floor = np.zeros(self.ink.shape, np.uint8)
        cv2.fillPoly(floor, [np.round(np.array(room)).astype(np.int32)], 255)
        free = cv2.erode(np.where((self.ink > 200) & (floor > 0), 255, 0).astype(np.uint8), np.ones((17, 17)))
        things = (
            self.bed,
            self.table,
            self.round_table,
            self.sofa,
            self.wardrobe,
            self.basin,
            self.counter,
            self.column,
        )
        weights = np.array([3, 3, 3, 3, 3, 3, 2, 0.7])
        for _ in range(int(self.random.integers(0, 3))):
            thing = things[int(self.random.choice(len(things), p=weights / weights.sum()))]
            size = int(self.random.integers(28, 80)), int(self.random.integers(24, 60))
            spot = self._spot(free, *size)
            if spot is not None:
                thing(*spot, *size)
                free[max(0, spot[1] - 8) : spot[1] + size[1] + 9, max(0, spot[0] - 8) : spot[0] + size[0] + 9] = 0
        if self.random.random() < 0.15:
            return ""
        name = NAMES[int(self.random.integers(len(NAMES)))]
        # Most names are written in the middle of a room; some where there is space.
        middle = _middle(room) if self.random.random() < 0.8 else None
        spot = self._spot(free, 10 * len(name), 40, near=middle)
        if spot is None:
            return ""
        self.text(name, (spot[0], spot[1] + 14), 0.5)
        self.text(f"{self.random.uniform(4, 40):.1f} m2", (spot[0], spot[1] + 36), 0.4)
        return name

    def _spot(
        self, free: NDArray[np.uint8], width: int, height: int, *, near: Point | None = None
    ) -> tuple[int, int] | None:
        """The left upper corner of a free rectangle: any of those there are, or the one about `near`."""
        total = cv2.integral((free == 0).view(np.uint8))
        taken = total[height:, width:] - total[:-height, width:] - total[height:, :-width] + total[:-height, :-width]
        rows, columns = np.nonzero(taken == 0)
        if not len(rows):
            return None
        if near is None:
            chosen = int(self.random.integers(len(rows)))
        else:
            chosen = int(np.hypot(columns + width / 2 - near[0], rows + height / 2 - near[1]).argmin())
        return int(columns[chosen]), int(rows[chosen])

    def bed(self, x: int, y: int, w: int, h: int) -> None:
        self.box(x, y, x + w, y + h)
        self.box(x + 8, y + 8, x + 18, y + h - 8)

    def table(self, x: int, y: int, w: int, h: int) -> None:
        self.box(x, y + 8, x + w, y + h - 8)
        for side in (y + 1, y + h - 7):
            self.box(x + w // 2 - 6, side, x + w // 2 + 6, side + 6)

    def round_table(self, x: int, y: int, w: int, h: int) -> None:
        cv2.circle(self.ink, (x + w // 2, y + h // 2), min(w, h) // 2, _INK, self.pen, cv2.LINE_AA)

    def sofa(self, x: int, y: int, w: int, h: int) -> None:
        self.box(x, y, x + w, y + h)
        self.line([(x + 7, y + h), (x + 7, y + 7), (x + w - 7, y + 7), (x + w - 7, y + h)])

    def wardrobe(self, x: int, y: int, w: int, h: int) -> None:
        self.box(x, y, x + w, y + h)
        self.line([(x, y), (x + w, y + h)])

    def basin(self, x: int, y: int, w: int, h: int) -> None:
        self.box(x, y, x + w, y + h)
        cv2.ellipse(self.ink, (x + w // 2, y + h // 2), (w // 3, h // 3), 0, 0, 360, _INK, 1, cv2.LINE_AA)

    def counter(self, x: int, y: int, w: int, h: int) -> None:
        """Steps: parallel lines in a box."""
        self.box(x, y, x + w, y + h)
        for step in range(x + 10, x + w, 10):
            self.line([(step, y), (step, y + h)], pen=1)

    def column(self, x: int, y: int, w: int, h: int) -> None:
        """Solid, as thick as a wall, and no part of one."""
        cv2.rectangle(self.ink, (x, y), (x + h // 3 + 6, y + h // 3 + 6), _INK, cv2.FILLED)


def _middle(room: Corners) -> Point:
    """The middle of what it weighs, which for an L may lie in its bend."""
    moments = cv2.moments(np.array(room, np.float32))
    return moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]


def _at(gap: Gap, along: float, through: float) -> Point:
    return (along, through) if gap.along == "x" else (through, along)
