"""The documents and keys that CLI, functions and worker share."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpuworker import contract
from gpuworker.contract import (
    Artifact,
    ContractError,
    Failure,
    Item,
    ItemResult,
    JobSpec,
    Manifest,
    Message,
    Shard,
    ShardResult,
    choose_outputs,
    output_candidates,
    shard_size,
)
from gpuworker.ledger import ShardRecord

TEXT = st.text(min_size=1, max_size=40)
ITEMS = st.builds(Item, key=TEXT.map("inputs/p/{}".format), etag=TEXT, size=st.integers(0), output=TEXT)
SHARDS = st.builds(
    Shard,
    job=TEXT,
    pipeline=TEXT,
    project=TEXT,
    number=st.integers(0, 99_999),
    generation=st.integers(0, 9),
    task=TEXT,
    options=st.dictionaries(TEXT, st.integers() | TEXT | st.lists(TEXT), max_size=3),
    items=st.lists(ITEMS, min_size=1, max_size=4).map(tuple),
    carried=st.dictionaries(TEXT, st.integers(0), max_size=3),
)
PATHS = st.lists(
    st.lists(st.text("ab.", min_size=1, max_size=4), min_size=1, max_size=2).map("/".join), unique=True, max_size=8
)


@given(SHARDS)
def test_a_shard_survives_its_document(shard: Shard) -> None:
    assert Shard.from_json(shard.to_json()) == shard


@given(st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 9))))
def test_sums_are_name_by_name(parts: list[dict[str, int]]) -> None:
    names = {name for part in parts for name in part}
    assert contract.summed(parts) == {name: sum(part.get(name, 0) for part in parts) for name in names}


def test_every_document_of_a_shard_and_its_row_have_the_same_place() -> None:
    place = ("20261121-113052-field7-1f3a", 7, 2)
    message = Message.of(place)
    item = Item(key="inputs/f/a.jpg", etag="e", size=1, output="a")
    shard = Shard(**vars(message), pipeline="p", project="f", task="t", options={}, items=(item,))
    row = ShardRecord(**vars(message), items=1)
    result = replace(a_result(), **vars(message))
    assert {message.place, shard.place, result.place, row.place} == {place}


@given(st.lists(st.integers(0, 300), min_size=1, max_size=4))
def test_a_manifest_knows_its_items(sizes: list[int]) -> None:
    manifest = Manifest(
        job="j", pipeline="p", project="f", shards={str(number): size for number, size in enumerate(sizes)}
    )
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert manifest.items == sum(sizes)


def a_result() -> ShardResult:
    artifact = Artifact(key="processed/p/j/a/annotations.json", size=3, sha256="00", version_id="v1")
    item = ItemResult(output="a", key="inputs/p/a.jpg", etag="e", artifacts={"annotations.json": artifact}, fragment={})
    failure = Failure(output="b", key="inputs/p/b.jpg", etag="e", code="empty", message="no bytes")
    return ShardResult(
        job="j",
        number=1,
        generation=2,
        machine="i-1",
        engine={"name": "nanodet"},
        header={},
        started_at=1.5,
        finished_at=2.5,
        items=(item,),
        failures=(failure,),
    )


def test_a_result_tells_what_made_it_and_why_where_that_was_chosen() -> None:
    chosen = {"name": "nanodet", "chosen": "there is no GPU"}
    assert a_result().made_by == "nanodet"
    assert replace(a_result(), engine=chosen).made_by == "nanodet: there is no GPU"
    assert replace(a_result(), engine={}).made_by == ""


def test_a_result_survives_gzip_and_equal_results_are_equal_bytes() -> None:
    assert ShardResult.from_gzip(a_result().to_gzip()) == a_result()
    assert a_result().to_gzip() == a_result().to_gzip()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '"x"',
        '{"version":2}',
        '{"version":1}',
        '{"version":1,"job":"j","number":1,"generation":0,"x":1}',
    ],
)
def test_what_is_not_a_message_is_refused(text: str) -> None:
    with pytest.raises(ContractError):
        Message.from_json(text)


@pytest.mark.parametrize("data", [b"", b"not gzip", a_result().to_gzip()[:40]])
def test_a_damaged_result_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        ShardResult.from_gzip(data)


@pytest.mark.parametrize("count", [0, 257])
def test_a_shard_has_1_to_256_items(count: int) -> None:
    item = {"key": "inputs/p/a.jpg", "etag": "e", "size": 1, "output": "a"}
    shard: dict[str, Any] = {"job": "j", "pipeline": "p", "project": "f", "number": 0, "task": "segment", "options": {}}
    with pytest.raises(ContractError, match="1 to 256"):
        Shard.from_dict({**shard, "items": [item] * count})


def test_a_job_spec_survives() -> None:
    spec = JobSpec(job="j", pipeline="p", project="f", task="t", options={"prompts": ["cup"]}, created_at=1.5)
    assert JobSpec.from_json(spec.to_json()) == spec


def test_keys() -> None:
    assert contract.manifest_key("j") == "jobs/j/manifest.json"
    assert contract.manifest_key("j", 2) == "jobs/j/retries/2/manifest.json"
    assert contract.shard_key("j", 3) == "jobs/j/shards/00003.json"
    assert Message(job="j", number=3, generation=2).key == "jobs/j/shards/00003.2.json"
    assert contract.result_key("j", 3, 2) == "jobs/j/results/00003.2.json.gz"
    assert contract.parse_result_key("jobs/j/results/00003.2.json.gz") == (3, 2)
    assert Item(key="incoming/p/a/b.c.jpg", etag="", size=0, output="").file_name == "a/b.c.jpg"


@pytest.mark.parametrize("key", ["jobs/j/results/00003.json.gz", "jobs/j/shards/00003.2.json", "", "x.y.json.gz"])
def test_what_is_not_a_results_key_is_refused(key: str) -> None:
    with pytest.raises(ContractError):
        contract.parse_result_key(key)


# --- names ---


@pytest.mark.parametrize(
    ("paths", "outputs"),
    [
        ([], []),
        (["a.jpg"], ["a"]),
        (["a.jpg", "a.png"], ["a.jpg", "a.png"]),
        (["a", "a.jpg"], ["a", "a.jpg"]),
        (["a.jpg", "a.jpg.png"], ["a", "a.jpg.png"]),
        (["x/a.jpg", "y/a.png"], ["x/a", "y/a"]),
        ([".jpg"], [".jpg"]),
    ],
)
def test_outputs_are_the_paths_without_extension(paths: list[str], outputs: list[str]) -> None:
    assert choose_outputs(paths) == outputs


@given(PATHS)
@example(["a.b", "a.b.a", "a"])
def test_outputs_never_collide(paths: list[str]) -> None:
    assert len(set(choose_outputs(paths))) == len(paths)


@given(st.lists(st.text(min_size=1, max_size=30).map(lambda end: "ö/" * 300 + end + ".jpg"), unique=True, min_size=1))
def test_long_outputs_are_cut_and_stay_apart(paths: list[str]) -> None:
    outputs = choose_outputs(paths)
    assert len(set(outputs)) == len(paths)
    assert max(len(output.encode()) for output in outputs) <= contract.MAX_OUTPUT_BYTES


@given(PATHS)
def test_candidates_end_with_a_name_of_ones_own(paths: list[str]) -> None:
    last = [output_candidates(path)[-1] for path in paths]
    others = {name for path in paths for name in output_candidates(path)[:-1]}
    assert len(set(last)) == len(paths)
    assert not others.intersection(last)


@pytest.mark.parametrize(
    ("name", "good"),
    [
        *(("field7", True), ("a.b_c-D", True), ("x" * 64, True), (".a", True)),
        *(("x" * 65, False), ("", False), ("a/b", False), ("..", False), (".", False), ("a b", False), ("ä", False)),
    ],
)
def test_project_names(name: str, good: bool) -> None:
    assert contract.is_project_name(name) is good


def test_job_ids_sort_by_time_and_differ() -> None:
    first, second = contract.make_job_id("field7", 1_795_000_000.0), contract.make_job_id("field7", 1_795_000_001.0)
    assert first < second
    assert re.fullmatch(r"20261118-110640-field7-[0-9a-f]{4}", first)


@given(st.integers(1, 10**6), st.floats(0.0001, 1000), st.integers(1, 100))
def test_shards_fit_the_contract(items: int, seconds: float, machines: int) -> None:
    size = shard_size(items, seconds_per_item=seconds, max_instances=machines)
    assert 1 <= size <= contract.MAX_SHARD_ITEMS
    assert size == 1 or size * seconds <= contract.TARGET_SHARD_S
