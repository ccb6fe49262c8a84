"""Examples beside an image: what is read, and how mistakes are told."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupipe.tasks.boxes import BOXES_MAX, has_example, read_boxes
from gpuworker.images.decoding import BoxPrompt

_lengths = st.floats(0.001, 1e6, allow_nan=False)
_boxes = st.tuples(st.floats(0, 1e6), st.floats(0, 1e6), _lengths, _lengths)


def read(*boxes: Any, prompts: tuple[str, ...] = ("tree", "Car")) -> Any:
    return read_boxes(json.dumps({"boxes": boxes}).encode(), prompts)


def test_a_box_is_an_example_that_goes_with_all_prompts() -> None:
    told = read({"box": [1, 2.5, 30, 40]})
    assert told == {"boxes": [{"x": 1, "y": 2.5, "width": 30, "height": 40, "is_positive": True, "prompt": ""}]}


def test_prompts_are_spelled_as_the_job_spells_them() -> None:
    told = read({"box": [0, 0, 1, 1], "positive": False, "prompt": " car"}, {"box": [0, 0, 1, 1], "prompt": "TREE"})
    assert [(box["prompt"], box["is_positive"]) for box in told["boxes"]] == [("Car", False), ("tree", True)]


@given(st.lists(_boxes, max_size=5))
def test_what_is_read_is_what_the_worker_makes_boxes_of(boxes: list[tuple[float, float, float, float]]) -> None:
    told = read(*({"box": box} for box in boxes))
    made = [BoxPrompt(**box) for box in told.get("boxes", ())]
    assert [(box.x, box.y, box.width, box.height) for box in made] == boxes


def test_no_box_says_nothing() -> None:
    assert read() == {}


def test_what_a_windows_editor_puts_first_is_passed_over() -> None:
    assert read_boxes(b'\xef\xbb\xbf{"boxes": []}', ()) == {}


def test_only_a_positive_box_shows_what_to_look_for() -> None:
    assert has_example(read({"box": [0, 0, 1, 1]}))
    assert not has_example(read({"box": [0, 0, 1, 1], "positive": False}))
    assert not has_example({})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not JSON of the form"),
        ("[1, 2]", "not JSON of the form"),
        ('{"boxes": [', "not JSON of the form"),
        ('{"boxes": [{}]}', "boxes[0].box: is no list of four numbers"),
        ("{}", "boxes: is missing"),
        ('{"boxes": [], "labels": []}', "labels: is no field of it"),
        ('{"boxes": [{"box": [1, 2, 3]}]}', "boxes[0].box: is no list of four numbers"),
        ('{"boxes": [{"box": [1, 2, 3, 4, 5]}]}', "boxes[0].box: is no list of four numbers"),
        ('{"boxes": [{"box": "1 2 3 4"}]}', "boxes[0].box: is no list of four numbers"),
        (
            '{"boxes": [{"box": [1, 2, 3, 4]}, {"box": [1, 2, 0, 4]}]}',
            "boxes[1].box[2]: input should be greater than 0",
        ),
        ('{"boxes": [{"box": [-1, 2, 3, 4]}]}', "boxes[0].box[0]: input should be greater than or equal to 0"),
        ('{"boxes": [{"box": [1, 2, "3", 4]}]}', "boxes[0].box[2]: input should be a valid number"),
        ('{"boxes": [{"box": [1, 2, 1e999, 4]}]}', "boxes[0].box[2]: input should be a finite number"),
        ('{"boxes": [{"box": [1, 2, 3, 4], "positive": 1}]}', "boxes[0].positive: input should be a valid boolean"),
        ('{"boxes": [{"box": [1, 2, 3, 4], "label": "x"}]}', "boxes[0].label: is no field of it"),
        ('{"boxes": [{"box": [1, 2, 3, 4], "prompt": "bus"}]}', "none of the job's prompts; they are tree, Car"),
    ],
)
def test_mistakes_name_the_field(text: str, told: str) -> None:
    with pytest.raises(ValueError) as caught:
        read_boxes(text.encode(), ("tree", "Car"))
    assert told in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_too_many_are_refused() -> None:
    with pytest.raises(ValueError, match=f"more than the {BOXES_MAX} boxes"):
        read(*[{"box": [0, 0, 1, 1]}] * (BOXES_MAX + 1))


def test_a_prompt_in_a_job_without_any_is_told() -> None:
    with pytest.raises(ValueError, match="none of the job's prompts; it has none"):
        read({"box": [0, 0, 1, 1], "prompt": "tree"}, prompts=())
