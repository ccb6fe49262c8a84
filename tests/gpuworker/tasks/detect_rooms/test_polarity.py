"""Light lines on dark give the rooms that dark ones on light give, in grey and in colours; and which it was is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from benchmarks.plans import make_plan
from benchmarks.plans.measure import agreement
from hypothesis import given
from hypothesis import strategies as st
from tests.gpuworker.tasks.detect_rooms.drawn import LEFT_ROOM, RIGHT_ROOM, house, in_tones, same_corners, wall
from tests.properties import examples

import gpupipe.examples
from gpuworker.tasks.detect_rooms.options import Options
from gpuworker.tasks.detect_rooms.polarity import Reading, leaning_of, readings_of
from gpuworker.tasks.detect_rooms.rooms import Rooms, rooms_of

Tone = tuple[int, int, int]
BLACK, WHITE = (0, 0, 0), (255, 255, 255)
BLUE, PALE = (24, 62, 130), (235, 240, 250)
PLANS = Path(gpupipe.examples.__file__).parent / "plans"


def found_in(page: np.ndarray, **options: Any) -> Rooms:
    return rooms_of(page, Options(**options))


def has_both_rooms(found: Rooms) -> bool:
    return len(found.rooms) == 2 and all(
        any(same_corners(room.corners, true) for room in found.rooms) for true in (LEFT_ROOM, RIGHT_ROOM)
    )


class TestTwoTones:
    @pytest.mark.parametrize(
        ("tone", "line", "polarity"),
        [
            (BLACK, WHITE, "light"),
            (BLUE, PALE, "light"),
            ((70, 110, 160), (170, 190, 210), "light"),
            ((33, 40, 48), (0, 255, 255), "light"),
            (BLACK, (0, 0, 255), "light"),
            (BLACK, (255, 0, 0), "light"),
            ((110, 110, 110), (170, 170, 170), "light"),
            ((20, 30, 150), (240, 60, 60), "light"),
            (WHITE, (140, 190, 230), "dark"),
            (WHITE, (255, 230, 0), "dark"),
            (WHITE, (220, 30, 30), "dark"),
            ((170, 170, 170), (110, 110, 110), "dark"),
            ((240, 225, 160), (40, 40, 40), "dark"),
        ],
        ids=str,
    )
    def test_the_rooms_are_the_same_in_any(self, tone: Tone, line: Tone, polarity: str) -> None:
        found = found_in(in_tones(house(), tone, line))
        assert has_both_rooms(found)
        assert found.reading.polarity == polarity

    @given(st.integers(0, 90), st.integers(165, 255), st.booleans())
    @examples(30)
    def test_a_negative_has_the_rooms_of_its_positive(self, dark: int, light: int, is_negative: bool) -> None:
        tone, line = ((dark,) * 3, (light,) * 3) if is_negative else ((light,) * 3, (dark,) * 3)
        found = found_in(in_tones(house(door=(295, 150, 305, 210)), tone, line))
        assert len(found.rooms) == 2
        assert found.reading.polarity == ("light" if is_negative else "dark")

    @given(st.integers(0, 50), st.sampled_from([(BLACK, WHITE), (BLUE, PALE), (WHITE, BLACK)]))
    @examples(60)
    def test_however_little_paper_there_is_round_the_walls(self, margin: int, tones: tuple[Any, Any]) -> None:
        page = np.ascontiguousarray(house()[50 - margin : 350 + margin, 50 - margin : 550 + margin])
        found = found_in(in_tones(page, *tones))
        assert sorted(cv2.contourArea(room.corners.astype(np.float32)) for room in found.rooms) == pytest.approx(
            [235 * 280] * 2, rel=0.02
        )

    @pytest.mark.parametrize("name", ["cottage.png", "house.png", "offices.png"])
    @pytest.mark.parametrize("tones", [(BLACK, WHITE), (BLUE, PALE)], ids=["negative", "cyanotype"])
    def test_the_example_plans_keep_their_rooms(self, name: str, tones: tuple[tuple[int, int, int], ...]) -> None:
        page = cv2.imread(str(PLANS / name), cv2.IMREAD_COLOR)
        assert page is not None
        plain, turned = found_in(page), found_in(in_tones(page, *tones))
        same = agreement(
            [room.corners for room in plain.rooms], [room.corners for room in turned.rooms], page.shape[:2]
        )
        assert same.exact
        assert same.iou >= 0.97

    @pytest.mark.parametrize("seed", [300_000, pytest.param(300_001, marks=pytest.mark.exhaustive)])
    def test_the_negative_of_a_photographed_plan_keeps_its_rooms(self, seed: int) -> None:
        plan = make_plan(seed)
        plain, negative = found_in(plan.rgb), found_in(255 - plan.rgb)
        assert agreement(
            [room.corners for room in plain.rooms], [room.corners for room in negative.rooms], plan.rgb.shape[:2]
        ).exact


class TestColours:
    def test_layers_of_a_drawing_on_black_are_all_read(self) -> None:
        # given walls of which each part has another colour, two of them next to black in grey
        page = in_tones(house(), BLACK, WHITE)
        for left, colour in zip(range(0, 600, 100), [(255, 255, 0), (0, 255, 255), (0, 0, 255)] * 2, strict=True):
            page[:, left : left + 100] &= np.array(colour, np.uint8)
        # when
        found = found_in(page)
        # then
        assert has_both_rooms(found)
        assert (found.reading.polarity, found.reading.read_from) == ("light", "colour")

    def test_colours_that_grey_loses_are_read_beside_black(self) -> None:
        page = in_tones(house(), WHITE, (255, 255, 0))
        page[:200][page[:200, :, 2] == 0] = 0
        found = found_in(page)
        assert has_both_rooms(found)
        assert (found.reading.polarity, found.reading.read_from) == ("dark", "colour")

    def test_what_is_grey_is_read_in_grey(self) -> None:
        assert readings_of(house(), "auto") == (Reading(polarity="dark"),)
        assert readings_of(255 - house(), "auto") == (Reading(polarity="light"),)


class TestLight:
    @pytest.mark.parametrize("direction", [1, -1])
    def test_light_that_falls_off_hides_no_line_of_a_blueprint(self, direction: int) -> None:
        light = np.linspace(1.0, 0.35, 600)[None, ::direction, None]
        grain = np.random.default_rng(4).normal(0, 4, (400, 600, 1))
        page = np.clip(in_tones(house(), BLUE, PALE) * light + grain, 0, 255).astype(np.uint8)
        found = found_in(page)
        assert len(found.rooms) == 2
        assert found.reading.polarity == "light"


class TestLeaning:
    def test_goes_to_the_thinner_tone_however_much_of_the_page_it_is(self) -> None:
        assert leaning_of(house()).sides == ("dark",)
        assert leaning_of(255 - house()).sides == ("light",)

    def test_walls_that_fill_most_of_a_page_are_dark_all_the_same(self) -> None:
        # given
        page = np.full((700, 900, 3), 255, np.uint8)
        wall(page, 15, 15, 885, 685)
        for left in range(100, 800, 200):
            for top in range(100, 600, 200):
                wall(page, left, top, left + 140, top + 140, 255)
        assert (page == 0).mean() > 0.5
        # when
        found, negative = found_in(page), found_in(255 - page)
        # then
        assert (len(found.rooms), found.reading.polarity) == (12, "dark")
        assert (len(negative.rooms), negative.reading.polarity) == (12, "light")

    def test_of_an_empty_page_is_to_neither(self) -> None:
        assert leaning_of(np.full((100, 100, 3), 255, np.uint8)).side == 0


class TestOption:
    def test_it_overrules_what_is_seen(self) -> None:
        assert found_in(house(), polarity="light").reading.polarity == "light"
        assert has_both_rooms(found_in(house(), polarity="dark"))
        assert has_both_rooms(found_in(255 - house(), polarity="light"))
