"""Options as the worker reads them: the defaults of the person's side, and nothing that it does not know."""

from __future__ import annotations

from gpupipe.tasks.segment import SegmentOptions
from gpuworker.engines.options import Options


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


def test_engines_look_down_to_the_lowest_threshold_of_any_prompt() -> None:
    assert Options(score_threshold=0.4).lowest_threshold == 0.4
    assert Options(score_threshold=0.4, prompt_thresholds={"car": 0.2, "tree": 0.9}).lowest_threshold == 0.2
    assert Options(score_threshold=0.4, prompt_thresholds={"tree": 0.9}).lowest_threshold == 0.4


def test_every_option_that_a_person_may_give_is_read_back_as_it_was_given() -> None:
    given = {
        "engine": "sam3",
        "prompts": ["oak crown", "car"],
        "negative_prompts": ["shadow"],
        "prompt_thresholds": {"car": 0.2, "shadow": 0.6},
        "tile_size": 1536,
        "bands": [4, 3, 2],
        "stretch": "minmax",
        "stretch_percent": [1.0, 99.0],
    }
    sent = SegmentOptions.model_validate(given).model_dump(mode="json")
    assert sent == SegmentOptions().model_dump(mode="json") | given
    options = Options.of(sent)
    assert options.as_plain() == sent
    assert (options.tile_size, options.bands, options.threshold_of("shadow")) == (1536, (4, 3, 2), 0.6)
