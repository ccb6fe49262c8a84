"""Copies between the host and the model's device."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def to_device(pictures: Sequence[torch.Tensor], device: str) -> torch.Tensor:
    """Pictures of equal size as one batch on the device."""
    return torch.stack(list(pictures)).to(device)


def to_host(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same tensors on the host."""
    return [part.cpu() for part in parts]
