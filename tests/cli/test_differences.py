"""A change is told by what differs, however long the values are and however much of them is the same."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpupipe.cli.differences import DIFFERENT_MAX, difference_lines


def lines(old: Any, new: Any, name: str = "environment") -> list[str]:
    return list(difference_lines(name, old, new))


def settings(**changed: Any) -> dict[str, str]:
    """The environment of a function: one long document."""
    told = {"stack": "demo-dev", "pipeline": "segment", "bucket": "b" * 60, "quiet_seconds": 60.0}
    return {
        "GPUPIPE_FUNCTION": json.dumps({**told, "task_options": {"prompts": ["car"], "masks": "labels"}, **changed})
    }


def test_of_a_changed_environment_the_one_setting_is_shown() -> None:
    assert lines(settings(), settings(quiet_seconds=90.0)) == [
        "environment.GPUPIPE_FUNCTION.quiet_seconds: 60.0 -> 90.0"
    ]


def test_every_setting_that_changed_has_a_line_with_its_whole_place() -> None:
    changed = settings(task_options={"prompts": ["car", "bus"], "masks": "labels"}, max_receives=5)
    assert lines(settings(), changed) == [
        "environment.GPUPIPE_FUNCTION.task_options.prompts: ['car'] -> ['car', 'bus']",
        "environment.GPUPIPE_FUNCTION.max_receives: nothing -> 5",
    ]


def test_a_variable_that_came_or_went_is_shown() -> None:
    assert lines({"A": "1", "B": "2"}, {"B": "2", "C": "3"}) == [
        "environment.A: 1 -> nothing",
        "environment.C: nothing -> 3",
    ]


def test_of_a_table_that_came_or_went_each_value_has_a_line_and_is_whole() -> None:
    prompts = [f"a tree of kind {number}" for number in range(9)]
    field = {"prompts": prompts, "score_threshold": 0.25}
    place = "environment.GPUPIPE_FUNCTION.dropin_options.field*"
    with_field = settings(dropin_options={"field*": field, "yard": {}})
    assert lines(settings(), with_field) == [
        f"{place}.prompts: nothing -> {_cut(prompts)}",
        f"{place}.score_threshold: nothing -> 0.25",
        "environment.GPUPIPE_FUNCTION.dropin_options.yard: nothing -> {}",
    ]
    assert lines(with_field, settings(dropin_options={"yard": {}})) == [
        f"{place}.prompts: {_cut(prompts)} -> nothing",
        f"{place}.score_threshold: 0.25 -> nothing",
    ]


def _cut(value: Any) -> str:
    """What has room in four lines."""
    text = str(value)
    return text if len(text) <= DIFFERENT_MAX else f"{text[:DIFFERENT_MAX]}…"


def test_settings_within_cloud_inits_document_within_a_text_are_found() -> None:
    def user_data(hours: float) -> str:
        worker = json.dumps({"stack": "demo-dev" * 9, "max_processing_hours": hours})
        return "#cloud-config\n" + json.dumps(
            {"write_files": [{"path": "/etc/gpupipe/worker.json", "content": worker}]}
        )

    assert lines(user_data(4.0), user_data(6.0), "user_data") == [
        "user_data.write_files.content.max_processing_hours: 4.0 -> 6.0"
    ]


def test_of_a_policy_the_statement_that_changed_is_shown() -> None:
    def statements(*actions: str) -> list[dict[str, Any]]:
        return [{"Effect": "Allow", "Action": one, "Resource": "arn:aws:s3:::" + "x" * 50} for one in actions]

    told = lines(
        {"Statement": statements("s3:Get", "s3:Put")}, {"Statement": statements("s3:Get", "s3:List")}, "policy"
    )
    assert told == ["policy.Statement.Action: s3:Put -> s3:List"]
    (added,) = lines({"Statement": statements("s3:Get")}, {"Statement": statements("s3:Get", "s3:Put")}, "policy")
    assert added.startswith("policy.Statement: nothing -> {'Effect': 'Allow', 'Action': 's3:Put'")


def test_of_long_texts_the_place_where_they_part_is_shown() -> None:
    assert lines("a" * 100 + "one" + "z" * 100, "a" * 100 + "two" + "z" * 100, "image") == [
        f"image: …{'a' * 12}one{'z' * 12}… -> …{'a' * 12}two{'z' * 12}…"
    ]


@pytest.mark.parametrize(
    ("old", "new"), [("1", 1), (None, "None"), ('{"a": 1}', '{"a":1}'), ([1, 2] * 30, [2, 1] * 30)]
)
def test_what_differs_in_form_alone_still_has_a_line(old: Any, new: Any) -> None:
    assert len(lines(old, new)) == 1


def test_a_long_list_that_is_the_same_has_no_line() -> None:
    assert lines([1, {"a": "b" * 60}], [1, {"a": "b" * 60}]) == []


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES, _VALUES)
def test_whatever_differs_has_a_line_and_what_does_not_has_none(old: Any, new: Any) -> None:
    assert bool(lines(old, new)) == (old != new or type(old) is not type(new))


@given(
    st.text("ab", max_size=90),
    st.text("xy", min_size=1, max_size=9),
    st.text("xy", max_size=9),
    st.text("cd", max_size=90),
)
def test_a_difference_in_the_middle_of_long_texts_is_whole(head: str, old: str, new: str, tail: str) -> None:
    for line in lines(head + old + tail, head + new + tail):
        before, after = line.removeprefix("environment: ").split(" -> ")
        assert before.strip("…") in head + old + tail
        assert before != after
        assert len(before) < DIFFERENT_MAX + 30
