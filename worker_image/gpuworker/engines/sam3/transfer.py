"""Copies between the host and the model's device: beside the model's own work, and from memory that the GPU reads.

On CUDA copies have streams of their own, so that pictures go up and answers come down while the model computes;
host memory is pinned, without which a copy waits for its stream and the processor copies first. Elsewhere nothing is
copied at all.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch

_ALIGNED = 16
"""Bytes; a multiple of every number's size, so that each part can be read where it lies."""


def to_device(pictures: Sequence[torch.Tensor], device: str) -> torch.Tensor:
    """Pictures of equal size as one batch on the device; what is queued there from now on sees it whole."""
    if not _is_cuda(device):
        return torch.stack(list(pictures)).to(device)
    staged = torch.empty((len(pictures), *pictures[0].shape), dtype=pictures[0].dtype, pin_memory=True)
    torch.stack(list(pictures), out=staged)
    up, models = _upward(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(up):
        batch = staged.to(device, non_blocking=True)
    models.wait_stream(up)
    batch.record_stream(models)  # or its memory could be given to the next upload while the model still reads it
    return batch


def small(values: Any, device: str, dtype: torch.dtype | None = None) -> torch.Tensor:
    """A few numbers on the device, without waiting for what is queued there, as `torch.tensor(…, device=…)` would."""
    made = torch.as_tensor(values, dtype=dtype)
    return made.pin_memory().to(device, non_blocking=True) if _is_cuda(device) else made.to(device)


def mark(device: str) -> Any:
    """This moment in what the model's stream was given."""
    if not _is_cuda(device):
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


class Collector:
    """Takes a batch's answers off the device while the model's own stream goes on with the next batch."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    @contextlib.contextmanager
    def behind(self, moment: Any) -> Iterator[None]:
        """What is queued in the block runs after `moment` and after this collector's earlier blocks, and waits for
        nothing else. What it reads of the model's has to be `held` in it."""
        if self._stream is None:
            yield
            return
        self._stream.wait_event(moment)
        with torch.cuda.stream(self._stream):
            yield


@contextlib.contextmanager
def collector(device: str) -> Iterator[Collector]:
    """One for a batch. Two batches never share a stream: the first one's answers would wait for the second one's."""
    if not _is_cuda(device):
        yield Collector(None)
        return
    try:
        stream = _idle.setdefault(device, []).pop()
    except IndexError:
        stream = torch.cuda.Stream(device)
    try:
        yield Collector(stream)
    finally:
        _idle[device].append(stream)


_idle: dict[str, list[Any]] = {}
"""Streams to be used again, for torch keeps free memory by stream."""


def held(*parts: torch.Tensor) -> None:
    """Let the memory of `parts` go to nobody before what is queued now has read it, whoever drops them when."""
    for part in parts:
        if part.is_cuda:
            part.record_stream(torch.cuda.current_stream(part.device))


def to_host(parts: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The same tensors on the host, by one copy; the only place that waits for the device."""
    if not parts or not parts[0].is_cuda:
        return [part.cpu() for part in parts]
    joined = packed(parts)
    host = torch.empty(joined.shape, dtype=torch.uint8, pin_memory=True)
    host.copy_(joined, non_blocking=True)
    torch.cuda.current_stream(joined.device).synchronize()
    return unpacked(host, parts)


def packed(parts: Sequence[torch.Tensor]) -> torch.Tensor:
    """The bytes of all parts in one tensor on their device."""
    places = _places(parts)
    joined = torch.empty(places[-1], dtype=torch.uint8, device=parts[0].device)
    for part, start in zip(parts, places, strict=False):
        size = part.numel() * part.element_size()
        joined[start : start + size] = part.contiguous().view(-1).view(torch.uint8)
    return joined


def unpacked(joined: torch.Tensor, like: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Views of what `packed` has joined, with the types and shapes of `like`."""
    return [
        joined[start : start + part.numel() * part.element_size()].view(part.dtype).view(part.shape)
        for part, start in zip(like, _places(like), strict=False)
    ]


def _places(parts: Sequence[torch.Tensor]) -> list[int]:
    """Where each part begins, and last where all end."""
    places = [0]
    for part in parts:
        places.append(places[-1] + math.ceil(part.numel() * part.element_size() / _ALIGNED) * _ALIGNED)
    return places


def _is_cuda(device: str) -> bool:
    return str(torch.device(device).type) == "cuda"


@functools.cache
def _upward(device: str) -> Any:
    """One for all: what goes up waits for nothing."""
    return torch.cuda.Stream(device)
