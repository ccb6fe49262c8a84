"""Drawings on transparency lie on what shows them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.gpuworker import pictures
from tests.gpuworker.tasks.detect_rooms.drawn import house

from gpuworker.images.backdrop import is_drawn_in_white
from gpuworker.images.decoding import decode
from gpuworker.images.rendering import Rendering


def drawing(value: int) -> np.ndarray:
    """The walls of a house in one grey, and no paper: H×W×4."""
    page = house()
    return np.dstack([np.full_like(page, value), 255 - page[:, :, 0]])


@pytest.mark.parametrize(("value", "backdrop"), [(255, 0), (230, 0), (0, 255), (90, 255)])
def test_white_lines_lie_on_black_and_others_on_white(value: int, backdrop: int) -> None:
    image = decode(pictures.png(drawing(value)), rendering=Rendering(backdrop="contrast"))
    assert (image.rgb[0, 0] == backdrop).all()
    assert (image.rgb[55, 55] == value).all()


def test_by_itself_everything_lies_on_white() -> None:
    assert (decode(pictures.png(drawing(255))).rgb == 255).all()


def test_paper_that_was_cut_out_is_no_line() -> None:
    # given a house whose paper is opaque within its walls, on a large transparent canvas
    page = np.full((1000, 1200, 4), (0, 0, 0, 0), np.uint8)
    page[100:500, 100:700] = np.dstack([house(), np.full((400, 600), 255, np.uint8)])
    assert not is_drawn_in_white([(page[:, :, :3], page[:, :, 3])])


def test_nothing_is_drawn_on_an_empty_canvas() -> None:
    assert not is_drawn_in_white([(np.full((5, 5, 3), 255, np.uint8), np.zeros((5, 5), np.uint8))])
