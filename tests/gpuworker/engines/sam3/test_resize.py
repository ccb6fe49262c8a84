"""Pixels as the model takes them are those that Pillow makes, within a grey level."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from gpuworker.engines.sam3.resize import normalised, resized


def picture(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(1500, 2000), (700, 501), (1008, 1008), (20, 30), (1, 1), (1, 5000), (6000, 7)])
def test_it_is_within_a_grey_level_of_pillow(size: tuple[int, int]) -> None:
    rgb = picture(*size)
    pillow = np.asarray(Image.fromarray(rgb).resize((1008, 1008), Image.Resampling.BILINEAR))
    own = resized(rgb)
    assert (own.shape, own.dtype, own.is_contiguous()) == ((3, 1008, 1008), torch.uint8, True)
    assert np.abs(own.permute(1, 2, 0).numpy().astype(int) - pillow).max() <= 1


def test_a_view_that_is_not_contiguous_gives_the_same() -> None:
    rgb = picture(90, 120)
    assert (resized(rgb[:, ::-1]) == resized(np.ascontiguousarray(rgb[:, ::-1]))).all()


def test_bytes_become_numbers_from_minus_one_to_one_rounded_once() -> None:
    every = torch.arange(256, dtype=torch.uint8)
    exact = (every.double() / 255 - 0.5) / 0.5
    assert (normalised(every, torch.float32) - exact).abs().max() < 1e-7
    assert (normalised(every, torch.bfloat16) == exact.bfloat16()).all()
    assert (normalised(every, torch.float16) == exact.half()).all()
