"""Items that are values, from the shard to the commit: what a task gets, what is recorded, what fails alone."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.gpuworker.station import Station
from tests.toy_tasks.upper import Upper, UpperAll

from gpuworker.contract import Item, Shard, ShardResult, read_result, read_shard, shard_key
from gpuworker.pipeline.runner import run_shard

ISOLATED = "tests.toy_tasks.upper:Upper"


def committed(station: Station, shard: Shard) -> ShardResult:
    """The commit, read as whoever fetches reads it."""
    found = station.storage.read(f"jobs/{shard.job}/results/{shard.number:05d}.{shard.generation}.json.gz")
    assert found is not None
    return read_result(found.data, place=(shard.job, shard.number, shard.generation), project=shard.project)


def stored(station: Station, shard: Shard) -> Shard:
    """The shard as a worker reads it."""
    found = station.storage.get(shard_key(shard.job, shard.number))
    return read_shard(found.data, place=(shard.job, shard.number, 0), pipeline=shard.pipeline, project=shard.project)


def record_of(station: Station, result: ShardResult, place: int = 0) -> Any:
    return json.loads(station.storage.get(result.items[place].artifacts["result.json"].key).data)


def test_values_become_results_that_hold_them(station: Station) -> None:
    # given
    values: list[dict[str, Any]] = [{"prompt": "fox", "seed": 7}, {"seed": 1}, {"prompt": "öwl"}]
    [shard] = station.job(values, send=False)
    station.ledger.start_shard(shard.job, 0, 0, "i-1")
    # when
    run_shard(stored(station, shard), context=station.context(Upper()))
    # then each result and failure tells what it is of, though the task took its dict apart
    result = committed(station, shard)
    assert [(one.output, one.fragment, one.value) for one in result.items] == [
        ("000", {"text": "FOX"}, values[0]),
        ("002", {"text": "ÖWL"}, values[2]),
    ]
    assert [(one.output, one.code, one.value) for one in result.failures] == [("001", "unsuitable", values[1])]
    assert record_of(station, result)["gpupipe"]["value"] == values[0]
    assert "download" not in result.timings
    assert (station.row(shard).done, station.row(shard).failed) == (2, 1)


def test_a_redelivered_shard_does_not_repeat_a_finished_value(station: Station) -> None:
    [shard] = station.job([{"prompt": "fox"}], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "i-1")
    run_shard(shard, context=station.context(Upper()))
    version = committed(station, shard).items[0].artifacts["result.json"].version_id
    station.client("s3").delete_object(Bucket=station.name, Key=f"jobs/{shard.job}/results/00000.0.json.gz")
    # when its worker was killed between record and commit
    run_shard(shard, context=station.context(Upper()), redelivered=True)
    # then
    [item] = committed(station, shard).items
    assert (item.artifacts["result.json"].version_id, item.value) == (version, {"prompt": "fox"})


def test_a_value_that_kills_its_worker_fails_alone(station: Station) -> None:
    [shard] = station.job([{"prompt": "fox"}, {"prompt": "x", "crash": True}], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "i-1")
    # when the shard has killed a worker before, so that its items are worked on in a process of their own
    run_shard(shard, context=station.context(Upper(), isolated=ISOLATED), started=2)
    # then
    result = committed(station, shard)
    assert [one.fragment for one in result.items] == [{"text": "FOX"}]
    assert [(one.output, one.code) for one in result.failures] == [("001", "killed_worker")]


@pytest.mark.parametrize("content", [{"prompt": "fox"}, "fox"], ids=["value", "file"])
def test_what_a_task_does_not_take_fails_and_says_so(station: Station, content: Any) -> None:
    # given a shard that no submission makes: of a value for a task of files, and of a file for a task of values
    task = None if isinstance(content, dict) else Upper()
    [shard] = station.job([content], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "i-1")
    # when
    run_shard(shard, context=station.context(task))
    # then
    [failure] = committed(station, shard).failures
    assert failure.code == "unsuitable"
    assert "the task takes none" in failure.message


def test_a_task_may_take_both(station: Station) -> None:
    [shard] = station.job([{"prompt": "fox"}, "owl"], send=False)
    station.ledger.start_shard(shard.job, 0, 0, "i-1")
    run_shard(shard, context=station.context(UpperAll()))
    assert [one.fragment for one in committed(station, shard).items] == [{"text": "FOX"}, {"text": "OWL"}]


def test_objects_are_written_as_they_were_before_there_were_values() -> None:
    item = Item(key="inputs/p/a.jpg", etag="e", size=3, output="a")
    shard = Shard(job="j", pipeline="q", project="p", number=0, task="segment", options={}, items=(item,))
    assert json.loads(shard.to_json())["items"] == [
        {"key": "inputs/p/a.jpg", "etag": "e", "size": 3, "output": "a", "version_id": "", "sidecar": {}}
    ]
