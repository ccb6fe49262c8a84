"""Cutting an object out of its box: close to the truth on easy scenes, something sensible on impossible ones."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpuworker.engines.grabcut import Cut, cut_out


def disc_scene(side: int, centre: tuple[int, int], radius: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A red disc on noisy green ground, and where it is."""
    random = np.random.default_rng(0)
    rgb = random.normal((60, 130, 60), 12, (side, side, 3)).clip(0, 255).astype(np.uint8)
    truth = np.zeros((side, side), np.uint8)
    cv2.circle(truth, centre, radius, 1, -1)
    rgb[truth > 0] = random.normal((190, 50, 40), 12, (int(truth.sum()), 3)).clip(0, 255)
    return rgb, truth.astype(bool)


def placed(cut: Cut, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    out = np.zeros(shape[:2], np.bool_)
    out[cut.top : cut.top + cut.soft.shape[0], cut.left : cut.left + cut.soft.shape[1]] = cut.soft > 127
    return out


@pytest.mark.parametrize("side", [120, 600, pytest.param(2400, marks=pytest.mark.exhaustive)])
def test_a_disc_is_cut_out_at_every_size(side: int) -> None:
    centre, radius = (side // 2, side * 2 // 5), side // 5
    rgb, truth = disc_scene(side, centre, radius)
    left, top = centre[0] - radius, centre[1] - radius
    cut = cut_out(rgb, left=left, top=top, right=left + 2 * radius, bottom=top + 2 * radius)
    mask = placed(cut, rgb.shape)
    assert cut.source == "grabcut"
    assert (mask & truth).sum() / (mask | truth).sum() > 0.93


def test_the_crop_is_the_box_with_whole_corners() -> None:
    rgb, _ = disc_scene(100, (50, 50), 20)
    cut = cut_out(rgb, left=29.4, top=30.6, right=70.2, bottom=69.9)
    assert (cut.left, cut.top, cut.soft.shape) == (29, 30, (40, 42))


def test_where_nothing_is_found_the_ellipse_stands_in() -> None:
    rgb, _ = disc_scene(80, (40, 40), 20)
    cut = cut_out(rgb, left=0, top=30, right=80, bottom=32)
    assert cut.source == "ellipse"
    assert 0.5 < (cut.soft > 127).mean() < 0.95


def test_a_thin_thing_in_a_large_picture_keeps_its_pixels() -> None:
    rgb = np.full((1500, 1500, 3), 200, np.uint8)
    rgb[100:1400, 700:712] = 20
    cut = cut_out(rgb, left=690, top=95, right=722, bottom=1405)
    thin = (cut.soft > 127).sum()
    assert 0.5 * 1300 * 12 < thin < 2.5 * 1300 * 12


@pytest.mark.parametrize(
    ("left", "top", "right", "bottom"),
    [(0, 0, 80, 80), (0, 0, 2, 2), (78, 78, 80, 80), (0, 30, 80, 32), (40, 0, 42, 80), (10.2, 10.2, 12.9, 70)],
)
def test_boxes_of_every_shape_give_pixels(left: float, top: float, right: float, bottom: float) -> None:
    rgb, _ = disc_scene(80, (40, 40), 20)
    cut = cut_out(rgb, left=left, top=top, right=right, bottom=bottom)
    assert cut.soft.size > 0
    assert (cut.soft > 127).any()


def test_the_same_input_gives_the_same_mask() -> None:
    rgb, _ = disc_scene(300, (150, 150), 70)
    first, second = (cut_out(rgb, left=70, top=70, right=230, bottom=230) for _ in range(2))
    assert (first.soft == second.soft).all()
