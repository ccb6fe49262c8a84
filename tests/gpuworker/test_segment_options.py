"""Options as the worker reads them: the defaults of the person's side, and nothing that it does not know."""

from __future__ import annotations

from gpupipe.tasks.segment import SegmentOptions
from gpuworker.segment_options import Options


def test_both_sides_have_the_same_options_and_defaults() -> None:
    assert Options().as_plain() == SegmentOptions().model_dump(mode="json")


def test_what_a_job_carries_is_read_back() -> None:
    sent = SegmentOptions(prompts=("cups", "People"), masks="stack", score_threshold=0.25).model_dump(mode="json")
    options = Options.of(sent)
    assert options.prompts == ("cup", "person")
    assert (options.masks, options.score_threshold) == ("stack", 0.25)
    assert options.as_plain() == sent


def test_unknown_and_empty_options_are_left_alone() -> None:
    assert Options.of({"of_another_task": 1, "nms_iou": None}) == Options()
