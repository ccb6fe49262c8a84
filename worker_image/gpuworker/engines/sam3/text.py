"""Prompts as SAM3 takes them: 32 tokens each, encoded once however many pictures are looked at."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

TOKENS = 32
_PROMPTS_KEPT = 4096
"""Jobs bring their own prompts; 32×256 numbers each, so 64 MB in all."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Encoded:
    """Prompts on the model's device."""

    features: torch.Tensor
    """prompts × tokens × channels."""
    mask: torch.Tensor
    """prompts × tokens, 1 where there is a token; the features mean nothing without it."""


class Texts:
    """The text encoder of one model and what it has encoded."""

    def __init__(self, model: Any, tokenizer: Any, *, at_most: int = _PROMPTS_KEPT) -> None:
        self._model, self._tokenizer, self._at_most = model, tokenizer, at_most
        self._kept: OrderedDict[str, tuple[torch.Tensor, torch.Tensor]] = OrderedDict()

    def encoded(self, prompts: Sequence[str]) -> Encoded:
        """`prompts` in their order; those that are new go through the encoder in one batch."""
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._kept]
        if new:
            self._encode(new)
        rows = [self._kept[prompt] for prompt in prompts]
        for prompt in prompts:
            self._kept.move_to_end(prompt)
        while len(self._kept) > self._at_most:
            self._kept.popitem(last=False)
        return Encoded(
            features=torch.stack([features for features, _ in rows]),
            mask=torch.stack([mask for _, mask in rows]),
        )

    def _encode(self, prompts: Sequence[str]) -> None:
        tokens = self._tokenizer(
            list(prompts), padding="max_length", max_length=TOKENS, truncation=True, return_tensors="pt"
        ).to(self._model.device)
        output = self._model.get_text_features(tokens.input_ids, attention_mask=tokens.attention_mask)
        for prompt, features, mask in zip(prompts, output.pooler_output, tokens.attention_mask, strict=True):
            self._kept[prompt] = (features, mask)
