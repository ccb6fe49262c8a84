"""How busy the GPU is and how much of its memory is held: into each shard's timings, and what `watch` shows.

By NVML (nvidia-ml-py, https://docs.nvidia.com/deploy/nvml-api/): *utilisation* is the share of the driver's last
sample period in which any kernel ran, so it tells idleness and not how well kernels use the chip. Where there is no
GPU, or one that does not say (MIG), whatever is unknown is left out.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gpuworker.process.threads import start_daemon

EVERY_S = 0.5
"""NVML's own sample period lies between a sixth of a second and a second."""
GB = 1e9


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One look at one GPU."""

    memory_bytes: int
    """Held by whichever process."""
    memory_total_bytes: int
    utilisation: float | None
    """0 to 1; None where the driver does not tell."""


@dataclass(kw_only=True)
class Share:
    """What a shard had of the GPU. Additive: shards that are worked on at once divide the time between them."""

    observed_s: float = 0.0
    busy_s: float = 0.0
    memory_gb_s: float = 0.0
    """Gigabytes held, times seconds: over `observed_s` it is the mean."""

    def timings(self) -> Mapping[str, float]:
        """As a shard's result has it; nothing where nothing was observed."""
        if not self.observed_s:
            return {}
        seconds = {"gpu_observed": self.observed_s, "gpu_busy": self.busy_s, "gpu_gb_s": self.memory_gb_s}
        return {name: round(value, 3) for name, value in seconds.items()}


class Gauge:
    """Looks at the GPU every half second once it is started; `share` may be entered by many threads at once."""

    def __init__(
        self,
        read: Callable[[], Reading] | None,
        *,
        clock: Callable[[], float] = time.monotonic,
        every_s: float = EVERY_S,
    ) -> None:
        """`read` may raise: then that look is left out. None: there is nothing to look at."""
        self._read, self._clock, self._every_s = read, clock, every_s
        self._open: list[Share] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._looked_at = clock()
        self._last: Reading | None = None
        self._since_taken = Share()
        self._peak_bytes = 0

    @property
    def has_gpu(self) -> bool:
        return self._read is not None

    def start(self) -> Gauge:
        """Look from now on, in a thread of its own."""
        if self._read is not None:
            start_daemon(self._loop, name="gauge")
        return self

    def close(self) -> None:
        self._ended.set()

    def _loop(self) -> None:
        while not self._ended.wait(self._every_s):
            self.look()

    def look(self) -> None:
        """Take a reading; it stands for the time since the one before."""
        if self._read is None:
            return
        try:
            reading = self._read()
        except Exception:  # NVML's errors: a driver that is being updated, a GPU that fell off the bus
            reading = None
        with self._lock:
            self._note(reading)

    def _note(self, reading: Reading | None) -> None:
        now = self._clock()
        passed, self._looked_at = now - self._looked_at, now
        self._last = reading
        if reading is None:
            return
        self._peak_bytes = max(self._peak_bytes, reading.memory_bytes)
        if reading.utilisation is None:
            return
        _add(self._since_taken, passed, reading, reading.utilisation)
        for share in self._open:
            _add(share, passed / len(self._open), reading, reading.utilisation)

    @contextlib.contextmanager
    def share(self) -> Iterator[Share]:
        """While a shard is worked on: what falls to it. Read it when the block has ended."""
        share = Share()
        self.look()
        with self._lock:
            self._open.append(share)
        try:
            yield share
        finally:
            self.look()
            with self._lock:
                self._open[:] = [one for one in self._open if one is not share]

    def take_fields(self) -> Mapping[str, Any]:
        """What the machine's row in the ledger is to say: since the last time, or nothing where nothing is known."""
        with self._lock:
            last, since, peak = self._last, self._since_taken, self._peak_bytes
            self._since_taken, self._peak_bytes = Share(), 0
        if last is None:
            return {}
        memory = {"gpu_memory_bytes": peak or last.memory_bytes, "gpu_memory_total_bytes": last.memory_total_bytes}
        if not since.observed_s:
            return memory
        return {**memory, "gpu_utilisation": round(since.busy_s / since.observed_s, 3)}


def _add(share: Share, seconds: float, reading: Reading, utilisation: float) -> None:
    share.observed_s += seconds
    share.busy_s += seconds * utilisation
    share.memory_gb_s += seconds * reading.memory_bytes / GB


def gauge_of(device: str) -> Gauge:
    """The gauge of the GPU that torch uses on this machine; one that reads nothing where there is none to read."""
    if not device.startswith("cuda"):
        return Gauge(None)
    try:
        import pynvml  # type: ignore[import-untyped,import-not-found,unused-ignore]
        import torch  # type: ignore[import-not-found,unused-ignore]

        pynvml.nvmlInit()
        # By its UUID: NVML numbers all GPUs of the machine, CUDA only those that CUDA_VISIBLE_DEVICES leaves.
        uuid = torch.cuda.get_device_properties(torch.device(device)).uuid
        return Gauge(reader(pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")))
    except Exception:  # no such package, an older driver, a MIG slice: work goes on without a gauge
        return Gauge(None)


def reader(nvml: Any, handle: Any) -> Callable[[], Reading]:
    """Reads one GPU; `nvml` is nvidia-ml-py's module, initialised."""

    def read() -> Reading:
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        try:
            utilisation: float | None = nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100
        except nvml.NVMLError:  # MIG slices do not tell
            utilisation = None
        return Reading(memory_bytes=int(memory.used), memory_total_bytes=int(memory.total), utilisation=utilisation)

    return read
