"""Example boxes: features are pooled as torchvision pools them, and the model takes them as transformers' own does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.gpuworker.engines.sam3.reference import plain_roi_align
from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder

from gpuworker.engines.sam3.geometry import roi_align
from gpuworker.engines.sam3.weights import load_model

STORED = [
    # Box, and 3×3 means of `steps()`: those of torchvision 0.28's `_roi_align`, its implementation in Python …
    ((1.0, 1.0, 5.0, 4.0), [[4.0, 6.5833, 5.5], [4.0, 6.0, 6.1667], [3.3333, 6.5833, 6.1667]]),
    ((0.25, 0.5, 7.75, 5.5), [[4.6829, 5.9977, 4.963], [3.9838, 6.1875, 4.9005], [6.4375, 3.8958, 5.5208]]),
    ((2.3, 3.1, 2.6, 3.2), [[4.7733, 6.04, 6.9156], [5.24, 6.84, 7.56], [5.7067, 7.64, 8.2044]]),
    ((0.0, 0.0, 8.0, 6.0), [[4.8704, 5.9352, 4.9074], [4.2963, 6.1852, 4.8704], [6.7778, 3.3148, 6.0648]]),
    ((6.9, 4.7, 8.0, 6.0), [[6.4167, 6.4167, 6.4167], [7.0, 7.0, 7.0], [7.0, 7.0, 7.0]]),
    # … which leaves out a rule of its compiled kernel: what lies further than a pixel outside is nothing.
    ((-1.5, 2.0, 1.0, 9.0), [[0.0, 5.3704, 4.679], [0.0, 5.9259, 5.5802], [0.0, 0.0, 0.0]]),
]


def steps() -> torch.Tensor:
    """1×6×8 whole numbers without symmetry."""
    y, x = torch.meshgrid(torch.arange(6.0), torch.arange(8.0), indexing="ij")
    return ((7 * y * y + 3 * x * y + 5 * x) % 11)[None]


class TestRoiAlign:
    @pytest.mark.parametrize(("box", "means"), STORED)
    def test_stored_values(self, box: tuple[float, ...], means: list[list[float]]) -> None:
        pooled = roi_align(steps(), torch.tensor([box]), 3)
        assert pooled.shape == (1, 1, 3, 3)
        assert pooled[0, 0].tolist() == [pytest.approx(row, abs=6e-5) for row in means]

    def test_many_boxes_of_many_sizes_are_pooled_as_one_by_one_in_slow_python(self) -> None:
        drawn = np.random.default_rng(3)
        features = drawn.standard_normal((3, 24, 31)).astype(np.float32)
        corners = drawn.random((12, 2)) * (31, 24)
        boxes = np.hstack([corners, corners + drawn.random((12, 2)) * (31, 24)]).astype(np.float32)
        pooled = roi_align(torch.from_numpy(features), torch.from_numpy(boxes), 7).numpy()
        for box, own in zip(boxes, pooled, strict=True):
            assert np.abs(own - plain_roi_align(features.astype(np.float64), box.tolist(), 7)).max() < 1e-4

    def test_what_comes_as_bfloat16_goes_as_bfloat16(self) -> None:
        pooled = roi_align(steps().bfloat16(), torch.tensor([STORED[0][0]]), 3)
        assert pooled.dtype == torch.bfloat16
        assert pooled[0, 0, 0].tolist() == pytest.approx(STORED[0][1][0], rel=0.01)


class TestBoxEncoder:
    def test_it_encodes_boxes_as_transformers_does(self, weights: Path, torchvision: None) -> None:
        own = load_model(weights, device="cpu", dtype=torch.float32).geometry_encoder
        theirs = Sam3GeometryEncoder(own.config).eval()
        theirs.load_state_dict(own.state_dict())
        torch.manual_seed(1)
        boxes = torch.tensor(
            [[[0.5, 0.5, 0.4, 0.3], [0.2, 0.7, 0.1, 0.5]], [[0.9, 0.1, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0]]]
        )
        asked = {
            "box_embeddings": boxes,
            "box_mask": torch.tensor([[True, True], [True, False]]),
            "box_labels": torch.tensor([[1, 0], [1, 0]]),
            "img_feats": (torch.randn(2, 32, 18, 18),),
            "img_pos_embeds": (torch.randn(2, 32, 18, 18),),
        }
        with torch.inference_mode():
            mine, other = own(**asked), theirs(**asked)
        assert (mine.attention_mask == other.attention_mask).all()
        assert (mine.last_hidden_state - other.last_hidden_state).abs().max() < 1e-5
        assert other.last_hidden_state.std() > 0.1, "or anything would be equal"
