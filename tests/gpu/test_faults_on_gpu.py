"""What a GPU's own failures look like from here, and its meter."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from gpuworker.engines.sam3.transfer import to_device, to_host
from gpuworker.process.gauge import gauge_of
from gpuworker.process.memory import free_cached, is_device_lost, is_out_of_memory

pytestmark = pytest.mark.gpu

LOSE_THE_GPU = """
import torch
from gpuworker.process.memory import is_device_lost, is_out_of_memory
numbers = torch.arange(4, device="cuda")
told = []
for attempt in range(2):
    try:
        numbers[torch.tensor([10**6], device="cuda")]
        torch.cuda.synchronize()
    except Exception as error:
        told.append((is_device_lost(error), is_out_of_memory(error), type(error).__name__))
print(told)
"""


def test_a_real_lack_of_memory_is_known_and_passes(cuda: str) -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**50, dtype=torch.uint8, device=cuda)
    assert is_out_of_memory(caught.value)
    assert not is_device_lost(caught.value)
    free_cached()
    assert float(torch.ones(3, device=cuda).sum()) == 3


def test_a_gpu_that_is_lost_is_known_at_once_and_from_then_on(cuda: str) -> None:
    # given a process of its own, for it cannot use the GPU any more
    done = subprocess.run([sys.executable, "-c", LOSE_THE_GPU], capture_output=True, text=True, timeout=120)
    assert done.stdout.count("(True, False") == 2, done.stdout + done.stderr[-2000:]


def test_what_goes_up_comes_back(device: str) -> None:
    pictures = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(5)]
    batch = to_device(pictures, device)
    [back] = to_host([batch])
    assert torch.equal(back, torch.stack(pictures))


def test_the_meter_reads_memory_and_use(cuda: str) -> None:
    gauge = gauge_of(cuda)
    assert gauge.has_gpu
    held = torch.ones(2**28, dtype=torch.uint8, device=cuda)
    with gauge.share():
        gauge.look()
    told = gauge.told()
    assert told["gpu_memory_total_bytes"] > told["gpu_memory_bytes"] >= held.numel()
    assert 0 <= told["gpu_utilisation"] <= 1
