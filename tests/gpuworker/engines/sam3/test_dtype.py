"""Number formats by what the device computes well with."""

from __future__ import annotations

import pytest
import torch

from gpuworker.engines.sam3.dtype import dtype_by_capability, dtype_of


@pytest.mark.parametrize(
    ("card", "capability", "expected"),
    [
        ("T4", (7, 5), torch.float16),
        ("V100", (7, 0), torch.float16),
        ("A10G", (8, 6), torch.bfloat16),
        ("A100", (8, 0), torch.bfloat16),
        ("H200", (9, 0), torch.bfloat16),
        ("RTX PRO 6000", (12, 0), torch.bfloat16),
    ],
)
def test_bfloat16_where_it_is_not_emulated(card: str, capability: tuple[int, int], expected: torch.dtype) -> None:
    assert dtype_by_capability(capability) == expected, card


def test_a_processor_computes_exactly() -> None:
    assert dtype_of("cpu") == torch.float32
