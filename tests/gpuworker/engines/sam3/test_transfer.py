"""What is joined for one copy comes apart as it was; no GPU is needed for that."""

from __future__ import annotations

import pytest
import torch

from gpuworker.engines.sam3.transfer import collector, mark, packed, small, to_device, to_host, unpacked


def parts(dtype: torch.dtype) -> list[torch.Tensor]:
    """Of a batch's kinds: numbers of questions, scores, masks, flags; sizes that fill no alignment."""
    torch.manual_seed(1)
    return [
        torch.arange(7),
        torch.rand(7),
        torch.randn(7, 9, 5).to(dtype),
        torch.tensor([True, False, True]),
        torch.empty(0, 9, 5, dtype=dtype),
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_parts_come_back_from_one_tensor_of_bytes(dtype: torch.dtype) -> None:
    given = parts(dtype)
    joined = packed(given)
    assert joined.dtype == torch.uint8
    for part, back in zip(given, unpacked(joined, given), strict=True):
        assert (back.dtype, back.shape) == (part.dtype, part.shape)
        assert torch.equal(back, part)


def test_parts_that_are_views_are_joined_by_their_values() -> None:
    table = torch.arange(12.0).view(3, 4)
    [back] = unpacked(packed([table.T]), [table.T])
    assert torch.equal(back, table.T)


def test_on_the_host_nothing_waits_and_values_stay() -> None:
    pictures = [torch.full((3, 4, 4), value, dtype=torch.uint8) for value in (1, 2)]
    batch = to_device(pictures, "cpu")
    assert torch.equal(batch, torch.stack(pictures))
    with collector("cpu") as collecting, collecting.behind(mark("cpu")):
        kept = batch.float().sum((1, 2, 3))
    [host, numbers] = to_host([kept, small([5, 6], "cpu")])
    assert (host.tolist(), numbers.tolist()) == ([48.0, 96.0], [5, 6])
    assert to_host([]) == []
