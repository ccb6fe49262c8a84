"""Masks at full size: as torch enlarges logits, at their place, without a full-size array."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.properties import examples
from torch.nn import functional

from gpuworker.engines.sam3.masks import Small, placed, smallest

MARGIN = 1e-4
"""Float32 rounds in another order than torch does; pixels whose logit is closer to zero than this may differ."""


def blobs(seed: int, side: int = 36) -> NDArray[np.float32]:
    coarse = torch.from_numpy(np.random.default_rng(seed).standard_normal((1, 1, 6, 6)).astype(np.float32))
    return np.asarray(functional.interpolate(coarse - 0.5, size=(side, side), mode="bicubic")[0, 0])


def cut(logits: NDArray[np.float32]) -> Small:
    whole = torch.from_numpy(logits)[None]
    [small] = smallest(whole, (whole > 0).any(2), (whole > 0).any(1))
    return small


def full(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    whole = np.zeros((height, width), np.bool_)
    found = placed(cut(logits), height=height, width=width)
    if found is not None:
        whole[found.y : found.y + found.mask.shape[0], found.x : found.x + found.mask.shape[1]] = found.mask
    return whole


def by_torch(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    given = torch.from_numpy(logits)[None, None]
    return np.asarray(functional.interpolate(given, size=(height, width), mode="bilinear", align_corners=False)[0, 0])


@examples(60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 300))
def test_it_is_what_torch_makes(seed: int, height: int, width: int) -> None:
    logits = blobs(seed)
    exact = by_torch(logits, height, width)
    sure = np.abs(exact) > MARGIN
    assert (full(logits, height, width) == (exact > 0))[sure].all()


def plainly(logits: NDArray[np.float32], height: int, width: int) -> NDArray[np.bool_]:
    """Every place of the full image by itself: the two columns beside it, then the two rows, in float32."""
    wide = _interpolated(logits, width)
    return np.asarray(_interpolated(wide.T, height).T > 0, np.bool_)


def _interpolated(rows: NDArray[np.float32], full: int) -> NDArray[np.float32]:
    last = rows.shape[1] - 1
    places = ((np.arange(full) + 0.5) * (rows.shape[1] / full) - 0.5).clip(0, last)
    low = places.astype(np.int64)
    share = (places - low).astype(np.float32)
    return np.asarray(rows[:, low] * (1 - share) + rows[:, np.minimum(low + 1, last)] * share, np.float32)


@examples(60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 300))
def test_to_the_bit_what_interpolating_the_uncut_logits_gives(seed: int, height: int, width: int) -> None:
    logits = blobs(seed)
    assert (full(logits, height, width) == plainly(logits, height, width)).all()


@examples(60)
@given(st.integers(0, 35), st.integers(0, 35), st.integers(1, 300), st.integers(1, 300))
def test_not_a_pixel_of_a_single_positive_logit_is_cut_off(row: int, column: int, height: int, width: int) -> None:
    logits = np.full((36, 36), -1e-3, np.float32)
    logits[row, column] = 100
    exact = by_torch(logits, height, width)
    sure = np.abs(exact) > 1e-5
    assert (full(logits, height, width) == (exact > 0))[sure].all()


def test_it_differs_from_an_interpolated_sigmoid_at_edges_only() -> None:
    """transformers interpolates after the sigmoid: the same wherever the logits around a pixel agree in their sign."""
    logits = blobs(5) * 8
    height, width = 251, 333
    sigmoid = 1 / (1 + np.exp(-logits))
    theirs = by_torch(sigmoid.astype(np.float32), height, width) > 0.5
    share = by_torch((logits > 0).astype(np.float32), height, width)
    agree = (share < 1e-6) | (share > 1 - 1e-6)
    assert agree.mean() > 0.8
    assert (full(logits, height, width) == theirs)[agree].all()


def test_what_is_nowhere_positive_is_nowhere() -> None:
    assert placed(cut(np.full((36, 36), -1, np.float32)), height=100, width=100) is None


def test_a_small_thing_in_a_huge_image_costs_little() -> None:
    logits = np.full((288, 288), -5, np.float32)
    logits[100:104, 200:204] = 5
    small = cut(logits)
    assert small.logits.shape == (6, 6)
    tracemalloc.start()
    found = placed(small, height=20_000, width=20_000)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found is not None
    assert found.mask.sum() == pytest.approx((4 * 20_000 / 288) ** 2, rel=0.05)
    assert peak_bytes < 4_000_000, "a full-size array would be 400 MB"


def test_masks_are_cut_to_what_edges_need_and_own_their_memory() -> None:
    masks = torch.full((3, 10, 12), -1.0)
    masks[0, 4:6, 7:9] = 1
    masks[1, 0, 0] = masks[1, 9, 11] = 1
    one, corners, none = smallest(masks, (masks > 0).any(2), (masks > 0).any(1))
    assert (one.top, one.left, tuple(one.logits.shape)) == (3, 6, (4, 4))
    assert (corners.top, corners.left, tuple(corners.logits.shape)) == (0, 0, (10, 12))
    assert tuple(none.logits.shape) == (0, 0)
    assert (one.height, one.width) == (10, 12)
    masks[:] = 5
    assert one.logits.max() == 1, "the batch's memory is used again for the next"
