"""How many pictures go together, by what trials took; trials themselves need a GPU."""

from __future__ import annotations

import pytest
import torch

from gpuworker.engines.sam3.engine import Sam3
from gpuworker.engines.sam3.memory import AT_MOST, Trial, fitting

GB = 1_000_000_000


def batch(free_gb: float, *, one_gb: float, two_gb: float) -> int:
    one = Trial(pictures=1, peak_bytes=int(one_gb * GB), seconds=0.1)
    two = Trial(pictures=2, peak_bytes=int(two_gb * GB), seconds=0.2)
    return fitting(int(free_gb * GB), one, two)


@pytest.mark.parametrize(
    ("free_gb", "expected"),
    [
        (0.5, 1),  # not even one by this guess: it is tried, and its failure is an item's
        (2.0, 1),
        (4.0, 2),  # 2.8 GB: 1.2 for the first, 1.0 for each more
        (7.0, 4),
        (12.0, 8),
        (130.0, AT_MOST),
    ],
)
def test_as_many_as_fit_into_most_of_the_free_memory(free_gb: float, expected: int) -> None:
    assert batch(free_gb, one_gb=1.2, two_gb=2.2) == expected


def test_a_trial_in_which_the_second_picture_took_nothing_more_is_no_reason_to_fail() -> None:
    assert batch(16.0, one_gb=1.2, two_gb=1.2) == AT_MOST
    assert batch(16.0, one_gb=1.2, two_gb=1.0) == AT_MOST


def test_a_trial_asks_the_real_model(engine: Sam3) -> None:
    # given a model that counts what its encoder sees
    seen: list[tuple[int, ...]] = []
    hook = engine.network.model.vision_encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape))
    # when as on CUDA two pictures are tried
    with torch.inference_mode():
        engine.network.try_out(2)
    hook.remove()
    assert seen == [(2, 3, 1008, 1008)]
    assert len(engine.network.shape) == 12
