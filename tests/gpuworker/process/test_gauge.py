"""What a GPU was doing, by readings that the tests make; no GPU is needed."""

from __future__ import annotations

import pytest
from tests.gpuworker.station import until

from gpuworker.process.gauge import Gauge, Reading, gauge_of, reader

GB = 1_000_000_000


class Gpu:
    """A GPU whose readings and clock the test sets; it can fall off the bus."""

    def __init__(self) -> None:
        self.now, self.busy, self.memory_bytes, self.is_lost = 100.0, 0.0, 2 * GB, False
        self.tells_busy = True
        self.looks = 0

    def clock(self) -> float:
        return self.now

    def read(self) -> Reading:
        self.looks += 1
        if self.is_lost:
            raise RuntimeError("GPU is lost")
        busy = self.busy if self.tells_busy else None
        return Reading(memory_bytes=self.memory_bytes, memory_total_bytes=24 * GB, utilisation=busy)

    def spend(self, gauge: Gauge, seconds: float, *, busy: float) -> None:
        self.now += seconds
        self.busy = busy
        gauge.look()


@pytest.fixture
def gpu() -> Gpu:
    return Gpu()


@pytest.fixture
def gauge(gpu: Gpu) -> Gauge:
    return Gauge(gpu.read, clock=gpu.clock)


def test_a_shard_has_the_time_between_its_beginning_and_its_end(gpu: Gpu, gauge: Gauge) -> None:
    gpu.spend(gauge, 50.0, busy=1.0)
    with gauge.share() as share:
        gpu.spend(gauge, 3.0, busy=0.5)
        gpu.spend(gauge, 1.0, busy=1.0)
    gpu.spend(gauge, 50.0, busy=1.0)
    assert share.timings() == {"gpu_observed": 4.0, "gpu_busy": 2.5, "gpu_gb_s": 8.0}


def test_shards_that_overlap_divide_the_time_so_that_sums_are_true(gpu: Gpu, gauge: Gauge) -> None:
    # given two seconds of one shard alone, two of both, one of the other alone
    with gauge.share() as first:
        gpu.spend(gauge, 2.0, busy=1.0)
        second_open = gauge.share()
        second = second_open.__enter__()
        gpu.spend(gauge, 2.0, busy=0.5)
    gpu.spend(gauge, 1.0, busy=0.0)
    second_open.__exit__(None, None, None)
    # then each second is counted once
    assert (first.observed_s, second.observed_s) == (3.0, 2.0)
    assert (first.busy_s, second.busy_s) == (2.5, 0.5)


def test_the_ledger_is_told_the_mean_and_the_most_since_the_last_time(gpu: Gpu, gauge: Gauge) -> None:
    gpu.memory_bytes = 9 * GB
    gpu.spend(gauge, 1.0, busy=1.0)
    gpu.memory_bytes = 3 * GB
    gpu.spend(gauge, 3.0, busy=0.5)
    fields = gauge.take_fields()
    assert fields == {"gpu_memory_bytes": 9 * GB, "gpu_memory_total_bytes": 24 * GB, "gpu_utilisation": 0.625}
    gpu.spend(gauge, 1.0, busy=0.0)
    assert gauge.take_fields() == {
        "gpu_memory_bytes": 3 * GB,
        "gpu_memory_total_bytes": 24 * GB,
        "gpu_utilisation": 0.0,
    }


def test_a_gpu_that_tells_no_utilisation_still_tells_its_memory(gpu: Gpu, gauge: Gauge) -> None:
    gpu.tells_busy = False
    with gauge.share() as share:
        gpu.spend(gauge, 3.0, busy=1.0)
    assert share.timings() == {}
    assert gauge.take_fields() == {"gpu_memory_bytes": 2 * GB, "gpu_memory_total_bytes": 24 * GB}


def test_a_gpu_that_cannot_be_read_costs_the_figures_and_nothing_else(gpu: Gpu, gauge: Gauge) -> None:
    gpu.is_lost = True
    with gauge.share() as share:
        gpu.spend(gauge, 3.0, busy=1.0)
    assert (share.timings(), gauge.take_fields()) == ({}, {})


def test_without_a_gpu_nothing_is_told() -> None:
    gauge = gauge_of("cpu").start()
    with gauge.share() as share:
        gauge.look()
    assert (share.timings(), gauge.take_fields(), gauge.has_gpu) == ({}, {}, False)


def test_a_started_gauge_looks_by_itself(gpu: Gpu) -> None:
    gauge = Gauge(gpu.read, every_s=0.01).start()
    until(lambda: gpu.looks > 2)
    gauge.close()


class Nvml:
    """nvidia-ml-py with one GPU, which may be a MIG slice."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, is_slice: bool) -> None:
        self._is_slice = is_slice

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> object:  # noqa: N802 - NVML's name
        return type("Memory", (), {"used": 5 * GB, "free": 11 * GB, "total": 16 * GB})

    def nvmlDeviceGetUtilizationRates(self, handle: str) -> object:  # noqa: N802
        if self._is_slice:
            raise self.NVMLError("Not Supported")
        return type("Rates", (), {"gpu": 87, "memory": 40})


@pytest.mark.parametrize(("is_slice", "utilisation"), [(False, 0.87), (True, None)])
def test_nvml_is_read_as_shares_and_bytes(is_slice: bool, utilisation: float | None) -> None:
    reading = reader(Nvml(is_slice=is_slice), "handle")()
    assert reading == Reading(memory_bytes=5 * GB, memory_total_bytes=16 * GB, utilisation=utilisation)
