"""Instances across seams: each comes back once and whole, whatever its size and place, and neighbours stay apart."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.colour_engine import patches
from tests.properties import examples

from gpuworker.masks.box_grid import meeting_pairs
from gpuworker.masks.instances import Instance
from gpuworker.masks.packed import Packed, packed
from gpuworker.tasks.segment.selection import suppress
from gpuworker.tiles.scene import Window, grid
from gpuworker.tiles.seams import Tile, joined

HEIGHT, WIDTH = 150, 170
TILE_PX, OVERLAP = 64, 0.25
RED = (200, 0, 0)

Pixels = NDArray[np.uint8]


def canvas() -> Pixels:
    return np.zeros((HEIGHT, WIDTH, 3), np.uint8)


def tiles_of(
    rgb: Pixels, seen: Callable[[list[Instance], Window], list[Instance]] = lambda found, _: found
) -> list[Tile]:
    """What an engine would find in each tile; `seen` spoils it."""
    found = []
    for window in grid(HEIGHT, WIDTH, side=TILE_PX, overlap=OVERLAP):
        here = list(patches(rgb[window.top : window.bottom, window.left : window.right]))
        there = [one.moved(x=window.left, y=window.top) for one in seen(here, window)]
        found.append(Tile(window=window, found=packed(there)))
    return found


def instances_of(tiles: Sequence[Tile]) -> list[Packed]:
    return suppress(joined(tiles, height=HEIGHT, width=WIDTH), iou=0.5)


def pixels(found: Sequence[Packed]) -> set[tuple[int, tuple[int, ...], bytes]]:
    """What can be compared: category, box and mask."""
    return {(one.category_id, one.box, one.bits.tobytes()) for one in found}


@st.composite
def scenes(draw: st.DrawFn) -> Pixels:
    """Rectangles, discs, rings and crosses of any size up to the image's, one pixel or more apart."""
    rgb, taken = canvas(), np.zeros((HEIGHT, WIDTH), np.uint8)
    for _ in range(draw(st.integers(1, 12))):
        shape = np.zeros((HEIGHT, WIDTH), np.uint8)
        x, y = draw(st.integers(0, WIDTH - 1)), draw(st.integers(0, HEIGHT - 1))
        width, height = draw(st.integers(2, WIDTH)), draw(st.integers(2, HEIGHT))
        kind = draw(st.sampled_from(["rectangle", "disc", "ring", "cross"]))
        if kind == "rectangle":
            cv2.rectangle(shape, (x, y), (x + width, y + height), 1, cv2.FILLED)
        elif kind == "cross":
            cv2.rectangle(shape, (x, 0), (x + 4, HEIGHT), 1, cv2.FILLED)
            cv2.rectangle(shape, (0, y), (WIDTH, y + 4), 1, cv2.FILLED)
        else:
            thickness = cv2.FILLED if kind == "disc" else draw(st.integers(2, 9))
            cv2.ellipse(shape, ((x, y), (width, height), draw(st.integers(0, 90))), 1, thickness)
        if shape.any() and not (cv2.dilate(shape, np.ones((3, 3), np.uint8)) & taken).any():
            taken |= shape
            channel = draw(st.integers(0, 2))
            rgb[shape.astype(bool), channel] = draw(st.integers(100, 255))
    return rgb


@examples(150)
@given(scenes(), st.randoms(use_true_random=False))
def test_tiles_give_what_the_whole_image_gives(rgb: Pixels, chance: random.Random) -> None:
    tiles = tiles_of(rgb)
    chance.shuffle(tiles)
    found = instances_of(tiles)
    whole = packed(list(patches(rgb)))
    assert pixels(found) == pixels(whole)
    assert len(found) == len(whole)
    assert {(one.box, one.score) for one in found} == {(one.box, one.score) for one in whole}


