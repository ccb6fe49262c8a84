"""How many pictures go through the model together on this machine: measured once, when the model is loaded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

AT_MOST = 8
"""5,184 tokens a picture: more at once would fill no chip better, and the first result would come later."""
SHARE = 0.7
"""Of the free memory. Answers of many instances take more than the trial's, and an item that has to run alone does so
in another process with a model of its own (4 GB of a T4's 16)."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What some pictures took beyond the weights."""

    pictures: int
    peak_bytes: int
    seconds: float


def fitting(free_bytes: int, one: Trial, more: Trial, *, at_most: int = AT_MOST) -> int:
    """The largest power of two of pictures that fit; at least 1, whose failure is an item's and says so."""
    each = max(1, (more.peak_bytes - one.peak_bytes) // (more.pictures - one.pictures))
    fit = one.pictures + (int(free_bytes * SHARE) - one.peak_bytes) // each
    batch = 1
    while batch * 2 <= min(fit, at_most):
        batch *= 2
    return batch


def measured(run: Callable[[int], object], device: str) -> tuple[int, float]:
    """The batch that fits beside what is in memory now, and the seconds that a picture takes.

    Where not even the trial fits, the batch is 1: what fails then is an item, by its code.
    """
    try:
        one, two = trial(run, 1, device), trial(run, 2, device)
    except torch.OutOfMemoryError:
        return 1, 0.0
    return fitting(free_bytes(device), one, two), two.seconds / 2


def free_bytes(device: str) -> int:
    """What the driver has to give, and what torch holds without using it."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def trial(run: Callable[[int], object], pictures: int, device: str) -> Trial:
    """Run so many pictures to their end, and see what that took. Raises torch.OutOfMemoryError."""
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before, started = torch.cuda.memory_allocated(device), time.perf_counter()
    run(pictures)
    torch.cuda.synchronize(device)
    peak = torch.cuda.max_memory_allocated(device) - before
    return Trial(pictures=pictures, peak_bytes=peak, seconds=time.perf_counter() - started)
