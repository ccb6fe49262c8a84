"""The detector as a whole: what makes two rooms of one and one of two, and how well it does on synthetic plans."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest
from benchmarks.plans import FloorPlan, make_plan
from benchmarks.plans.measure import Agreement, agreement
from tests.gpuworker.tasks.detect_rooms.drawn import LEFT_ROOM, RIGHT_ROOM, house, paper, same_corners, turned, wall

from gpuworker.tasks.detect_rooms.options import Options
from gpuworker.tasks.detect_rooms.rooms import Rooms, rooms_of

SEEDS = range(200_000, 200_020)
"""Neither tuned on nor the benchmark's."""


def found_in(page: np.ndarray, **options: object) -> Rooms:
    return rooms_of(page, Options(**options))  # type: ignore[arg-type]


@cache
def synthetic(seed: int) -> tuple[FloorPlan, Rooms]:
    """A plan, and what is found in it."""
    plan = make_plan(seed)
    return plan, rooms_of(plan.rgb, Options())


def agreement_on(seed: int) -> Agreement:
    plan, found = synthetic(seed)
    return agreement(plan.rooms, [room.corners for room in found.rooms], plan.rgb.shape[:2])


@pytest.mark.parametrize("count", [2, pytest.param(len(SEEDS), marks=pytest.mark.exhaustive)])
def test_rooms_of_unseen_plans_agree_with_the_truth(count: int) -> None:
    results = [agreement_on(seed) for seed in SEEDS[:count]]
    assert np.mean([one.iou for one in results]) >= 0.90
    assert np.mean([one.exact for one in results]) >= 0.85


class TestWhatARoomIs:
    def test_corners_lie_on_the_faces_of_the_walls(self) -> None:
        rooms = found_in(house()).rooms
        assert len(rooms) == 2
        assert same_corners(rooms[0].corners, LEFT_ROOM)
        assert same_corners(rooms[1].corners, RIGHT_ROOM)
        assert [room.enclosed for room in rooms] == [1.0, 1.0]

    def test_a_door_parts_two_rooms(self) -> None:
        result = found_in(house(door=(295, 150, 305, 210)))
        assert [len(room.corners) for room in result.rooms] == [4, 4]
        assert result.gaps == 1
        assert all(0.9 < room.enclosed < 1.0 for room in result.rooms)

    def test_a_door_at_a_corner_parts_two_rooms(self) -> None:
        assert len(found_in(house(door=(295, 60, 305, 120))).rooms) == 2

    def test_windows_let_no_room_out(self) -> None:
        page = house(window=(100, 50, 210, 60), other=(540, 100, 550, 180))
        page[50, 100:210] = page[59, 100:210] = 0
        assert len(found_in(page).rooms) == 2

    def test_a_wide_opening_makes_one_room_of_two(self) -> None:
        (room,) = found_in(house(opening=(295, 100, 305, 300))).rooms
        assert cv2.contourArea(room.corners.astype(np.float32)) > 2 * 235 * 280

    def test_the_widest_gap_may_be_given(self) -> None:
        page = house(opening=(295, 100, 305, 300))
        assert len(found_in(page, max_gap=210.0).rooms) == 2
        assert len(found_in(house(door=(295, 150, 305, 210)), max_gap=40.0).rooms) == 1

    def test_a_swing_and_furniture_are_no_rooms(self) -> None:
        page = house(door=(295, 150, 305, 210))
        cv2.ellipse(page, (305, 150), (60, 60), 0, 0, 90, (0, 0, 0), 1)
        cv2.line(page, (305, 150), (365, 150), (0, 0, 0), 2)
        cv2.rectangle(page, (100, 100), (200, 200), (0, 0, 0), 2)
        result = found_in(page)
        assert len(result.rooms) == 2
        assert result.rejected == {"door_swing": 1, "furniture": 1}

    def test_a_column_between_two_walls_parts_nothing(self) -> None:
        page = house()
        wall(page, 160, 180, 184, 204)
        assert len(found_in(page).rooms) == 2

    def test_a_pier_between_two_windows_holds_both(self) -> None:
        page = house(one=(90, 50, 150, 60), other=(170, 50, 230, 60))
        assert len(found_in(page).rooms) == 2

    def test_a_pier_as_long_as_its_wall_is_thick_holds_two_windows(self) -> None:
        page = house(one=(90, 50, 150, 60), other=(161, 50, 230, 60))
        assert len(found_in(page).rooms) == 2

    def test_a_corner_that_stands_between_two_doors_holds_both(self) -> None:
        page = house()
        wall(page, 60, 150, 150, 158)
        wall(page, 142, 60, 150, 158)
        wall(page, 65, 150, 115, 158, 255)
        wall(page, 142, 80, 150, 150, 255)
        assert len(found_in(page).rooms) == 3

    def test_a_short_stroke_far_from_both_walls_parts_nothing(self) -> None:
        page = house()
        wall(page, 170, 200, 184, 205)
        assert len(found_in(page).rooms) == 2

    def test_walls_a_third_as_thick_as_the_usual_one_are_walls(self) -> None:
        page = paper()
        wall(page, 40, 40, 560, 360)
        wall(page, 58, 58, 542, 342, 255)
        wall(page, 297, 58, 303, 342)
        cv2.rectangle(page, (100, 100), (220, 240), (0, 0, 0), 2)
        assert len(found_in(page).rooms) == 2

    def test_paper_outside_a_building_is_no_room(self) -> None:
        page = paper()
        wall(page, 0, 195, 600, 205)
        assert found_in(page).rooms == []

    @pytest.mark.parametrize("degrees", [-3.0, -1.3, 0.7, 2.0])
    def test_a_plan_askew_is_turned_and_its_rooms_turned_back(self, degrees: float) -> None:
        result = found_in(turned(house(door=(295, 150, 305, 210)), degrees))
        assert result.skew_deg == pytest.approx(degrees, abs=0.15)
        assert len(result.rooms) == 2
        angle, middle = np.deg2rad(degrees), np.array([300.0, 200.0])
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        expected = (LEFT_ROOM - middle) @ turn + middle
        assert any(same_corners(room.corners, expected, 3.0) for room in result.rooms)

    def test_uneven_light_hides_nothing(self) -> None:
        light = np.linspace(1.0, 0.35, 600)[None, :, None]
        assert len(found_in((house() * light).astype(np.uint8)).rooms) == 2


