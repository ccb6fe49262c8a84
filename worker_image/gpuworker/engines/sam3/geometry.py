"""Example boxes as SAM3 takes them; transformers' own encoder of boxes needs torchvision for `roi_align` alone."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional
from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder, box_cxcywh_to_xyxy


def roi_align(features: torch.Tensor, boxes: torch.Tensor, side: int) -> torch.Tensor:
    """Boxes×C×side×side averages of C×H×W `features` inside boxes×4 (left, top, right, bottom in its pixels).

    As torchvision.ops.roi_align(aligned=False, sampling_ratio=-1, spatial_scale=1), which is Mask R-CNN's: pixel
    centres lie on whole numbers, a box is at least one pixel wide and high, and each of its side×side cells is the mean
    of ceil(height / side) × ceil(width / side) bilinear samples. Computed in float32.
    """
    exact, starts = features.float(), boxes[:, :2].float()
    lengths = (boxes[:, 2:].float() - starts).clamp(min=1)
    samples = torch.ceil(lengths / side)  # in float32, or boxes of just so many pixels would be sampled otherwise
    found = [
        _pooled(exact, *box, side) for box in zip(starts.tolist(), lengths.tolist(), samples.tolist(), strict=True)
    ]
    return torch.cat(found).to(features.dtype)


def _pooled(
    features: torch.Tensor, starts: list[float], lengths: list[float], samples: list[float], side: int
) -> torch.Tensor:
    _, height, width = features.shape
    xs, ys = (_places(*axis, side) for axis in zip(starts, lengths, samples, strict=True))
    grid = torch.stack(torch.meshgrid(_as_grid(xs, width), _as_grid(ys, height), indexing="xy"), -1)
    sampled = functional.grid_sample(
        features[None], grid[None].to(features.device), padding_mode="border", align_corners=True
    )
    counts = torch.outer(_counts(ys, height), _counts(xs, width)).to(features.device)
    return functional.avg_pool2d(sampled * counts, (len(ys) // side, len(xs) // side))


def _places(start: float, length: float, samples: float, side: int) -> torch.Tensor:
    """Where a box is sampled along one axis, in pixels: evenly, `samples` times in each of `side` cells."""
    count = side * int(samples)
    return start + (torch.arange(count, dtype=torch.float32) + 0.5) * (length / count)


def _as_grid(places: torch.Tensor, size: int) -> torch.Tensor:
    """Pixels -> -1..1 from the first pixel's centre to the last one's, as grid_sample counts with align_corners."""
    return places * (2 / max(size - 1, 1)) - 1


def _counts(places: torch.Tensor, size: int) -> torch.Tensor:
    """1 where a sample counts; those further than a pixel outside are zeros, not the border's value."""
    return ((places >= -1) & (places <= size)).float()


class BoxEncoder(Sam3GeometryEncoder):  # type: ignore[misc]  # transformers is untyped here
    """The same weights and arithmetic; boxes stay float32 until they have chosen their features."""

    def _encode_boxes(
        self, boxes: torch.Tensor, boxes_mask: torch.Tensor, boxes_labels: torch.Tensor, vision_features: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Pictures×boxes×channels of boxes (cx, cy, w, h in 0..1), and the mask as it came."""
        pictures, count = boxes.shape[:2]
        exact, dtype = boxes.float(), vision_features.dtype
        size = torch.tensor(vision_features.shape[:1:-1] * 2, device=boxes.device)
        corners = box_cxcywh_to_xyxy(exact) * size
        pooled = torch.cat(
            [roi_align(one, its, self.roi_size) for one, its in zip(vision_features, corners, strict=True)]
        )
        by_content = self.boxes_pool_project(pooled).view(pictures, count, self.hidden_size)
        places = self._encode_box_coordinates(*exact.flatten(0, 1).unbind(-1)).view(pictures, count, -1)
        by_place = self.boxes_direct_project(exact.to(dtype)) + self.boxes_pos_enc_project(places.to(dtype))
        return self.label_embed(boxes_labels.long()) + by_content + by_place, boxes_mask


def use_own_roi_align(model: Any) -> None:
    """Give the model the encoder above in place of its own, with its own weights."""
    with torch.device("meta"):
        encoder = BoxEncoder(model.config.geometry_encoder_config)
    encoder.load_state_dict(model.geometry_encoder.state_dict(), assign=True)
    model.geometry_encoder = encoder.eval()
