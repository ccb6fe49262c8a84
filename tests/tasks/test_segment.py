"""What may be asked of `segment`, and what is said about the rest."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from gpupipe.tasks import TASKS, options_class
from gpupipe.tasks.coco_names import RELATED, coco_names, match_category
from gpupipe.tasks.segment import SegmentOptions


def plural_of(name: str) -> str:
    irregular = {"person": "people", "mouse": "mice", "knife": "knives", "skis": "skis", "scissors": "scissors"}
    if name in irregular:
        return irregular[name]
    if name.endswith(("s", "sh", "ch", "x")):
        return name + "es"
    return name[:-1] + "ies" if name.endswith("y") and name[-2] not in "aeiou" else name + "s"


def test_there_are_eighty_distinct_names() -> None:
    assert len(set(coco_names())) == 80
    assert coco_names()[0] == "person"
    assert coco_names()[79] == "toothbrush"


@pytest.mark.parametrize("name", coco_names())
def test_every_name_is_known_in_any_spelling(name: str) -> None:
    for spelling in (name, name.upper(), name.title(), f"  {name} ", name.replace(" ", "_"), name.replace(" ", "-")):
        assert match_category(spelling) == name
    assert match_category(plural_of(name)) == name


def test_the_singular_of_a_plural_name_is_known() -> None:
    assert match_category("ski") == "skis"
    assert match_category("Scissor") == "scissors"


@pytest.mark.parametrize(("word", "near"), [("hors", "near: horse"), ("Sofas", "couch"), ("phone", "cell phone")])
def test_an_unknown_prompt_names_near_ones(word: str, near: str) -> None:
    with pytest.raises(ValueError, match="does not know") as caught:
        match_category(word)
    assert near in str(caught.value)


@pytest.mark.parametrize("word", ["tree", "Trees", "oak crown", "tree_crowns", "weeds", "vineyard", "grass"])
def test_a_prompt_for_plants_is_told_that_two_engines_find_them(word: str) -> None:
    with pytest.raises(ValueError, match="does not know") as caught:
        match_category(word)
    assert 'engine "vegetation" finds green plants' in str(caught.value)
    assert 'engine "sam3" finds whatever a prompt names' in str(caught.value)
    assert "near:" not in str(caught.value)


@pytest.mark.parametrize("word", ["solar panel", "roof", "lamp", "fence", "wheel", "pool"])
def test_any_other_prompt_is_told_that_sam3_finds_it(word: str) -> None:
    with pytest.raises(ValueError, match="does not know") as caught:
        match_category(word)
    told = str(caught.value)
    assert 'engine "sam3" finds whatever a prompt names (with weights under [pipelines.<name>.model])' in told
    assert "vegetation" not in told
    assert "near:" not in told


def test_a_prompt_for_rooms_is_told_of_the_task_for_them() -> None:
    with pytest.raises(ValueError, match='task "detect-rooms" finds the rooms of floor plans'):
        match_category("Bedrooms")


def test_an_unknown_prompt_without_near_ones_gives_examples() -> None:
    with pytest.raises(ValueError, match="such as person"):
        match_category("qqqq")


def test_related_words_lead_to_known_names_and_are_none_themselves() -> None:
    assert set(RELATED.values()) <= set(coco_names())
    assert not set(RELATED) & set(coco_names())


@given(st.text(max_size=40))
def test_any_text_is_a_category_or_a_clear_refusal(prompt: str) -> None:
    try:
        answer = match_category(prompt)
    except ValueError as error:
        answer = str(error)
    assert answer in coco_names() or "engine nanodet does not know" in answer


def test_prompts_become_canonical_and_distinct() -> None:
    assert SegmentOptions(prompts=("Cars", "car", "people")).prompts == ("car", "person")


def test_options_are_plain_json_and_read_back_equal() -> None:
    options = SegmentOptions(prompts=("dogs",), masks="stack")
    assert SegmentOptions.model_validate(options.model_dump(mode="json")) == options


def test_unknown_fields_are_refused() -> None:
    with pytest.raises(ValidationError):
        SegmentOptions.model_validate({"prompt": "dog"})


def test_the_table_of_tasks_leads_to_options_with_suffixes_estimate_and_notice() -> None:
    for task in TASKS:
        options = options_class(task)()
        assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in options.input_suffixes)
        assert options.seconds_per_item() > 0
    assert "80" in SegmentOptions().notice()


@pytest.mark.parametrize(
    ("options", "name", "megabytes", "weight"),
    [
        ({}, "photo.jpg", 9, 1),
        ({}, "map.TIF", 1, 1),
        ({}, "map.tif", 2_000, 980),
        ({"tile_size": 504}, "map.tif", 2_000, 3_900),
        ({"tile_size": 1008}, "photo.jpg", 9, 22),
        ({"tile_size": "whole"}, "map.tif", 2_000, 1),
    ],
)
def test_a_large_image_is_many_items_work(options: dict[str, Any], name: str, megabytes: int, weight: int) -> None:
    assert SegmentOptions(**options).weight(name, megabytes * 10**6) == pytest.approx(weight, rel=0.02)
