"""What may be asked of `detect-rooms`, and that both sides of it agree."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from gpupipe.tasks import options_class
from gpupipe.tasks.detect_rooms import DetectRoomsOptions
from gpuworker.tasks.detect_rooms.options import Options


def test_the_worker_has_the_same_options_and_defaults() -> None:
    assert Options.of({}).as_plain() == DetectRoomsOptions().model_dump(mode="json")


def test_what_a_job_carries_is_what_the_worker_reads() -> None:
    asked = DetectRoomsOptions(min_area=5_000, labels="off", epsilon_factor=0.02)
    read = Options.of(asked.model_dump(mode="json"))
    assert (read.min_area, read.labels, read.epsilon_factor) == (5_000, "off", 0.02)


def test_it_is_in_the_table() -> None:
    assert options_class("detect-rooms") is DetectRoomsOptions


@pytest.mark.parametrize(
    "wrong",
    [
        {"min_area": 0},
        {"labels": "maybe"},
        {"polarity": "blue"},
        {"max_area_share": 1.5},
        {"prompts": ["x"]},
        {"min_area": 2e6},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        DetectRoomsOptions.model_validate(wrong)


def test_smallest_and_largest_area_are_named_when_they_cross() -> None:
    with pytest.raises(ValidationError, match=r"min_area \(2000\) is more than max_area \(1500\)"):
        DetectRoomsOptions(min_area=2000, max_area=1500)


def test_a_plan_whose_text_is_read_takes_longer() -> None:
    seconds = {labels: DetectRoomsOptions(labels=labels).seconds_per_item() for labels in ("auto", "on", "off")}
    assert seconds["on"] > 1.0 > seconds["auto"] == seconds["off"]
