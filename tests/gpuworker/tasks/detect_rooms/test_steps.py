"""The steps one by one: ink under uneven light, the angle of a page, and walls told from lines."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.gpuworker.tasks.detect_rooms.drawn import house, turned, wall

from gpuworker.tasks.detect_rooms.binarise import flattened, ink_of
from gpuworker.tasks.detect_rooms.deskew import skew_of, straightening, turned_back
from gpuworker.tasks.detect_rooms.deskew import turned as moved
from gpuworker.tasks.detect_rooms.gaps import Gap, bridged, gaps_of, max_gap_px
from gpuworker.tasks.detect_rooms.walls import stroke_widths, walls_of


def ink(page: np.ndarray) -> np.ndarray:
    return ink_of(flattened(cv2.cvtColor(page, cv2.COLOR_RGB2GRAY)))


class TestInk:
    def test_is_found_in_the_dark_and_in_the_light(self) -> None:
        shaded = (house() * np.linspace(0.35, 1.0, 600)[None, :, None]).astype(np.uint8)
        difference = ink(shaded) != ink(house())
        assert difference.mean() < 0.005

    def test_an_empty_page_has_none(self) -> None:
        grain = np.random.default_rng(1).normal(230, 4, (300, 400, 1)).repeat(3, 2).astype(np.uint8)
        assert ink(grain).sum() == 0

    def test_specks_are_no_ink(self) -> None:
        page = house()
        page[100, 100] = page[200, 120:122] = 0
        assert (ink(page) == ink(house())).all()


class TestSkew:
    @pytest.mark.parametrize("degrees", [-5.0, -0.4, 0.0, 1.7])
    def test_is_measured(self, degrees: float) -> None:
        assert skew_of(ink(turned(house(), degrees))) == pytest.approx(degrees, abs=0.1)

    def test_of_an_empty_page_is_none(self) -> None:
        assert skew_of(np.zeros((100, 100), np.uint8)) == 0.0

    def test_points_come_back_to_where_they_were(self) -> None:
        matrix, _ = straightening(400, 600, 1.7)
        points = np.array([[10.0, 20.0], [590.0, 390.0]])
        assert np.allclose(turned_back(points @ matrix[:, :2].T + matrix[:, 2], matrix), points)

    def test_a_turned_canvas_loses_no_corner(self) -> None:
        matrix, (width, height) = straightening(400, 600, 5.0)
        page = moved(np.zeros((400, 600), np.uint8), matrix, (width, height))
        assert (page < 128).sum() == pytest.approx(400 * 600, rel=0.01)


class TestWalls:
    def test_widths_of_strokes_are_exact(self) -> None:
        mask = np.zeros((60, 80), np.uint8)
        mask[10:17, 5:75] = 1
        mask[30:55, 20:23] = 1
        widths = stroke_widths(mask)
        assert set(widths[10:17, 5:75].ravel()) == {7}
        assert set(widths[30:55, 20:23].ravel()) == {3}
        assert widths[0, 0] == 0

    def test_lines_and_letters_are_no_walls(self) -> None:
        page = house()
        before = walls_of(ink(page))
        cv2.rectangle(page, (100, 100), (200, 200), (0, 0, 0), 2)
        cv2.putText(page, "Kitchen", (350, 200), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (0, 0, 0), 2)
        after = walls_of(ink(page))
        assert before is not None
        assert after is not None
        assert (before.mask != after.mask).sum() < 20
        assert after.usual_px == pytest.approx(10, abs=1)

    def test_thin_walls_beside_thick_ones_are_kept(self) -> None:
        page = house()
        wall(page, 295, 60, 305, 340, 255)
        wall(page, 297, 60, 303, 340)
        wall(page, 40, 40, 50, 360)
        wall(page, 100, 100, 102, 200)
        walls = walls_of(ink(page))
        assert walls is not None
        assert walls.mask[200, 298:302].all()
        assert not walls.mask[150, 95:110].any()

    def test_no_ink_no_walls(self) -> None:
        assert walls_of(np.zeros((50, 50), np.uint8)) is None


class TestGaps:
    def gaps(self, page: np.ndarray) -> list[Gap]:
        walls = walls_of(ink(page))
        assert walls is not None
        return gaps_of(walls, max_gap_px(walls, 0.0))

    def test_a_door_is_closed_by_a_rectangle_of_the_walls_thickness(self) -> None:
        (gap,) = self.gaps(house(door=(295, 150, 305, 210)))
        assert gap.along == "y"
        assert gap.thickness == pytest.approx(10, abs=1)
        assert gap.top <= 151
        assert gap.bottom >= 209

    def test_a_whole_wall_has_none(self) -> None:
        assert self.gaps(house()) == []

    def test_two_doors_that_face_each_other_at_a_junction_are_both_closed(self) -> None:
        page = house(door=(295, 60, 305, 120), window=(270, 50, 330, 60))
        assert {gap.along for gap in self.gaps(page)} == {"x", "y"}

    def test_thick_walls_have_wider_doors(self) -> None:
        walls = walls_of(ink(house()))
        assert walls is not None
        assert max_gap_px(walls, 0.0) == 125.0
        assert max_gap_px(walls, 80.0) == 80.0

    def test_bridging_leaves_the_walls_as_they_are(self) -> None:
        mask = np.zeros((10, 10), np.uint8)
        closed = bridged(mask, [Gap(along="x", left=2, top=3, right=5, bottom=6)])
        assert closed.sum() == 9
        assert mask.sum() == 0
