"""SAM3 done plainly, as transformers documents it: one picture, one prompt, float32, and `roi_align` in slow Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """Instances of one prompt in one picture, in the order of the model's queries."""

    scores: torch.Tensor
    masks: torch.Tensor
    """K×H×W, as transformers' post_process_instance_segmentation has them: above ½ of the interpolated sigmoid."""
    logits: torch.Tensor
    """K×H×W interpolated logits, which Meta's own code cuts at 0."""
    agree: torch.Tensor
    """K×H×W: where all logits that a pixel is interpolated from have one sign, so that either way gives the same."""
    small: torch.Tensor
    """K×288×288 logits."""


class Reference:
    """transformers' own model, untouched."""

    def __init__(self, folder: Path) -> None:
        from transformers.models.clip.tokenization_clip import CLIPTokenizer
        from transformers.models.sam3.modeling_sam3 import Sam3Model

        self._model: Any = Sam3Model.from_pretrained(folder, local_files_only=True).eval()
        self._tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)

    def answer(
        self,
        pixels: torch.Tensor,
        prompt: str,
        *,
        size: tuple[int, int],
        threshold: float = 0.4,
        boxes: list[list[float]] | None = None,
        labels: list[int] | None = None,
    ) -> Answer:
        """`pixels`: 3×1008×1008 bytes; `boxes`: (cx, cy, w, h) in shares of the picture; `size`: height, width."""
        tokens = self._tokenizer(prompt, padding="max_length", max_length=32, truncation=True, return_tensors="pt")
        drawn = {"input_boxes": torch.tensor([boxes]), "input_boxes_labels": torch.tensor([labels])} if boxes else {}
        with torch.inference_mode():
            output = self._model(pixel_values=(pixels[None] / 255 - 0.5) / 0.5, **tokens, **drawn)
            scores = (output.pred_logits.sigmoid() * output.presence_logits.sigmoid())[0]
            small = output.pred_masks[0][scores >= threshold]
            enlarged = [
                functional.interpolate(one[None], size=size, mode="bilinear", align_corners=False)[0]
                for one in (small, small.sigmoid(), (small > 0).float())
            ]
        return Answer(
            scores=scores[scores >= threshold],
            masks=enlarged[1] > 0.5,
            logits=enlarged[0],
            agree=(enlarged[2] < 1e-6) | (enlarged[2] > 1 - 1e-6),
            small=small,
        )


def plain_roi_align(features: NDArray[np.float64], box: list[float], side: int) -> NDArray[np.float64]:
    """C×side×side of C×H×W, sample by sample, after torchvision's roi_align_kernel.cpp (aligned=False, ratio -1)."""
    left, top, right, bottom = box
    height, width = max(bottom - top, 1.0), max(right - left, 1.0)
    down, across = math.ceil(height / side), math.ceil(width / side)
    out = np.zeros((len(features), side, side))
    for row in range(side):
        for column in range(side):
            for i in range(down):
                for j in range(across):
                    y = top + (row + (i + 0.5) / down) * height / side
                    x = left + (column + (j + 0.5) / across) * width / side
                    out[:, row, column] += _bilinear(features, y, x) / (down * across)
    return out


def _bilinear(features: NDArray[np.float64], y: float, x: float) -> NDArray[np.float64]:
    _, height, width = features.shape
    if not (-1 <= y <= height and -1 <= x <= width):
        return np.zeros(len(features))
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    y0, x0 = int(y), int(x)
    y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
    upper = features[:, y0, x0] * (1 - x + x0) + features[:, y0, x1] * (x - x0)
    lower = features[:, y1, x0] * (1 - x + x0) + features[:, y1, x1] * (x - x0)
    return np.asarray(upper * (1 - y + y0) + lower * (y - y0))
