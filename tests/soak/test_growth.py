"""What counts as growth, and what a process is."""

from __future__ import annotations

from tests.soak.growth import Sample, growths, role


def test_what_is_loaded_before_the_beginning_does_not_count() -> None:
    samples = [
        Sample(images=1000, mb={"worker 1": 50.0}),
        Sample(images=2000, mb={"worker 1": 300.0}),
        Sample(images=3000, mb={"worker 1": 320.0}),
    ]
    assert growths(samples, begin=2000) == {"worker 1": 20.0}


def test_the_largest_counts_and_a_process_begins_when_it_does() -> None:
    samples = [
        Sample(images=2000, mb={"moto 1": 100.0}),
        Sample(images=3000, mb={"moto 1": 180.0, "moto 2": 90.0}),
        Sample(images=4000, mb={"moto 1": 110.0, "moto 2": 95.0}),
    ]
    assert growths(samples, begin=2000) == {"moto 1": 80.0, "moto 2": 5.0}


def test_a_process_is_called_by_what_it_does() -> None:
    assert role("python -m gpupipe.local.emulator ministack --fd 8 --state /x") == "ministack"
    assert role("python /x/ministack/tmp/ministack-lambda-growth-dev-segment-guard-te8feds4/_worker.py") == "guard"
    assert role("python -m gpuworker.entries.poll") == "worker"
    assert role("/usr/bin/other") == "other"