@st.composite
def overlapping(draw: st.DrawFn) -> list[Instance]:
    """Ellipses of 8 to 120 pixels, of which none has more than a quarter of its pixels in common with another."""
    found: list[Instance] = []
    for _ in range(draw(st.integers(1, 15))):
        width, height = draw(st.integers(8, 120)), draw(st.integers(8, 120))
        mask = np.zeros((height, width), np.uint8)
        cv2.ellipse(mask, (width // 2, height // 2), (width // 2, height // 2), 0, 0, 360, 1, cv2.FILLED)
        x, y = draw(st.integers(0, WIDTH - width)), draw(st.integers(0, HEIGHT - height))
        one = Instance(x=x, y=y, mask=mask.astype(bool), score=0.8, category_id=1, source="drawn").tight()
        assert one is not None
        if not any(one.shared_with(other) > min(one.area, other.area) / 4 for other in found):
            found.append(one)
    return found


@examples(150)
@given(overlapping())
def test_overlapping_neighbours_stay_apart(objects: list[Instance]) -> None:
    tiles = [
        Tile(window=window, found=packed([part for one in objects if (part := clipped(one, window)) is not None]))
        for window in grid(HEIGHT, WIDTH, side=TILE_PX, overlap=OVERLAP)
    ]
    assert pixels(instances_of(tiles)) == pixels(packed(objects))


def clipped(one: Instance, window: Window) -> Instance | None:
    full = np.zeros((HEIGHT, WIDTH), np.bool_)
    full[one.y : one.y + one.mask.shape[0], one.x : one.x + one.mask.shape[1]] = one.mask
    seen = full[window.top : window.bottom, window.left : window.right]
    cut = Instance(x=window.left, y=window.top, mask=seen, score=0.8, category_id=1, source="clipped")
    return cut.tight()


@examples(50)
@given(scenes(), st.randoms(use_true_random=False))
def test_the_order_of_the_tiles_does_not_matter(rgb: Pixels, chance: random.Random) -> None:
    tiles = tiles_of(rgb)
    expected = [(one.box, one.score) for one in instances_of(tiles)]
    chance.shuffle(tiles)
    assert [(one.box, one.score) for one in instances_of(tiles)] == expected


@pytest.mark.parametrize("seed", range(12))
def test_outlines_that_differ_from_tile_to_tile_are_still_one(seed: int) -> None:
    """Discs of 12 to 40 pixels, each tile's masks a pixel larger or smaller, scores of their own."""
    noise = np.random.default_rng(seed)
    rgb, boxes = canvas(), []
    for x in range(14, WIDTH - 14, 44):
        for y in range(14, HEIGHT - 14, 44):
            radius = int(noise.integers(6, 20))
            at = (x + int(noise.integers(-2, 3)), y + int(noise.integers(-2, 3)))
            cv2.circle(rgb, at, radius, RED, cv2.FILLED)
            boxes.append((max(0, at[0] - radius), max(0, at[1] - radius), at[0] + radius + 1, at[1] + radius + 1))

    def seen(found: list[Instance], window: Window) -> list[Instance]:
        return [spoilt(one, window, int(noise.integers(-1, 2)), float(noise.uniform(0.4, 1))) for one in found]

    found = instances_of(tiles_of(rgb, seen))
    assert len(found) == len(boxes)
    for box in boxes:
        (near,) = [one for one in found if all(abs(a - b) <= 2 for a, b in zip(one.box, box, strict=True))]
        assert near.category_id == 1


def spoilt(one: Instance, window: Window, grown_px: int, score: float) -> Instance:
    full = np.zeros((window.height, window.width), np.uint8)
    full[one.y : one.y + one.mask.shape[0], one.x : one.x + one.mask.shape[1]] = one.mask
    kernel = np.ones((3, 3), np.uint8)
    changed = (cv2.erode(full, kernel) if grown_px < 0 else cv2.dilate(full, kernel, iterations=grown_px)).astype(bool)
    mask = changed if changed.any() else full.astype(bool)
    return Instance(x=0, y=0, mask=mask, score=score, category_id=one.category_id, source="spoilt")


def tile(left: int, found: Sequence[Instance], **kwargs: bool) -> Tile:
    """One of two tiles, 0 and 60, of 100×100 of an image of 160×100."""
    return Tile(window=Window(top=0, left=left, height=100, width=100), found=packed(found), **kwargs)


def block(x: int, y: int, width: int, height: int, *, score: float = 0.8, category_id: int = 1) -> Instance:
    mask = np.ones((height, width), np.bool_)
    return Instance(x=x, y=y, mask=mask, score=score, category_id=category_id, source=f"{score}")


def of_two(left: Sequence[Instance], right: Sequence[Instance]) -> list[tuple[tuple[int, ...], float]]:
    found = joined([tile(0, left), tile(60, right)], height=100, width=160)
    return [(one.box, one.score) for one in found]


class TestTwoTiles:
    def test_a_cut_piece_gives_way_to_the_tile_that_sees_around_it(self) -> None:
        sliver, whole = block(95, 10, 5, 30, score=0.95), block(94, 10, 20, 30, score=0.6)
        assert of_two([sliver], [whole]) == [((94, 10, 114, 40), 0.6)]

    def test_a_cut_piece_that_the_other_tile_denies_is_dropped(self) -> None:
        assert of_two([block(95, 10, 5, 30)], []) == []

    def test_unless_that_tile_had_no_room_left(self) -> None:
        tiles = [tile(0, [block(95, 10, 5, 30)]), tile(60, [], is_complete=False)]
        assert [one.box for one in joined(tiles, height=100, width=160)] == [(95, 10, 100, 40)]

    def test_a_piece_that_no_tile_holds_stays_though_it_has_no_partner(self) -> None:
        assert of_two([block(20, 10, 80, 30)], []) == [((20, 10, 100, 40), 0.8)]

    def test_what_is_larger_than_the_strip_is_joined(self) -> None:
        joined_one = of_two([block(20, 10, 80, 30, score=0.7)], [block(60, 10, 90, 31, score=0.9)])
        assert joined_one == [((20, 10, 150, 41), 0.9)]

    def test_a_fragment_inside_a_larger_one_is_joined_by_containment(self) -> None:
        # The left tile has found a narrow part only of what crosses both borders of the strip.
        assert of_two([block(20, 10, 80, 10)], [block(60, 10, 90, 60)]) == [((20, 10, 150, 70), 0.8)]

    def test_neighbours_a_pixel_apart_stay_apart(self) -> None:
        left = [block(20, 10, 80, 20), block(20, 31, 80, 20)]
        right = [block(60, 10, 80, 20), block(60, 31, 80, 20)]
        assert [box for box, _ in of_two(left, right)] == [(20, 10, 140, 30), (20, 31, 140, 51)]

    def test_neighbours_whose_masks_overlap_a_little_stay_apart(self) -> None:
        # One lies left of the strip and leaks into it, the other begins there.
        assert len(of_two([block(30, 10, 34, 40)], [block(62, 10, 60, 40)])) == 2

    def test_categories_do_not_mix(self) -> None:
        left, right = block(20, 10, 80, 30), block(60, 10, 90, 30, category_id=2)
        assert [box for box, _ in of_two([left], [right])] == [(20, 10, 100, 40), (60, 10, 150, 40)]

    def test_where_one_tile_sees_all_of_it_its_outline_counts(self) -> None:
        # Too near to the right tile's left border to lie well inside, but that is the image's left part for the other.
        left, right = block(50, 10, 45, 30, score=0.5), block(60, 8, 36, 33, score=0.9)
        assert [box for box, _ in of_two([left], [right])] == [(50, 10, 95, 40)]

    def test_the_same_in_different_outlines_is_one_though_one_is_much_smaller(self) -> None:
        assert of_two([block(70, 10, 20, 20, score=0.9)], [block(75, 15, 10, 10)]) == [((70, 10, 90, 30), 0.9)]

    def test_even_if_a_half_of_each_is_its_own(self) -> None:
        assert len(of_two([block(65, 10, 20, 16)], [block(74, 10, 20, 17)])) == 1
        assert len(of_two([block(65, 10, 20, 16)], [block(76, 10, 20, 17)])) == 2

    def test_what_lies_in_another_stays_where_both_tiles_see_both(self) -> None:
        both = [block(65, 10, 30, 30), block(70, 15, 10, 10, score=0.7)]
        assert sorted(box for box, _ in of_two(both, both)) == [(65, 10, 95, 40), (70, 15, 80, 25)]

    def test_what_lies_in_another_stays_where_one_tile_sees_the_other_cut(self) -> None:
        small = block(70, 15, 10, 10, score=0.7)
        found = of_two([block(65, 10, 35, 30), small], [block(65, 10, 38, 30)])
        assert sorted(box for box, _ in found) == [(65, 10, 103, 40), (70, 15, 80, 25)]

    def test_one_tile_alone_changes_nothing(self) -> None:
        alone = Tile(window=Window(top=0, left=0, height=100, width=100), found=packed([block(0, 0, 100, 100)]))
        assert [one.box for one in joined([alone], height=100, width=100)] == [(0, 0, 100, 100)]


def test_many_neighbours_across_many_seams_stay_as_many() -> None:
    rgb = canvas()
    rgb[::4, ::4] = rgb[1::4, ::4] = rgb[::4, 1::4] = rgb[1::4, 1::4] = RED
    found = instances_of(tiles_of(rgb))
    assert len(found) == len(range(0, HEIGHT, 4)) * len(range(0, WIDTH, 4))
    assert list(meeting_pairs([one.box for one in found])) == []
