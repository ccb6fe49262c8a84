"""Values in documents: what they are written as, and what no document may hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpuworker.contract import (
    VALUE_BYTES,
    VALUE_DEPTH,
    ContractError,
    Failure,
    Item,
    ItemResult,
    Shard,
    ShardResult,
    content_of,
    mistake_in_name,
    read_result,
    read_shard,
)

JOB, PLACE = "20261121-113052-field7-1f3a", ("20261121-113052-field7-1f3a", 0, 0)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(), JSON_VALUES, max_size=4)


def a_shard(*values: dict[str, Any]) -> Shard:
    items = tuple(Item.inline(project="field7", name=f"v{n}", value=value) for n, value in enumerate(values))
    return Shard(job=JOB, pipeline="words", project="field7", number=0, task="upper", options={}, items=items)


def read(document: dict[str, Any]) -> Shard:
    return read_shard(json.dumps(document), place=PLACE, pipeline="words", project="field7")


@given(st.lists(OBJECTS, min_size=1, max_size=3))
def test_values_survive_their_shards_document(values: list[dict[str, Any]]) -> None:
    shard = a_shard(*values)
    assert read_shard(shard.to_json(), place=PLACE, pipeline="words", project="field7") == shard


def test_a_value_is_written_with_its_name_and_nothing_else() -> None:
    [item] = json.loads(a_shard({"prompt": "fox"}).to_json())["items"]
    assert item == {"name": "v0", "value": {"prompt": "fox"}}


@given(OBJECTS)
def test_equal_values_are_equal_bytes_in_whatever_order(value: dict[str, Any]) -> None:
    assert content_of(dict(reversed(value.items()))) == content_of(value)


def nested(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def test_a_value_of_the_largest_size_and_depth_is_one() -> None:
    frame = len(content_of({"prompt": ""}))
    assert len(content_of({"prompt": "ü" * ((VALUE_BYTES - frame) // 2)})) in (VALUE_BYTES, VALUE_BYTES - 1)
    assert read(json.loads(a_shard(nested(VALUE_DEPTH)).to_json())).items[0].value == nested(VALUE_DEPTH)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"prompt": "x" * VALUE_BYTES}, "65,549 bytes"),
        (nested(VALUE_DEPTH + 1), "deeper than 32"),
        ({"a": float("nan")}, "NaN"),
        ({"a": [float("inf")]}, "Infinity"),
        ({"a": "\ud800"}, "half a character"),
        ({"\udfff": 1}, "half a character"),
        (["prompt"], "not a JSON object"),
        ("fox", "not a JSON object"),
    ],
)
def test_what_is_no_value_is_refused_wherever_it_stands(value: Any, reason: str) -> None:
    document = json.loads(a_shard({"prompt": "fox"}).to_json())
    document["items"][0]["value"] = value
    with pytest.raises(ContractError, match=reason):
        read(document)


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda item: item.update(name="../x"),
        lambda item: item.update(name=""),
        lambda item: item.update(name=7),
        lambda item: item.update(name="\ud800"),
        lambda item: item.update(value=None),
        lambda item: item.update(key="values/field7/v0"),
        lambda item: item.update(etag="0"),
        lambda item: item.pop("name"),
    ],
    ids=["path", "empty", "number", "surrogate", "null", "key", "etag", "nameless"],
)
def test_an_item_that_is_not_just_a_name_and_a_value_is_refused(change: Change) -> None:
    document = json.loads(a_shard({"prompt": "fox"}).to_json())
    change(document["items"][0])
    with pytest.raises(ContractError):
        read(document)


def test_two_values_of_one_name_are_refused() -> None:
    document = json.loads(a_shard({}, {}).to_json())
    document["items"][1]["name"] = "v0"
    with pytest.raises(ContractError, match="two items"):
        read(document)


def test_a_document_of_more_values_than_a_shard_may_carry_is_refused() -> None:
    many = a_shard(*({"prompt": "x" * 60_000} for _ in range(100)))
    with pytest.raises(ContractError, match="has values and more than"):
        read(json.loads(many.to_json()))


def a_result(value: dict[str, Any] | None, key: str = "values/field7/a", etag: str = "") -> bytes:
    item = Item.inline(project="field7", name="a", value={"prompt": "fox"})
    about: dict[str, Any] = {"output": "a", "key": key, "etag": etag or item.etag, "value": value}
    failed = Item.inline(project="field7", name="b", value={})
    result = ShardResult(
        job=JOB,
        number=0,
        generation=0,
        machine="i-1",
        engine={},
        header={},
        started_at=1.0,
        finished_at=2.0,
        items=(ItemResult(**about, artifacts={}, fragment={}),),
        failures=(Failure.of(failed, code="unsuitable", message="no prompt"),),
    )
    return result.to_gzip()


def test_a_result_tells_of_the_value_that_its_key_and_checksum_say() -> None:
    result = read_result(a_result({"prompt": "fox"}), place=PLACE, project="field7")
    assert (result.items[0].value, result.failures[0].value) == ({"prompt": "fox"}, {})


@pytest.mark.parametrize(
    ("value", "key", "etag"),
    [
        ({"prompt": "owl"}, "values/field7/a", ""),
        (None, "values/field7/a", ""),
        ({"prompt": "fox"}, "inputs/field7/a.jpg", ""),
        ({"prompt": "fox"}, "values/other/a", ""),
        ({"prompt": "fox"}, "values/field7/a", "0" * 64),
    ],
)
def test_a_result_of_another_value_than_its_key_and_checksum_say_is_refused(value: Any, key: str, etag: str) -> None:
    with pytest.raises(ContractError):
        read_result(a_result(value, key, etag), place=PLACE, project="field7")


@pytest.mark.parametrize("name", ["a", "item-00001", "größe 2", "日本", "x" * 200, "a.b"])
def test_what_a_value_may_be_called(name: str) -> None:
    assert mistake_in_name(name) == ""


@pytest.mark.parametrize("name", ["", " ", " a", "a/b", "..", ".", "a\\b", "a\n", "a\u202eb", "x" * 201, "e\u0301"])
def test_what_no_value_may_be_called(name: str) -> None:
    assert mistake_in_name(name)
