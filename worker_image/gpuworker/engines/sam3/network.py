"""The model on its device: pixels -> what the vision encoder sees -> outputs for prompts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutputWithPooling
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from gpuworker.engines.sam3.resize import SIDE_PX, normalised
from gpuworker.engines.sam3.text import Texts
from gpuworker.engines.sam3.transfer import held, small
from gpuworker.engines.sam3.weights import load_model, load_tokenizer

_PADDING_LABEL = -10
"""What transformers takes for no box."""


@dataclass(frozen=True, kw_only=True)
class Box:
    """An example: centre and size as shares of the picture's width and height."""

    centre_x: float
    centre_y: float
    width: float
    height: float
    is_positive: bool
    prompt: str


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt put to one picture of a batch."""

    picture: int
    category_id: int
    text: str
    boxes: tuple[Box, ...]
    threshold: float


@dataclass(frozen=True, kw_only=True, eq=False)
class RawOutputs:
    """All that the model puts out for some prompts, on its device, maybe not computed yet."""

    scores: torch.Tensor
    """Prompts × queries, float32."""
    thresholds: torch.Tensor
    """Prompts × 1."""
    masks: torch.Tensor
    """Prompts × queries × 288 × 288 logits in the model's dtype."""

    def above_threshold(self) -> Outputs:
        """Waits for how many queries pass, which decides how much memory the rest takes."""
        held(self.scores, self.thresholds, self.masks)
        prompt, query = torch.nonzero(self.scores >= self.thresholds, as_tuple=True)
        finite = [torch.isfinite(part).flatten(1).all(1) for part in (self.scores, self.masks)]
        masks = self.masks[prompt, query]
        positive = masks > 0
        return Outputs(
            prompts=prompt,
            scores=self.scores[prompt, query],
            masks=masks,
            rows=positive.any(2),
            columns=positive.any(1),
            is_finite=finite[0] & finite[1],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """The same, only of the queries that pass their threshold."""

    prompts: torch.Tensor
    """K: which prompt each mask is of."""
    scores: torch.Tensor
    """K, float32."""
    masks: torch.Tensor
    """K × 288 × 288 logits in the model's dtype."""
    rows: torch.Tensor
    """K × 288: which rows hold a logit above 0."""
    columns: torch.Tensor
    """K × 288: which columns do."""
    is_finite: torch.Tensor
    """Prompts: whether every number in their outputs is one."""


class Sam3Network:
    """A loaded SAM3. Used by one thread at a time."""

    def __init__(self, folder: Path, *, device: str, dtype: torch.dtype) -> None:
        self.device, self.dtype = device, dtype
        self.model = load_model(folder, device=device, dtype=dtype)
        self._texts = Texts(self.model, load_tokenizer(folder, words=self.model.config.text_config.vocab_size))
        self.encoder: Callable[[torch.Tensor], Any] = self.model.vision_encoder
        """Normalised pixels -> Sam3VisionEncoderOutput; may be replaced by the same, compiled."""

    @property
    def queries(self) -> int:
        """The most instances it can name for one prompt."""
        return int(self.model.config.detr_decoder_config.num_queries)

    @property
    def shape(self) -> str:
        """What of the configuration compiled code depends on, in a few digits; weights are not in it."""
        text = json.dumps(self.model.config.vision_config.to_dict(), sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def noise(self, pictures: int) -> torch.Tensor:
        """So many pictures of noise, as the vision encoder takes them; grey ones would be faster than real ones."""
        return torch.rand((pictures, 3, SIDE_PX, SIDE_PX), dtype=self.dtype, device=self.device) * 2 - 1

    def try_out(self, pictures: int) -> None:
        """Ask one thing of so many pictures, to see what that takes."""
        prompts = [Prompt(picture=i, category_id=1, text="tree", boxes=(), threshold=0.5) for i in range(pictures)]
        self.decode(self.encoder(self.noise(pictures)), prompts)

    def encode(self, pixels: torch.Tensor) -> Any:
        """What the vision encoder makes of pictures×3×1008×1008 bytes on the device."""
        return self.encoder(normalised(pixels, self.dtype))

    def decode(self, features: Any, prompts: Sequence[Prompt]) -> RawOutputs:
        """Look for `prompts` in encoded pictures, all at once; all of them with boxes, or none. Waits for nothing.

        A prompt with boxes takes another path through the model, so one without must not share its batch.
        """
        texts = self._texts.encoded([one.text for one in prompts])
        output = self.model(
            vision_embeds=_expanded(features, [one.picture for one in prompts], self.device),
            text_embeds=BaseModelOutputWithPooling(pooler_output=texts.features),
            attention_mask=texts.mask,
            **_boxes(prompts, self.device),
        )
        return RawOutputs(
            scores=output.pred_logits.float().sigmoid() * output.presence_logits.float().sigmoid(),
            thresholds=small([[one.threshold] for one in prompts], self.device),
            masks=output.pred_masks,
        )


def _expanded(features: Any, pictures: Sequence[int], device: str) -> Sam3VisionEncoderOutput:
    """What was seen of each prompt's picture: the model does not broadcast, and each picture was encoded once."""
    chosen = small(list(pictures), device)
    levels = [_rows(level, pictures, chosen) for level in features.fpn_hidden_states]
    places = [level[:1].expand(len(pictures), -1, -1, -1) for level in features.fpn_position_encoding]
    return Sam3VisionEncoderOutput(fpn_hidden_states=tuple(levels), fpn_position_encoding=tuple(places))


def _rows(level: torch.Tensor, pictures: Sequence[int], chosen: torch.Tensor) -> torch.Tensor:
    """A view where that is possible: one picture with all its prompts, or a batch with one prompt."""
    if list(pictures) == list(range(len(level))):
        return level
    if len(set(pictures)) == 1:
        return level[pictures[0]][None].expand(len(pictures), -1, -1, -1)
    return level[chosen]


def _boxes(prompts: Sequence[Prompt], device: str) -> dict[str, torch.Tensor]:
    """The examples of each prompt, padded to as many as the one with the most has."""
    most = max(len(one.boxes) for one in prompts)
    if not most:
        return {}
    places = torch.zeros(len(prompts), most, 4)
    labels = torch.full((len(prompts), most), _PADDING_LABEL)
    for row, prompt in enumerate(prompts):
        for column, box in enumerate(prompt.boxes):
            places[row, column] = torch.tensor([box.centre_x, box.centre_y, box.width, box.height])
            labels[row, column] = int(box.is_positive)
    return {"input_boxes": small(places, device), "input_boxes_labels": small(labels, device)}
