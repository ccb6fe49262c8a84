"""What was found in one picture, between the model and `finish`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gpuworker.engines.sam3.masks import Small, smallest
from gpuworker.engines.sam3.network import Outputs, Prompt
from gpuworker.engines.sam3.transfer import to_host

_KINDS = ("prompts", "scores", "is_finite", "masks", "rows", "columns")


@dataclass(frozen=True, kw_only=True, eq=False)
class Detection:
    """K instances on the host, small: their full-size masks are made by `finish`."""

    scores: torch.Tensor
    """K, float32."""
    category_ids: torch.Tensor
    """K, from 1."""
    masks: Sequence[Small]
    """K, in the model's dtype."""
    most_of_a_prompt: int
    """How many instances the prompt has that found the most."""


def nothing() -> Detection:
    """A picture in which there was nothing to look for."""
    none = torch.empty(0)
    return Detection(scores=none, category_ids=none.long(), masks=(), most_of_a_prompt=0)


def by_picture(
    pictures: int, batches: Sequence[Sequence[Prompt]], outputs: Sequence[Outputs]
) -> list[Detection | None]:
    """Bring all outputs to the host at once and give each picture its own; None where one is not a finite number."""
    host = to_host([getattr(one, kind) for one in outputs for kind in _KINDS])
    parts = [host[i :: len(_KINDS)] for i in range(len(_KINDS))]
    starts = [sum(map(len, batches[:i])) for i in range(len(batches))]
    numbers = torch.cat([part + start for part, start in zip(parts[0], starts, strict=True)])
    scores, is_finite = torch.cat(parts[1]), torch.cat(parts[2])
    masks = [one for each in zip(*parts[3:], strict=True) for one in smallest(*each)]
    prompts = [one for batch in batches for one in batch]
    owners = torch.tensor([one.picture for one in prompts])
    categories = torch.tensor([one.category_id for one in prompts])
    found: list[Detection | None] = []
    for picture in range(pictures):
        if not is_finite[owners == picture].all():
            found.append(None)
            continue
        own = torch.nonzero(owners[numbers] == picture).flatten()
        found.append(
            Detection(
                scores=scores[own],
                category_ids=categories[numbers[own]],
                masks=[masks[i] for i in own.tolist()],
                most_of_a_prompt=int(torch.bincount(numbers[own], minlength=1).max()),
            )
        )
    return found
