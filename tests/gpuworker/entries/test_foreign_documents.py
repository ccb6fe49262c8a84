"""Documents that name what is not theirs, each read where documents are read, and refused."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from gpupipe.tasks import options_class
from gpuworker.contract import (
    Artifact,
    ContractError,
    Document,
    Failure,
    Item,
    ItemResult,
    JobSpec,
    Manifest,
    Shard,
    ShardResult,
    parse_result_key,
    parse_shard_key,
    read_manifest,
    read_result,
    read_shard,
    read_spec,
)
from gpuworker.engines.options import Options
from gpuworker.entries.message_handler import require_task
from gpuworker.pipeline.record import read_record
from gpuworker.storage.objects import Object
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Task
from gpuworker.tasks.detect_rooms.options import Options as RoomOptions

PLACE = ("j1", 3, 0)
ITEM = Item(key="inputs/field7/a/b.jpg", etag="e", size=5, output="a/b", version_id="v")
SHARD = Shard(job="j1", pipeline="segment", project="field7", number=3, task="segment", options={}, items=(ITEM,))
SPEC = JobSpec(job="j1", pipeline="segment", project="field7", task="segment", options={}, created_at=1.5)
MANIFEST = Manifest(job="j1", pipeline="segment", project="field7", shards={"0": 1, "3": 256})
FOLDER = "processed/field7/j1/a/b/"
FILE = Artifact(key=f"{FOLDER}masks/b", size=3, sha256="0" * 64, version_id="v")
DONE = ItemResult(output="a/b", key=ITEM.key, etag="e", artifacts={"masks/b": FILE}, fragment={})
FAILED = Failure(output="c", key="incoming/field7/c.png", etag="e", code="empty", message="no bytes")
RESULT = ShardResult(
    job="j1",
    number=3,
    generation=0,
    machine="i-1",
    engine={},
    header={},
    started_at=1.0,
    finished_at=2.0,
    items=(DONE,),
    failures=(FAILED,),
)


def changed(document: Document, change: Mapping[str, Any]) -> str:
    """The document's text with fields in place of its own; a dotted name (`items.0.key`) leads inside."""
    data = json.loads(document.to_json())
    for path, value in change.items():
        *way, last = path.split(".")
        place = data
        for part in way:
            place = place[int(part)] if isinstance(place, list) else place[part]
        place[last] = value
    return json.dumps(data)


def shard(text: str) -> Shard:
    return read_shard(text, place=PLACE, pipeline="segment", project="field7")


def result(text: str) -> ShardResult:
    return read_result(gzip.compress(text.encode()), place=PLACE, project="field7")


def spec(text: str) -> JobSpec:
    return read_spec(text, job="j1", pipeline="segment")


def manifest(text: str) -> Manifest:
    return read_manifest(text, job="j1", generation=0, pipeline="segment", project="field7")


