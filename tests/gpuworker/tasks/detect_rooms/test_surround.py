"""What lies round a sheet gives no rooms and takes none: margins, tables, scanners' edges, drawn frames."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.gpuworker.tasks.detect_rooms.drawn import house, in_tones, surrounded, turned

from gpuworker.tasks.detect_rooms.options import Options
from gpuworker.tasks.detect_rooms.rooms import Rooms, rooms_of
from gpuworker.tasks.detect_rooms.surround import sheet_of, without_frame

BLUE, PALE = (24, 62, 130), (235, 240, 250)


def found_in(page: np.ndarray) -> Rooms:
    return rooms_of(page, Options())


class TestMargins:
    @pytest.mark.parametrize("by_px", [15, 60, 150])
    @pytest.mark.parametrize("is_blue", [True, False])
    def test_round_a_sheet_are_none_of_it(self, by_px: int, is_blue: bool) -> None:
        # given a blue sheet on a light table, or a white one under a scanner's black lid
        page = in_tones(house(), BLUE, PALE) if is_blue else house()
        found = found_in(surrounded(page, (250, 250, 250) if is_blue else (5, 5, 5), by_px))
        # then
        assert [cv2.contourArea(room.corners.astype(np.float32)) for room in found.rooms] == pytest.approx(
            [235 * 280] * 2, rel=0.02
        )
        assert found.reading.polarity == ("light" if is_blue else "dark")

    def test_a_sheet_that_lies_askew_on_a_table_is_found(self) -> None:
        page = in_tones(house(), BLUE, PALE)
        matrix = cv2.getRotationMatrix2D((300, 200), 4, 0.8)
        on_table = cv2.warpAffine(page, matrix, (600, 400), borderValue=(120, 90, 60))
        assert len(found_in(np.asarray(on_table, np.uint8)).rooms) == 2

    def test_black_edges_of_a_scan_take_no_rooms(self) -> None:
        page = house()
        page[:, :25] = page[-12:] = 10
        assert len(found_in(page).rooms) == 2

    def test_a_plan_cut_out_closely_keeps_its_outer_walls(self) -> None:
        assert len(found_in(np.ascontiguousarray(house()[50:350, 50:550])).rooms) == 2

    def test_light_that_falls_off_is_no_surround(self) -> None:
        light = np.linspace(1.0, 0.35, 600)[None, :, None]
        assert sheet_of(house()) is None
        assert sheet_of((house() * light).astype(np.uint8)) is None


class TestFrames:
    @pytest.mark.parametrize("thick", [2, 4, 10])
    @pytest.mark.parametrize("is_negative", [True, False])
    def test_a_drawn_frame_is_no_wall(self, thick: int, is_negative: bool) -> None:
        page = house()
        cv2.rectangle(page, (10, 10), (589, 389), (0, 0, 0), thick)
        assert len(found_in(255 - page if is_negative else page).rooms) == 2

    def test_the_paper_in_a_frame_that_holds_a_title_is_no_room(self) -> None:
        page = turned(surrounded(house(), (255, 255, 255), 40), 0.0)
        cv2.rectangle(page, (12, 12), (667, 467), (0, 0, 0), 10)
        cv2.rectangle(page, (560, 440), (667, 467), (0, 0, 0), 10)
        found = found_in(page)
        assert len(found.rooms) == 2

    def test_the_walls_of_a_single_room_with_furniture_are_no_frame(self) -> None:
        ink = np.zeros((400, 600), np.uint8)
        cv2.rectangle(ink, (20, 20), (579, 379), 1, 10)
        cv2.rectangle(ink, (100, 100), (180, 160), 1, 2)
        cv2.rectangle(ink, (400, 300), (480, 350), 1, 2)
        assert (without_frame(ink) == ink).all()
