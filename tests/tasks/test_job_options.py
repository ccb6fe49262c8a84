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
    ],
)
def test_mistakes_are_told_with_what_would_be_right(assignment: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        job_options(DEFAULTS, PLACE, assignments=[assignment])
    assert message in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_unknown_prompt_is_an_input_error_with_near_names() -> None:
    with pytest.raises(InputError, match=r"does not know 'sofas'.*near: couch"):
        job_options(DEFAULTS, PLACE, prompts=["sofas"])


def test_a_task_without_prompts_says_so() -> None:
    with pytest.raises(UsageError, match="takes no prompts"):
        job_options(TaskOptions(), PLACE, prompts=["dog"])