SECOND = json.loads(SHARD.to_json())["items"][0]
OF_ALL: dict[str, Any] = {
    "another job": {"job": "j2"},
    "a job that is a list": {"job": ["j1"]},
    "another pipeline": {"pipeline": "other"},
    "another project": {"project": "field8"},
    "a project in another folder": {"project": "field7/../../field8"},
    "half a character": {"project": "\ud800"},
}
OF_SHARDS: dict[str, Any] = OF_ALL | {
    "another number": {"number": 4},
    "another generation": {"generation": 1},
    "a number that is true": {"number": True},
    "a task of nothing": {"task": None},
    "options that are a list": {"options": ["engine"]},
    "items that are a number": {"items": 7},
    "items that are texts": {"items": ["a"]},
    "no items": {"items": []},
    "another bucket": {"items.0.key": "s3://other/inputs/field7/a/b.jpg"},
    "an input of another project": {"items.0.key": "inputs/field8/a/b.jpg"},
    "an input of a project that begins alike": {"items.0.key": "inputs/field77/a/b.jpg"},
    "results in place of inputs": {"items.0.key": "processed/field7/j2/a/b.jpg"},
    "a document in place of inputs": {"items.0.key": "jobs/j2/job.json"},
    "weights in place of inputs": {"items.0.key": "models/a/b/c.json"},
    "an absolute path": {"items.0.key": "/inputs/field7/a/b.jpg"},
    "nothing below the project": {"items.0.key": "inputs/field7/", "items.0.output": ""},
    "a key that is a list": {"items.0.key": ["inputs/field7/a/b.jpg"]},
    "an output above its folder": {"items.0.output": "../../../jobs/j2"},
    "an output that is absolute": {"items.0.output": "/etc/passwd"},
    "an output of another item": {"items.0.output": "a/c"},
    "no output": {"items.0.output": ""},
    "two items with one output": {"items": [SECOND, SECOND | {"key": "incoming/field7/a/b.png"}]},
    "a size below nothing": {"items.0.size": -1},
    "a size beyond all objects": {"items.0.size": 10**30},
    "a version that is an object": {"items.0.version_id": {}},
    "a sidecar that is a text": {"items.0.sidecar": "s3://other/x"},
    "another bucket in a field of its own": {"items.0.bucket": "other"},
    "weights in a field of their own": {"model": {"weights": "/tmp/evil"}},
    "counts below nothing": {"carried": {"done": -5}},
    "counts that are texts": {"carried": {"done": "5"}},
}
OF_RESULTS: dict[str, Any] = {
    "another job": {"job": "j2"},
    "another number": {"number": 4},
    "another generation": {"generation": 1},
    "an input of another project": {"items.0.key": "inputs/field8/a/b.jpg"},
    "a failure of another project": {"failures.0.key": "inputs/field8/c.png"},
    "an output of another item": {"items.0.output": "c"},
    "an output above": {"items.0.output": "../j2/a/b"},
    "two results for one output": {"failures.0.output": "a/b", "failures.0.key": ITEM.key},
    "files as a list": {"items.0.artifacts": ["a"]},
    "a file of another job": {"items.0.artifacts.masks/b.key": "processed/field7/j2/a/b/masks/b"},
    "a file of another project": {"items.0.artifacts.masks/b.key": "processed/field8/j1/a/b/masks/b"},
    "a file of another item": {"items.0.artifacts.masks/b.key": "processed/field7/j1/c/masks/b"},
    "a file of another bucket": {"items.0.artifacts.masks/b.key": "s3://other/masks/b"},
    "a file that is an input": {"items.0.artifacts.masks/b.key": "inputs/field8/secret.jpg"},
    "an absolute path": {"items.0.artifacts.masks/b.key": "/etc/passwd"},
    "a file above its folder": {"items.0.artifacts": {"../x": vars(FILE) | {"key": f"{FOLDER}../x"}}},
    "a file without a name": {"items.0.artifacts": {"": vars(FILE) | {"key": FOLDER}}},
    "no checksum": {"items.0.artifacts.masks/b.sha256": ""},
    "a checksum of something else": {"items.0.artifacts.masks/b.sha256": "../../x"},
    "a size below nothing": {"items.0.artifacts.masks/b.size": -1},
    "a fragment that is a text": {"items.0.fragment": "x"},
    "a time that is no number": {"finished_at": float("nan")},
    "items that are a number": {"items": 7},
}
OF_MANIFESTS: dict[str, Any] = OF_ALL | {
    "another generation": {"generation": 2},
    "a shard without a number": {"shards": {"x": 1}},
    "a shard in another folder": {"shards": {"../0": 1}},
    "one shard twice": {"shards": {"1": 1, "01": 1}},
    "a shard of other digits": {"shards": {"٣": 1}},
    "items below nothing": {"shards": {"0": -1}},
    "more items than a shard has": {"shards": {"0": 257}},
    "shards that are a list": {"shards": [1]},
}
OF_SPECS: dict[str, Any] = {kind: change for kind, change in OF_ALL.items() if kind != "another project"} | {
    "another kind": {"kind": "root"},
    "options that are a text": {"options": "x"},
    "a time that is no number": {"created_at": "now"},
}
TABLES: dict[str, tuple[Document, Callable[[str], Document], dict[str, Any]]] = {
    "job.json": (SPEC, spec, OF_SPECS),
    "manifest": (MANIFEST, manifest, OF_MANIFESTS),
    "shard": (SHARD, shard, OF_SHARDS),
    "result": (RESULT, result, OF_RESULTS),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_document_of_its_own_place_is_read(name: str) -> None:
    document, read, _ = TABLES[name]
    assert read(document.to_json()) == document


@pytest.mark.parametrize(("name", "kind"), [(name, kind) for name, (_, _, cases) in TABLES.items() for kind in cases])
def test_a_document_that_names_anything_else_is_refused(name: str, kind: str) -> None:
    document, read, cases = TABLES[name]
    text = changed(document, cases[kind])
    with pytest.raises(ContractError):
        read(text)


@pytest.mark.parametrize(
    "data",
    [b"", b"no gzip", gzip.compress(b"{}", mtime=0), gzip.compress(b"[" * 99_999, mtime=0), RESULT.to_gzip()[:-9]],
    ids=["empty", "no gzip", "no fields", "deep", "cut off"],
)
def test_what_is_no_result_is_refused(data: bytes) -> None:
    with pytest.raises(ContractError):
        read_result(data, place=PLACE)


def test_a_result_that_unpacks_to_a_thousand_times_its_length_is_not_unpacked() -> None:
    packed = gzip.compress(RESULT.to_json().encode() + b" " * (80 << 20), compresslevel=1, mtime=0)
    with pytest.raises(ContractError, match="unpacks to more than one would"):
        read_result(packed, place=PLACE)


@pytest.mark.parametrize("at", range(10, 40, 7))
def test_a_result_damaged_anywhere_is_refused(at: int) -> None:
    data = bytearray(RESULT.to_gzip())
    data[at] ^= 0xFF
    with pytest.raises(ContractError):
        read_result(bytes(data), place=PLACE)


@pytest.mark.parametrize("job", ["..", ".", "", "a/b", "j" * 129, "j 1"])
def test_what_can_be_no_jobs_name_is_none(job: str) -> None:
    with pytest.raises(ContractError):
        read_spec(replace(SPEC, job=job).to_json(), job=job, pipeline="segment")


def test_keys_that_others_may_have_made_are_read_literally() -> None:
    # given drop-ins of clients that S3 lets make any key
    for path, output in (("../x.jpg", "../x"), ("/x.jpg", "/x"), ("a//b.jpg", "a//b"), ("ö" * 300 + ".jpg", None)):
        item = replace(ITEM, key=f"incoming/field7/{path}", output=output or _cut(path))
        assert shard(replace(SHARD, items=(item,)).to_json()).items == (item,)


def _cut(path: str) -> str:
    from gpuworker.contract import output_candidates

    return output_candidates(path)[0]


@pytest.mark.parametrize(
    "key",
    [
        "jobs/j/results/../../../../x/00000.0.json.gz",
        "jobs/j/results//00000.0.json.gz",
        "jobs/j/results/x/00000.0.json.gz",
        "/jobs/j/results/00000.0.json.gz",
        "jobs/j/results/0.0.json.gz",
        "jobs/j/results/00000.00.json.gz",
        "jobs/j/results/٠٠٠٠٠.0.json.gz",
        "jobs/j/results/00000.0.json.gz\n",
    ],
)
def test_what_only_ends_like_a_results_key_is_none(key: str) -> None:
    with pytest.raises(ContractError):
        parse_result_key(key)


@pytest.mark.parametrize("key", ["jobs/../shards/00000.json", "jobs/j/shards/../00000.json", "jobs/j/shards/0.json"])
def test_what_only_looks_like_a_shards_key_is_none(key: str) -> None:
    with pytest.raises(ContractError):
        parse_shard_key(key)


# --- records of items ---


def a_record(**section: Any) -> Object:
    own = {"job": "j1", "generation": 0, "etag": "e", "artifacts": {"overlay.jpg": vars(FILE)}, "counts": {}}
    own |= {"fragment": {}, "fragment_from_record": [], "seconds": {}, **section}
    return Object(data=json.dumps({"info": {"gpupipe": own}}).encode(), etag="", version_id="v")


@pytest.mark.parametrize(
    ("section", "is_ours"),
    [
        ({"artifacts": {"overlay.jpg": vars(FILE) | {"key": f"{FOLDER}overlay.jpg"}}}, True),
        ({"artifacts": {"overlay.jpg": vars(FILE) | {"key": "processed/field7/j2/a/b/overlay.jpg"}}}, False),
        ({"artifacts": {"../overlay.jpg": vars(FILE) | {"key": f"{FOLDER}../overlay.jpg"}}}, False),
        ({"job": "j2", "artifacts": {}}, False),
        ({"artifacts": 7}, False),
        ({"artifacts": {"overlay.jpg": 7}}, False),
    ],
)
def test_a_record_is_taken_over_with_files_of_its_own_folder_only(section: dict[str, Any], is_ours: bool) -> None:
    found = read_record(a_record(**section), SHARD, ITEM, record_name="annotations.json")
    assert (found is not None) is is_ours


# --- options ---

HOSTILE_OPTIONS: dict[str, list[dict[str, Any]]] = {
    "segment": [
        {"engine": "os:system"},
        {"engine": ["sam3"]},
        {"prompts": "cup"},
        {"engine": "sam3", "prompts": ["x" * 121]},
        {"engine": "sam3", "prompts": ["a\0b"]},
        {"score_threshold": 1.5},
        {"score_threshold": float("nan")},
        {"prompt_thresholds": {"cup": 2}},
        {"prompt_thresholds": ["cup"]},
        {"nms_iou": 0},
        {"max_instances": 10**9},
        {"max_instances": 0},
        {"tile_size": 1},
        {"tile_size": "small"},
        {"tile_overlap": 1.0},
        {"bands": [0]},
        {"bands": [1, 2]},
        {"bands": [10**30, "x", 1]},
        {"stretch": "eval"},
        {"stretch_percent": [98, 2]},
        {"segmentation": "pickle"},
        {"masks": "../x"},
        {"overlays": "nowhere"},
        {"max_bytes": -1},
        {"max_pixels": -1},
        {"max_pixels": "x"},
    ],
    "detect-rooms": [
        {"min_area": 0},
        {"min_area": 9.0, "max_area": 8.0},
        {"max_area_share": 2},
        {"epsilon_factor": 1},
        {"max_gap": -1},
        {"labels": "maybe"},
        {"deskew": "sideways"},
        {"max_bytes": 0},
        {"max_pixels": -1},
    ],
}


@pytest.fixture(scope="module")
def tasks() -> Mapping[str, Task]:
    return {name: make_task(name) for name in HOSTILE_OPTIONS}


@pytest.mark.parametrize(("task", "options"), [(task, one) for task, some in HOSTILE_OPTIONS.items() for one in some])
def test_what_the_configuration_refuses_no_shard_can_ask_for(
    tasks: Mapping[str, Task], task: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ValidationError):
        options_class(task).model_validate(options)
    with pytest.raises(ContractError):
        require_task(replace(SHARD, task=task, options=options), task, tasks[task])


@pytest.mark.parametrize("task", HOSTILE_OPTIONS)
def test_what_the_configuration_writes_is_taken_and_so_is_what_another_version_wrote(
    tasks: Mapping[str, Task], task: str
) -> None:
    plain = options_class(task)().model_dump(mode="json")
    for options in ({}, plain, plain | {"of_a_later_version": 7}, dict.fromkeys(plain)):
        require_task(replace(SHARD, task=task, options=options), task, tasks[task])


def test_no_option_names_weights_or_buckets() -> None:
    """`model`, `weights`, `bucket` and the like are words of the pipeline's settings; a job's are passed over."""
    foreign = {"weights": "/tmp/evil", "model": {"weights": "x"}, "revision": "r", "bucket": "other", "device": "x"}
    assert Options.of(foreign) == Options()
    assert RoomOptions.of(foreign) == RoomOptions()
