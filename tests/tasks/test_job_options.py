"""`--prompt` and `--option key=value` over a pipeline's options."""

from __future__ import annotations

import pytest

from gpupipe.errors import InputError, UsageError
from gpupipe.tasks import Place, TaskOptions
from gpupipe.tasks.job_options import job_options
from gpupipe.tasks.segment import SegmentOptions

PLACE = Place(pipeline="segment")
DEFAULTS = SegmentOptions(prompts=("car",), score_threshold=0.3)


def test_nothing_asked_gives_the_pipelines_options() -> None:
    assert job_options(DEFAULTS, PLACE) == DEFAULTS


def test_prompts_replace_those_of_the_pipeline() -> None:
    assert job_options(DEFAULTS, PLACE, prompts=["Dogs", "cat"]).model_dump()["prompts"] == ("dog", "cat")


@pytest.mark.parametrize(
    ("assignment", "key", "value"),
    [
        ("score_threshold=0.55", "score_threshold", 0.55),
        ("score-threshold= 0.55 ", "score_threshold", 0.55),
        ("max_instances=7", "max_instances", 7),
        ("overlays=false", "overlays", False),
        ("overlays=no", "overlays", False),
        ("masks=stack", "masks", "stack"),
        ("prompts=dogs, Cats ,", "prompts", ("dog", "cat")),
        ("prompts=", "prompts", ()),
        ("tile_size=1008", "tile_size", 1008),
        ("tile_size= whole", "tile_size", "whole"),
        ("tile-size=auto", "tile_size", "auto"),
        ("bands=4,3,2", "bands", (4, 3, 2)),
        ("stretch_percent=1,99.5", "stretch_percent", (1.0, 99.5)),
        ("prompt_thresholds=car:0.3", "prompt_thresholds", {"car": 0.3}),
        ("prompt_thresholds= Cars : 0.3 ,", "prompt_thresholds", {"car": 0.3}),
        ("prompt_thresholds=", "prompt_thresholds", {}),
        ("negative_prompts=bus", "negative_prompts", ("bus",)),
        ("engine=auto", "engine", "auto"),
    ],
)
def test_values_are_typed_by_their_option(assignment: str, key: str, value: object) -> None:
    assert getattr(job_options(DEFAULTS, PLACE, assignments=[assignment]), key) == value


def test_the_last_of_a_key_counts_and_the_rest_stays() -> None:
    options = job_options(DEFAULTS, PLACE, assignments=["masks=none", "masks=stack"])
    assert (options.model_dump()["masks"], options.model_dump()["prompts"]) == ("stack", ("car",))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("score_treshold=1", "Did you mean score_threshold"),
        ("colour=red", "There are: engine, prompts"),
        ("masks", "Write --option KEY=VALUE"),
        ("masks=lots", "--option masks=lots: input should be 'labels', 'stack' or 'none'"),
        ("score_threshold=1.5", "less than or equal to 1"),
        ("max_instances=many", "valid integer"),
        ("overlays=perhaps", "valid boolean"),
        ("tile_size=12", '--option tile_size=12: must be a whole number of pixels from 64, "auto" or "whole"'),
        ("tile_size=half", '--option tile_size=half: must be a whole number of pixels from 64, "auto" or "whole"'),
        ("bands=1,2", "--option bands=1,2: 2 bands make no picture"),
        ("bands=red", "valid integer"),
        ("stretch_percent=2", "--option stretch_percent=2: "),
        ("prompt_thresholds=car", "write --option prompt_thresholds=NAME:VALUE,NAME:VALUE"),
        ("prompt_thresholds=:0.3", "no pair of name and value"),
        ("prompt_thresholds=car:high", "--option prompt_thresholds=car:high: input should be a valid number"),
        ("prompt_thresholds=car:2", "less than or equal to 1"),
        ("prompt_thresholds=bus:0.3", "'bus' is no prompt; the prompts are car"),
        ("engine=sam4", "input should be 'auto', 'nanodet', 'sam3' or 'vegetation'"),
        ("engine=sam3", "[pipelines.segment.model]"),
    ],
)
def test_mistakes_are_told_with_what_would_be_right(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        job_options(DEFAULTS, PLACE, assignments=[assignment])
    assert message.lower() in f"{caught.value} {caught.value.hint}".lower()
    assert caught.value.exit_code == 2


def test_an_unknown_prompt_is_an_input_error_with_near_names() -> None:
    with pytest.raises(InputError, match=r"does not know 'sofas'.*near: couch"):
        job_options(DEFAULTS, PLACE, prompts=["sofas"])


def test_a_task_without_prompts_says_so() -> None:
    with pytest.raises(UsageError, match="takes no prompts"):
        job_options(TaskOptions(), PLACE, prompts=["dog"])


def test_a_task_without_negative_prompts_says_so() -> None:
    with pytest.raises(UsageError, match="takes no negative prompts") as caught:
        job_options(TaskOptions(), PLACE, negative_prompts=["dog"])
    assert "--negative-prompt" in caught.value.hint


def test_negative_prompts_and_thresholds_come_with_the_job() -> None:
    options = job_options(
        DEFAULTS, PLACE, negative_prompts=["Buses"], assignments=["prompt_thresholds=car:0.2,bus:0.5"]
    ).model_dump()
    assert (options["prompts"], options["negative_prompts"]) == (("car",), ("bus",))
    assert options["prompt_thresholds"] == {"car": 0.2, "bus": 0.5}


def test_new_prompts_take_what_the_pipeline_says_of_the_old_with_them() -> None:
    defaults = SegmentOptions(
        prompts=("car", "dog"), negative_prompts=("bus", "cat"), prompt_thresholds={"car": 0.1, "dog": 0.2, "bus": 0.3}
    )
    options = job_options(defaults, PLACE, prompts=["dogs", "cats"]).model_dump()
    assert options["prompts"] == ("dog", "cat")
    assert options["negative_prompts"] == ("bus",)
    assert options["prompt_thresholds"] == {"dog": 0.2, "bus": 0.3}


def test_an_engine_that_does_not_suit_the_pipelines_prompts_tells_whose_they_are() -> None:
    defaults = SegmentOptions(engine="vegetation", prompts=("weed",))
    with pytest.raises(InputError, match="nanodet does not know 'weed'") as caught:
        job_options(defaults, PLACE, assignments=["engine=nanodet"])
    assert "those of gpupipe.toml" in caught.value.hint
    assert job_options(defaults, PLACE, assignments=["engine=nanodet", "prompts="]).model_dump()["prompts"] == ()
