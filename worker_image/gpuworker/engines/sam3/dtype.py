"""Which type of numbers the model computes with on which device."""

from __future__ import annotations

import torch

_FIRST_WITH_BFLOAT16 = (8, 0)


def dtype_of(device: str) -> torch.dtype:
    """What `device` is fast with and the model is right with."""
    if torch.device(device).type != "cuda":
        return torch.float32
    return dtype_by_capability(torch.cuda.get_device_capability(device))


def dtype_by_capability(compute_capability: tuple[int, int]) -> torch.dtype:
    """bfloat16 from Ampere on, else float16.

    torch.cuda.is_bf16_supported() is no answer: it is true on a T4 (7.5), which emulates bfloat16 slower than float32.
    """
    return torch.bfloat16 if compute_capability >= _FIRST_WITH_BFLOAT16 else torch.float16