class TestLimits:
    def test_areas_are_limited_and_refusals_counted(self) -> None:
        assert found_in(house(), min_area=70_000.0).rejected == {"too_small": 2}
        assert found_in(house(), max_area=50_000.0, max_area_share=0.0).rejected == {"too_large": 2}

    def test_on_a_large_page_a_share_of_it_may_exceed_the_largest_area(self) -> None:
        assert len(found_in(house(), max_area=50_000.0, max_area_share=0.5).rooms) == 2

    def test_limits_speak_of_the_picture_before_it_was_reduced(self) -> None:
        small = rooms_of(house(), Options(min_area=4 * 70_000.0, max_area=1e9), scale=0.5)
        assert small.rejected == {"too_small": 2}

    def test_the_hollow_of_a_double_wall_is_too_thin(self) -> None:
        page = house()
        wall(page, 52, 20, 548, 26)
        wall(page, 52, 20, 62, 60)
        wall(page, 538, 20, 548, 60)
        wall(page, 52, 30, 548, 42)
        result = found_in(page)
        assert len(result.rooms) == 2
        assert set(result.rejected) <= {"too_thin", "too_small"}

    def test_outlines_are_simplified_as_asked(self) -> None:
        page = house()
        wall(page, 170, 60, 180, 80)
        rough, fine = (found_in(page, epsilon_factor=value).rooms[0] for value in (0.05, 0.005))
        assert len(rough.corners) == 4
        assert len(fine.corners) == 8


class TestAnyPicture:
    @pytest.mark.parametrize(
        "page",
        [
            np.zeros((1, 1, 3), np.uint8),
            np.zeros((300, 400, 3), np.uint8),
            np.full((300, 400, 3), 255, np.uint8),
            np.full((1, 3000, 3), 90, np.uint8),
            np.indices((300, 400)).sum(0)[:, :, None].repeat(3, 2).astype(np.uint8) % 2 * 255,
        ],
        ids=["one pixel", "black", "white", "a row", "a chequerboard"],
    )
    def test_without_rooms_has_none(self, page: np.ndarray) -> None:
        assert found_in(page).rooms == []

    @pytest.mark.parametrize("size", [(200, 300), pytest.param((500, 700), marks=pytest.mark.exhaustive)])
    def test_noise_gives_an_answer_that_is_the_same_again(self, size: tuple[int, int]) -> None:
        noise = np.random.default_rng(3).integers(0, 256, (*size, 3)).astype(np.uint8)
        first, second = found_in(noise), found_in(noise)
        assert first.rejected == second.rejected
        assert len(first.rooms) == len(second.rooms)

    def test_a_plan_of_lines_alone_has_its_lines_for_walls(self) -> None:
        page = paper()
        cv2.rectangle(page, (50, 50), (300, 350), (0, 0, 0), 2)
        cv2.rectangle(page, (300, 50), (550, 350), (0, 0, 0), 2)
        assert len(found_in(page).rooms) == 2

    def test_the_same_picture_gives_the_same_rooms(self) -> None:
        plan, first = synthetic(SEEDS[0])
        second = found_in(plan.rgb)
        assert all((a.corners == b.corners).all() for a, b in zip(first.rooms, second.rooms, strict=True))
