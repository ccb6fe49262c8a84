"""What was found in one picture, between the model and `finish`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gpuworker.engines.sam3.network import Answers, Question
from gpuworker.engines.sam3.transfer import to_host


@dataclass(frozen=True, kw_only=True, eq=False)
class Detection:
    """K instances on the host, small: their full-size masks are made by `finish`."""

    scores: torch.Tensor
    """K, float32."""
    category_ids: torch.Tensor
    """K, from 1."""
    masks: torch.Tensor
    """K × 288 × 288 logits in the model's number format."""
    most_of_a_prompt: int
    """How many instances the prompt has that found the most."""


def nothing() -> Detection:
    """A picture in which there was nothing to look for."""
    none = torch.empty(0)
    return Detection(scores=none, category_ids=none.long(), masks=none.view(0, 1, 1), most_of_a_prompt=0)


def by_picture(
    pictures: int, batches: Sequence[Sequence[Question]], answers: Sequence[Answers]
) -> list[Detection | None]:
    """Bring all answers to the host at once and give each picture its own; None where one is not a finite number."""
    parts = [part for one in answers for part in (one.questions, one.scores, one.masks, one.is_finite)]
    host = to_host(parts)
    starts = [sum(map(len, batches[:i])) for i in range(len(batches))]
    numbers = torch.cat([part + start for part, start in zip(host[0::4], starts, strict=True)])
    scores, masks, is_finite = (torch.cat(host[kind::4]) for kind in (1, 2, 3))
    asked = [one for batch in batches for one in batch]
    owners = torch.tensor([one.picture for one in asked])
    categories = torch.tensor([one.category_id for one in asked])
    found: list[Detection | None] = []
    for picture in range(pictures):
        if not is_finite[owners == picture].all():
            found.append(None)
            continue
        own = owners[numbers] == picture
        most = int(torch.bincount(numbers[own]).max()) if own.any() else 0
        found.append(
            Detection(
                scores=scores[own], category_ids=categories[numbers[own]], masks=masks[own], most_of_a_prompt=most
            )
        )
    return found
