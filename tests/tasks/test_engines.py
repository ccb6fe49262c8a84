"""What each engine may be asked, as far as it is known before anything is uploaded."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpupipe.errors import InputError, UsageError
from gpupipe.tasks import Place
from gpupipe.tasks.coco_names import match_category
from gpupipe.tasks.engines import ENGINES, PROMPT_CHARACTERS_MAX, EngineName, fallback
from gpupipe.tasks.segment import SegmentOptions
from gpuworker.contract import ModelSource
from gpuworker.engines import ENGINES as WORKERS
from gpuworker.engines.auto import choose
from gpuworker.engines.options import Options

BARE = Place(pipeline="trees")
ARMED = Place(pipeline="trees", weights="facebook/sam3")


def refused(**options: object) -> str:
    with pytest.raises(ValidationError) as caught:
        SegmentOptions.model_validate(options)
    return caught.value.errors()[0]["msg"]


def test_every_engine_that_may_be_named_is_described_and_known_to_the_worker() -> None:
    assert set(get_args(EngineName)) == set(ENGINES)
    assert set(ENGINES) - {"auto"} == set(WORKERS)
    for name in ENGINES:
        assert SegmentOptions.model_validate({"engine": name}).seconds_per_item() > 0


@pytest.mark.parametrize("engine", ["sam3", "vegetation", "auto"])
def test_other_engines_take_any_short_phrase(engine: str) -> None:
    options = SegmentOptions.model_validate({"engine": engine, "prompts": ["  Oak   tree crown "]})
    assert options.prompts == ("Oak tree crown",)


def test_a_prompt_counts_once_however_it_is_spelled() -> None:
    assert SegmentOptions(engine="sam3", prompts=("Tree", "tree", " TREE")).prompts == ("Tree",)


def test_auto_calls_what_nanodet_knows_by_its_name_for_it() -> None:
    """Either engine that it may choose understands that."""
    assert SegmentOptions(engine="auto", prompts=("Cars", "oak crown")).prompts == ("car", "oak crown")


@pytest.mark.parametrize("prompt", ["", "   ", "x" * (PROMPT_CHARACTERS_MAX + 1), "bell\a"])
def test_a_prompt_that_says_nothing_or_too_much_is_refused(prompt: str) -> None:
    assert "prompt" in refused(engine="sam3", prompts=[prompt])


@given(st.text(max_size=200))
def test_any_text_is_a_prompt_of_sam3_or_a_clear_refusal(prompt: str) -> None:
    try:
        answer = SegmentOptions(engine="sam3", prompts=(prompt,)).prompts[0]
    except ValidationError as error:
        answer = error.errors()[0]["msg"]
    assert answer == " ".join(prompt.split()) or "prompt" in answer


def test_vegetation_takes_one_name_and_nothing_to_avoid() -> None:
    assert SegmentOptions(engine="vegetation", prompts=("weed",)).prompts == ("weed",)
    assert "takes 1 prompt" in refused(engine="vegetation", prompts=["weed", "crop"])
    assert "takes no negative prompts" in refused(engine="vegetation", negative_prompts=["crop"])


@pytest.mark.parametrize("prompt", ["car", "People", "traffic lights", "dog"])
def test_vegetation_that_is_asked_for_what_is_no_plant_says_what_it_finds_and_who_finds_that(prompt: str) -> None:
    told = SegmentOptions(engine="vegetation", prompts=(prompt,)).notice(BARE)
    category = match_category(prompt)
    assert f'What it finds is called {category!r} here, and is plants; engine "nanodet" knows {category!r}' in told


def test_vegetation_that_is_asked_for_rooms_says_which_task_finds_them() -> None:
    told = SegmentOptions(engine="vegetation", prompts=("rooms",)).notice(BARE)
    assert "is called 'rooms' here, and is plants; task \"detect-rooms\" finds the rooms of floor plans" in told


@pytest.mark.parametrize("prompt", ["maize", "Vitis vinifera", "carrots", "potted plant", "apple tree", "7"])
def test_vegetation_takes_any_name_that_plants_may_have(prompt: str) -> None:
    options = SegmentOptions(engine="vegetation", prompts=(prompt,))
    assert options.prompts == (prompt,)
    assert options.notice(BARE) == SegmentOptions(engine="vegetation").notice(BARE)


def test_a_prompt_cannot_be_wanted_and_unwanted() -> None:
    assert "'tree' is a prompt and a negative prompt" in refused(
        engine="sam3", prompts=["Tree"], negative_prompts=["tree"]
    )


def test_thresholds_belong_to_prompts() -> None:
    options = SegmentOptions(prompts=("cars",), negative_prompts=("bus",), prompt_thresholds={"Car": 0.2, "buses": 0.9})
    assert options.prompt_thresholds == {"car": 0.2, "bus": 0.9}
    assert "'tree' is no prompt; the prompts are car" in refused(
        engine="sam3", prompts=["car"], prompt_thresholds={"tree": 0.3}
    )
    # and where prompts come with the jobs, or all is looked for, any that the engine knows may have one
    assert SegmentOptions(prompt_thresholds={"Cars": 0.3}).prompt_thresholds == {"car": 0.3}
    assert "does not know" in refused(prompt_thresholds={"tree": 0.3})


def test_bands_and_percentiles_make_a_picture() -> None:
    assert SegmentOptions(bands=(4,)).bands == (4,)
    assert SegmentOptions(bands=(4, 3, 2)).bands == (4, 3, 2)
    assert "2 bands make no picture" in refused(bands=[1, 2])
    assert "0 <= black < white <= 100" in refused(stretch_percent=[98, 2])


# --- a job at a place ---


def test_sam3_needs_weights_where_the_job_is_for() -> None:
    options = SegmentOptions(engine="sam3", prompts=("tree",))
    assert options.at_place(ARMED) == options
    with pytest.raises(UsageError, match="engine sam3 needs weights, and pipeline trees names none") as caught:
        options.at_place(BARE)
    assert "[pipelines.trees.model]" in caught.value.hint
    assert 'or choose another engine: engine "vegetation" finds green plants by their colour.' in caught.value.hint
    assert caught.value.exit_code == 2


def test_without_weights_the_engine_that_knows_a_prompt_too_is_named() -> None:
    with pytest.raises(UsageError) as caught:
        SegmentOptions(engine="sam3", prompts=("Cars",)).at_place(BARE)
    assert "or choose another engine: engine \"nanodet\" knows 'car'." in caught.value.hint
    with pytest.raises(UsageError) as caught:
        SegmentOptions(engine="sam3", prompts=("solar panel",)).at_place(BARE)
    assert caught.value.hint.endswith("or choose another engine.")


def test_what_is_unwanted_needs_something_wanted() -> None:
    with pytest.raises(UsageError, match=r"negative prompts \(shadow\) take away from what prompts find"):
        SegmentOptions(engine="sam3", negative_prompts=("shadow",)).at_place(ARMED)


def test_auto_that_can_only_be_nanodet_is_held_to_what_that_knows() -> None:
    options = SegmentOptions(engine="auto", prompts=("oak crown",))
    assert options.at_place(ARMED) == options
    with pytest.raises(InputError, match=r"engine auto is nanodet here, because no weights of sam3 are named; .*oak"):
        options.at_place(BARE)


def test_notices_say_which_engine_it_will_be_and_why() -> None:
    auto = SegmentOptions(engine="auto", prompts=("car",))
    assert "nanodet here, because no weights of sam3 are named. Engine nanodet" in auto.notice(BARE)
    assert "sam3 on a machine with a GPU and nanodet on one without" in auto.notice(ARMED)
    assert "or else on the CPU" in auto.notice(Place(pipeline="p", weights="a/b", on_cpu=True))
    assert "the engine that made it" in auto.notice()
    told = auto.notice(made_by=("nanodet: there is no GPU", "sam3: there is a GPU"))
    assert told.startswith("Engine auto was nanodet, because there is no GPU. Engine nanodet is a small detector")
    assert told.endswith("Engine auto was sam3, because there is a GPU.")
    assert SegmentOptions(engine="sam3").notice(ARMED) == ""
    assert "by colour alone" in SegmentOptions(engine="vegetation").notice(BARE)


@pytest.mark.parametrize("weights", ["", "facebook/sam3"])
@pytest.mark.parametrize("prompts", [(), ("car",)])
@pytest.mark.parametrize("on_cpu", [False, True])
def test_what_is_foretold_of_auto_is_what_the_worker_chooses(
    weights: str, prompts: tuple[str, ...], on_cpu: bool
) -> None:
    source = ModelSource(weights=weights, on_cpu=on_cpu)
    chosen = {device: choose(Options(prompts=prompts), device=device, model=source) for device in ("cpu", "cuda")}
    why = fallback(weights=weights, has_prompts=bool(prompts))
    if why:
        assert {one.engine for one in chosen.values()} == {"nanodet"}
        assert all(one.reason.startswith(why) for one in chosen.values())
    else:
        assert chosen["cuda"].engine == "sam3"
        assert chosen["cpu"].engine == ("sam3" if on_cpu else "nanodet")


def test_boxes_are_read_where_an_engine_may_look_at_them() -> None:
    reads = {
        (name, place.weights): SegmentOptions.model_validate({"engine": name, "prompts": ["car"]}).reads_sidecars(place)
        for name in ENGINES
        for place in (BARE, ARMED)
    }
    assert {key for key, does in reads.items() if does} == {
        ("sam3", ""),
        ("sam3", ARMED.weights),
        ("auto", ARMED.weights),
    }
    assert not SegmentOptions(engine="auto").reads_sidecars(ARMED)


def test_sam3_alone_needs_an_aim() -> None:
    example = {"boxes": [{"is_positive": True}]}
    assert all(SegmentOptions.model_validate({"engine": name}).has_aim({}) for name in ENGINES if name != "sam3")
    assert SegmentOptions(engine="sam3", prompts=("tree",)).has_aim({})
    assert SegmentOptions(engine="sam3").has_aim(example)
    assert not SegmentOptions(engine="sam3").has_aim({})
    assert not SegmentOptions(engine="sam3").has_aim({"boxes": [{"is_positive": False}]})
