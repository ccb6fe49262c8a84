"""Packed instances say the same as the plain masks they were made of."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.properties import examples

from gpuworker.images.masked import Masked
from gpuworker.masks.instances import Instance
from gpuworker.masks.packed import Packed, packed, united

SIDE = 40


@st.composite
def instances(draw: st.DrawFn) -> Instance:
    height, width = draw(st.integers(1, 25)), draw(st.integers(1, 25))
    mask = draw(hnp.arrays(np.bool_, (height, width)).filter(np.any))
    x, y = draw(st.integers(0, SIDE - width)), draw(st.integers(0, SIDE - height))
    return Instance(x=x, y=y, mask=mask, score=draw(st.floats(0, 1)), category_id=1, source="test")


def full(one: Masked) -> NDArray[np.bool_]:
    out = np.zeros((SIDE, SIDE), np.bool_)
    out[one.y : one.y + one.mask.shape[0], one.x : one.x + one.mask.shape[1]] = one.mask
    return out


def packed_one(instance: Instance) -> Packed:
    (one,) = packed([instance])
    return one


@examples(150)
@given(instances())
def test_unpacking_gives_the_tight_instance(instance: Instance) -> None:
    one, tight = packed_one(instance), instance.tight()
    assert tight is not None
    assert one.mask.tolist() == tight.mask.tolist()
    assert (one.x, one.y, one.width, one.height, one.area) == (tight.x, tight.y, *tight.mask.shape[::-1], tight.area)
    assert (one.score, one.category_id, one.source) == (instance.score, 1, "test")


@examples(150)
@given(instances(), instances())
def test_shared_pixels_and_iou(first: Instance, second: Instance) -> None:
    one, other = packed_one(first), packed_one(second)
    shared = int((full(first) & full(second)).sum())
    assert one.shared_with(other) == other.shared_with(one) == shared
    assert one.iou(other) == shared / int((full(first) | full(second)).sum())


@examples(150)
@given(instances(), st.tuples(*[st.integers(0, SIDE)] * 4))
def test_area_in_a_box(instance: Instance, corners: tuple[int, int, int, int]) -> None:
    left, right = sorted(corners[::2])
    top, bottom = sorted(corners[1::2])
    assert packed_one(instance).area_in((left, top, right, bottom)) == int(full(instance)[top:bottom, left:right].sum())


@examples(100)
@given(st.lists(instances(), min_size=1, max_size=5))
def test_united_has_all_pixels_and_the_best_score(parts: list[Instance]) -> None:
    one = united(packed(parts))
    assert full(one).tolist() == np.any([full(part) for part in parts], 0).tolist()
    assert one.area == int(np.any([full(part) for part in parts], 0).sum())
    assert one.score == max(part.score for part in parts)


def test_uniting_goes_band_by_band() -> None:
    tall = Instance(x=3, y=5, mask=np.ones((1300, 2), np.bool_), score=0.5, category_id=1, source="test")
    wide = Instance(x=0, y=600, mask=np.ones((2, 9), np.bool_), score=0.7, category_id=1, source="test")
    one = united(packed([tall, wide]))
    assert one.box == (0, 5, 9, 1305)
    assert one.area == 1300 * 2 + 2 * 9 - 4


def test_instances_without_pixels_are_left_out() -> None:
    nothing = Instance(x=0, y=0, mask=np.zeros((2, 2), np.bool_), score=1, category_id=1, source="test")
    assert packed([nothing]) == []


def test_a_mask_is_made_anew_each_time_and_kept_by_nobody() -> None:
    one = packed_one(Instance(x=0, y=0, mask=np.ones((3, 9), np.bool_), score=1, category_id=1, source="test"))
    assert one.mask is not one.mask
    assert one.tight() is one
