"""Which instances are results: thresholds, what negative prompts claim, what overlaps, the surest first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tests.colour_engine import Colour
from tests.properties import examples

from gpuworker.engines.nanodet import NanoDet
from gpuworker.engines.options import Options
from gpuworker.masks.instances import Instance
from gpuworker.masks.packed import Packed, packed
from gpuworker.tasks.segment.selection import select, suppress, thin


def block(x: int, y: int, width: int, height: int, *, score: float = 0.8, category_id: int = 1) -> Packed:
    mask = np.ones((height, width), np.bool_)
    (one,) = packed([Instance(x=x, y=y, mask=mask, score=score, category_id=category_id, source="block")])
    return one


@st.composite
def blocks(draw: st.DrawFn) -> Packed:
    x, y = draw(st.integers(0, 60)), draw(st.integers(0, 60))
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return block(x, y, *size, score=draw(st.integers(0, 10)) / 10, category_id=draw(st.integers(1, 2)))


def chosen(found: Sequence[Packed], names: Sequence[str] = ("tree",), **options: object) -> list[Packed]:
    return select(found, names, Options(**options))  # type: ignore[arg-type]


class TestSelected:
    def test_the_surest_come_first_and_equals_keep_their_order(self) -> None:
        found = [block(0, 0, 1, 1, score=0.5), block(1, 0, 1, 1, score=0.9), block(2, 0, 1, 1, score=0.5)]
        assert [one.x for one in chosen(found)] == [1, 0, 2]

    def test_each_prompt_has_its_threshold(self) -> None:
        found = [block(i, 0, 1, 1, score=0.3 + i / 10, category_id=1 + i % 2) for i in range(6)]
        kept = chosen(found, ["tree", "car"], score_threshold=0.4, prompt_thresholds={"car": 0.75})
        assert [(one.category_id, round(one.score, 1)) for one in kept] == [(2, 0.8), (1, 0.7), (1, 0.5)]

    def test_what_a_negative_prompt_covers_goes(self) -> None:
        found = [block(0, 0, 10, 10), block(30, 0, 10, 10), block(60, 0, 10, 10, score=0.99)]
        unwanted = [block(0, 0, 10, 6, category_id=2), block(30, 0, 10, 5, category_id=2)]
        unwanted.append(block(60, 0, 10, 10, category_id=2))
        kept = chosen([*found, *unwanted], ["tree", "bush"], negative_prompts=("bush",))
        # Covered by more than a half; by just a half; covered by what is less sure.
        assert [one.x for one in kept] == [60, 30]

    def test_a_negative_prompt_below_its_threshold_claims_nothing(self) -> None:
        found = [block(0, 0, 10, 10, score=0.5), block(0, 0, 10, 10, score=0.6, category_id=2)]
        options = {"negative_prompts": ("bush",), "prompt_thresholds": {"bush": 0.7}}
        assert len(chosen(found, ["tree", "bush"], **options)) == 1
        assert len(chosen(found, ["tree", "bush"], negative_prompts=("bush",))) == 0

    def test_nothing_found(self) -> None:
        assert chosen([]) == []


class TestSuppressed:
    @examples(150)
    @given(st.lists(blocks(), max_size=20), st.sampled_from([0.0, 0.3, 0.5, 0.9]))
    def test_as_the_textbook_has_it(self, found: list[Packed], iou: float) -> None:
        kept = suppress(found, iou=iou)
        assert [one.score for one in kept] == sorted((one.score for one in kept), reverse=True)
        for one, other in combinations(kept, 2):
            assert one.category_id != other.category_id or one.iou(other) <= iou
        for one in found:
            assert one in kept or any(
                other.category_id == one.category_id and other.score >= one.score and other.iou(one) > iou
                for other in kept
            )

    def test_masks_count_and_not_boxes(self) -> None:
        lower, upper = np.tri(20, dtype=np.bool_), ~np.tri(20, dtype=np.bool_)
        found = packed(
            [Instance(x=0, y=0, mask=mask, score=0.8, category_id=1, source="half") for mask in (lower, upper)]
        )
        assert len(suppress(found, iou=0.1)) == 2

    def test_it_is_left_to_an_engine_that_does_it_itself(self) -> None:
        twice = [block(0, 0, 10, 10), block(0, 0, 10, 10, score=0.7)]
        assert thin(twice, NanoDet(), Options()) == twice
        assert thin(twice, Colour(), Options()) == twice[:1]
        assert thin(twice, Colour(), Options(nms_iou=1.0)) == twice
