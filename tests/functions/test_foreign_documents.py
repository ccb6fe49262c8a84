"""Manifests, job.json, messages, notifications and commits of a bucket that name another job, pipeline or place."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.functions.conftest import BUCKET, NOW, World, asked, made
from tests.functions.hosted import hosted as an_endpoint

from gpupipe.functions.commits import count_commit
from gpupipe.functions.context import Context
from gpupipe.functions.dispatch import dispatch
from gpupipe.kinds.endpoint.backend.callback import callback
from gpupipe.kinds.endpoint.backend.forward import forward
from gpupipe.kinds.endpoint.backend.settings import EndpointSettings
from gpuworker.contract import Message, job_key, manifest_key, result_key, shard_key
from gpuworker.ledger import JobRecord, JobState, ShardRecord, ShardState

VICTIM = "victim"


@pytest.fixture
def shared(world: World) -> World:
    """A ledger in which another pipeline of the stack has a job with one shard in work."""
    world.ledger.put_shards([ShardRecord(job=VICTIM, number=0, items=1, created_at=NOW, sent_at=NOW)])
    record: dict[str, Any] = {
        "job": VICTIM,
        "pipeline": "other",
        "project": "field7",
        "task": "segment",
        "kind": "submitted",
    }
    world.ledger.put_job(JobRecord(**record, state=JobState.RUNNING, created_at=NOW, items=1, shards=1))
    world.ledger.start_shard(VICTIM, 0, 0, "i-other")
    return world


def rows(world: World) -> list[Any]:
    """All that the ledger holds of jobs and shards."""
    jobs = list(world.ledger.jobs())
    return [jobs, [list(world.ledger.shards(job)) for job in (VICTIM, "j1", "j2")]]


def run(world: World, *records: dict[str, Any]) -> set[str]:
    return dispatch(world.ctx, records, lambda: 900_000)


SPECS: dict[str, dict[str, Any]] = {
    "another pipeline's job": {"job": VICTIM, "pipeline": "other"},
    "another job": {"job": "j2"},
    "another pipeline": {"pipeline": "other"},
    "another task": {"task": "detect-rooms"},
    "a project in another folder": {"project": "../field8"},
    "another project than the manifest": {"project": "field8"},
    "options that are a list": {"options": []},
    "weights of its own": {"model": {"weights": "/tmp/evil"}},
}
MANIFESTS: dict[str, dict[str, Any]] = {
    "another pipeline's job": {"job": VICTIM, "pipeline": "other"},
    "another job": {"job": "j2"},
    "another pipeline": {"pipeline": "other"},
    "another project": {"project": "field8"},
    "another generation": {"generation": 7},
    "shards without numbers": {"shards": {"../0": 1}},
    "items below nothing": {"shards": {"0": -9}},
}


def change(world: World, key: str, fields: dict[str, Any]) -> None:
    world.put(key, json.dumps(json.loads(world.get(key)) | fields))


@pytest.mark.parametrize(
    ("key", "fields"),
    [
        *(pytest.param(job_key("j1"), fields, id=f"job.json: {kind}") for kind, fields in SPECS.items()),
        *(pytest.param(manifest_key("j1"), fields, id=f"manifest: {kind}") for kind, fields in MANIFESTS.items()),
    ],
)
def test_dispatch_begins_nothing_by_documents_of_something_else(
    shared: World, key: str, fields: dict[str, Any]
) -> None:
    shared.put_job({0: 1})
    before = rows(shared)
    change(shared, key, fields)
    assert run(shared, made(manifest_key("j1"), "m")) == set(), "it is no better the next time"
    assert rows(shared) == before
    assert shared.sent() == []
    told = [one.reason for one in shared.ledger.ignored("segment")]
    assert told == ["unusable_manifest"]


def test_a_retry_in_our_bucket_of_another_pipelines_job_changes_nothing(shared: World) -> None:
    shared.put_job({0: 1}, job=VICTIM)
    change(shared, manifest_key(VICTIM), {"generation": 1})
    shared.put(manifest_key(VICTIM, 1), shared.get(manifest_key(VICTIM)).decode())
    before = rows(shared)
    assert run(shared, made(manifest_key(VICTIM, 1), "m"), made(manifest_key(VICTIM), "n")) == set()
    assert (rows(shared), shared.sent()) == (before, [])


@pytest.mark.parametrize(
    "record",
    [
        made("jobs/../manifest.json", "m"),
        made("jobs/./manifest.json", "m"),
        asked({"gpupipe": "manifest", "job": "../../x"}, "m"),
        asked({"gpupipe": "manifest", "job": ["j1"]}, "m"),
        asked({"gpupipe": "manifest", "job": "j1", "generation": -1}, "m"),
        asked({"gpupipe": "manifest", "job": "j1", "generation": 10**12}, "m"),
    ],
)
def test_a_message_of_what_can_be_no_job_fails_alone(shared: World, record: dict[str, Any]) -> None:
    shared.put_job({0: 1})
    assert run(shared, record, made(manifest_key("j1"), "good")) == {"m"}
    assert [one.job for one in shared.sent()] == ["j1"]


@pytest.mark.parametrize("key", ["jobs/x/incoming/a.jpg", "processed/field7/j1/a.jpg", "inputs/field8/a.jpg", "/a.jpg"])
def test_a_rescan_takes_nothing_but_drop_ins(world: World, key: str) -> None:
    run(world, asked({"gpupipe": "rescan", "objects": [{"key": key, "etag": "e", "size": 1}]}))
    assert world.keys("jobs/") == []


# --- what failed at an endpoint ---


def hosted(world: World, mode: str) -> Context[EndpointSettings]:
    return an_endpoint(world, mode=mode, work_queue_url=world.ctx.settings.work_queue_url)[0].ctx


def test_a_failure_told_of_another_pipelines_shard_leaves_it_alone(shared: World) -> None:
    before = rows(shared)
    for status in ("Failed", "Expired"):
        told = {
            "invocationStatus": status,
            "failureReason": "it broke",
            "requestParameters": {"inputLocation": f"s3://{BUCKET}/{shard_key(VICTIM, 0)}"},
        }
        callback(hosted(shared, "async"), {"Records": [{"Sns": {"MessageId": status, "Message": json.dumps(told)}}]})
    assert rows(shared) == before


def test_a_message_of_another_pipelines_shard_is_not_forwarded(shared: World) -> None:
    # given its document in our bucket, and an endpoint that would fail
    shared.put(shard_key(VICTIM, 0), "{}")
    ctx, before = hosted(shared, "realtime"), rows(shared)
    ctx.client("sagemaker-runtime").answers = [RuntimeError("it broke")] * 9
    body = Message(job=VICTIM, number=0, generation=0).to_json()
    record = {"messageId": "m", "body": body, "attributes": {"ApproximateReceiveCount": "4"}, "receiptHandle": "r"}
    assert forward(ctx, record, lambda: 1.0) is False
    assert ctx.client("sagemaker-runtime").requests == []
    assert rows(shared) == before


# --- commits ---

COMMIT: dict[str, Any] = {
    "version": 1,
    "job": "j1",
    "number": 0,
    "generation": 0,
    "machine": "i-1",
    "engine": {},
    "header": {},
    "started_at": 1.0,
    "finished_at": 2.0,
    "failures": [],
    "timings": {},
    "items": [
        {"output": "a", "key": "inputs/p/a.jpg", "etag": "e", "artifacts": {}, "fragment": {}, "counts": {"cups": 3}}
    ],
}


@pytest.mark.parametrize(
    ("fields", "counts"),
    [
        ({}, True),
        ({"job": VICTIM}, False),
        ({"number": 1}, False),
        ({"generation": 5}, False),
        ({"items": [COMMIT["items"][0] | {"counts": {"cups": -3}}]}, False),
        ({"items": [COMMIT["items"][0] | {"counts": {"cups": "3"}}]}, False),
        ({"items": 7}, False),
        ({"timings": {"wall": float("inf")}}, False),
    ],
)
def test_the_guard_counts_a_commit_of_its_own_place_only(world: World, fields: dict[str, Any], counts: bool) -> None:
    row = ShardRecord(job="j1", number=0, items=1)
    world.ledger.put_shards([row])
    data = gzip.compress(json.dumps(COMMIT | fields).encode())
    world.ctx.s3.put_object(Bucket=BUCKET, Key=result_key("j1", 0, 0), Body=data)
    assert count_commit(world.ctx, row) is counts
    now = world.ledger.shard("j1", 0)
    assert now is not None
    assert now.state is (ShardState.DONE if counts else ShardState.PENDING)
