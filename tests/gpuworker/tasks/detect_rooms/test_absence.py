"""A plan without rooms says why, and names the option that would help."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.gpuworker.tasks.detect_rooms.drawn import house, paper, wall

from gpuworker.tasks.detect_rooms.absence import Absence, why_no_rooms
from gpuworker.tasks.detect_rooms.options import Options
from gpuworker.tasks.detect_rooms.results import plan_of
from gpuworker.tasks.detect_rooms.rooms import rooms_of


def why(page: np.ndarray, **options: Any) -> Absence | None:
    return plan_of(rooms_of(page, Options(**options)), []).absence


def test_a_plan_with_rooms_needs_no_reason() -> None:
    assert why(house()) is None


def test_an_empty_page_has_no_ink() -> None:
    absence = why(paper())
    assert absence is not None
    assert absence.code == "no_ink"
    assert "polarity=light" in absence.hint


def test_ink_that_is_no_wall() -> None:
    page = np.zeros((400, 600, 3), np.uint8)
    absence = why_no_rooms(polarity="light", has_ink=bool(page.size), wall_px=0.0, rejected={})
    assert absence.code == "no_walls"
    assert "polarity=dark" in absence.hint


def test_walls_that_enclose_nothing() -> None:
    page = paper()
    wall(page, 0, 195, 600, 205)
    absence = why(page)
    assert absence is not None
    assert absence.code == "open_walls"
    assert "max_gap" in absence.hint


@pytest.mark.parametrize(
    ("options", "told", "option"),
    [
        ({"min_area": 70_000.0}, "2 smaller than min_area or min_area_share allow (too_small)", "min_area"),
        (
            {"max_area": 50_000.0, "max_area_share": 0.0},
            "2 larger than max_area and max_area_share allow (too_large)",
            "max_area",
        ),
    ],
)
def test_regions_that_were_refused_are_counted_by_reason(options: dict[str, float], told: str, option: str) -> None:
    absence = why(house(), **options)
    assert absence is not None
    assert absence.code == "all_refused"
    assert told in absence.reason
    assert option in absence.hint


@pytest.mark.parametrize("word", ["too_small", "too_large", "too_thin", "open", "margin"])
def test_every_reason_is_told_with_what_to_try(word: str) -> None:
    absence = why_no_rooms(polarity="dark", has_ink=True, wall_px=8.0, rejected={word: 3, "furniture": 2})
    assert "3 " in absence.reason
    assert f"({word})" in absence.reason
    assert "furniture" not in absence.reason
    assert absence.hint.endswith(".")
