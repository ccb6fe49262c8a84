"""Shards, messages, commits and files that a worker meets and that are not its own, or not what was said of them."""

from __future__ import annotations

import json
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from tests.gpuworker.entries.serving.asgi import sent
from tests.gpuworker.pipeline.test_spool import FileTask, went
from tests.gpuworker.station import PIPELINE, Station, until

from gpuworker.contract import Item, Message, ModelSource, Shard, ShardResult, compiled_key, result_key, shard_key
from gpuworker.contract.items import ItemError
from gpuworker.entries.message_handler import MessageHandler, give_up_foreign
from gpuworker.entries.serving.app import App
from gpuworker.entries.serving.service import Service
from gpuworker.ledger import JobRecord, JobState, ShardRecord, ShardState
from gpuworker.models.kept import KeptInBucket, Seals
from gpuworker.pipeline.runner import run_shard
from gpuworker.pipeline.shard_run import ShardRun
from gpuworker.pipeline.spool import Spool
from gpuworker.storage.objects import RANGE_BYTES, Storage

VICTIM = "20261121-113052-field7-0000"


@pytest.fixture
def victim(station: Station) -> Shard:
    """A shard of another pipeline of the stack, in the same ledger; its document lies in this one's bucket too."""
    now = time.time()
    station.ledger.put_shards([ShardRecord(job=VICTIM, number=0, items=1, sent_at=now)])
    record: dict[str, Any] = {
        "job": VICTIM,
        "pipeline": "other",
        "project": "field7",
        "task": "fake",
        "kind": "submitted",
    }
    station.ledger.put_job(JobRecord(**record, state=JobState.PENDING, created_at=now, items=1, shards=1))
    item = station.upload("a.txt", "tree")
    return Shard(job=VICTIM, pipeline=PIPELINE, project="field7", number=0, task="fake", options={}, items=(item,))


def untouched(station: Station) -> bool:
    row = station.ledger.shard(VICTIM, 0)
    return row is not None and (row.state, row.started, row.done) == (ShardState.PENDING, 0, 0)


def handled(station: Station) -> ShardResult | None:
    delivery = until(lambda: station.queue().receive(wait_s=1))
    return MessageHandler(Message.from_json(delivery.body), delivery, station.context(), task="fake").run()


@pytest.mark.parametrize("is_there", [True, False])
def test_a_message_of_another_pipelines_shard_neither_begins_nor_ends_it(
    station: Station, victim: Shard, is_there: bool
) -> None:
    if is_there:
        station.storage.put(shard_key(VICTIM, 0), victim.to_json().encode())
    station.send(victim)
    assert handled(station) is None
    assert untouched(station)
    assert station.commit(victim) is None
    assert station.messages() == {"waiting": 0, "held": 1}, "SQS moves it to the dead-letter queue in the end"


def test_a_message_that_nobody_understands_ends_no_shard_of_another_pipeline(station: Station, victim: Shard) -> None:
    body = json.dumps({"version": 99, "job": VICTIM, "number": 0, "generation": 0})
    station.client("sqs").send_message(QueueUrl=station.queue_url, MessageBody=body)
    give_up_foreign(station.context(), until(lambda: station.queue().receive(wait_s=1)), "not understood")
    assert untouched(station)


def test_a_request_for_another_pipelines_shard_neither_begins_nor_ends_it(station: Station, victim: Shard) -> None:
    service = Service(station.settings(), station.log)
    service.open(station.context(), {})
    try:
        own = json.loads(victim.to_json())
        for document, code in ((own, "foreign_shard"), (own | {"version": 99}, "unusable_shard")):
            reply = sent(App(service), json.dumps(document).encode(), "application/json")
            assert (reply.status, reply.code) == (422, code)
            assert untouched(station)
    finally:
        service.close()


SHARDS: dict[str, dict[str, Any]] = {
    "another pipeline": {"pipeline": "other"},
    "another project": {"project": "field8"},
    "an input of another project": {"key": "inputs/field8/000.txt"},
    "a document as its input": {"key": "jobs/other/job.json"},
    "the results of another item": {"output": "other"},
    "results above": {"output": "../../other"},
}


@pytest.mark.parametrize("kind", SHARDS)
def test_a_shard_that_names_what_is_not_its_own_is_dead_with_the_reason(station: Station, kind: str) -> None:
    [shard] = station.job(["tree"], send=False)
    document = json.loads(shard.to_json())
    for name, value in SHARDS[kind].items():
        (document["items"][0] if name in document["items"][0] else document)[name] = value
    station.storage.put(shard_key(shard.job, 0), json.dumps(document).encode())
    station.send(shard)
    before = {one["Key"] for one in station.client("s3").list_objects_v2(Bucket=station.name)["Contents"]}
    assert handled(station) is None
    row = station.row(shard)
    assert (row.state, bool(row.reason)) == (ShardState.DEAD, True)
    assert {one["Key"] for one in station.client("s3").list_objects_v2(Bucket=station.name)["Contents"]} == before


def test_a_commit_of_another_job_in_the_place_of_its_own_ends_the_shard_and_counts_nowhere(
    station: Station, victim: Shard
) -> None:
    [own] = station.job(["tree"], send=False)
    committed = run_shard(own, context=station.context())
    assert committed is not None
    [shard] = station.job(["tree"])
    forged = ShardResult.from_json(committed.to_json().replace(own.job, VICTIM))
    station.storage.put(result_key(shard.job, 0, 0), forged.to_gzip())
    assert handled(station) is None
    assert untouched(station)
    assert (station.row(shard).state, "another shard" in station.row(shard).reason) == (ShardState.DEAD, True)


# --- what was said of a file, and what it is when it is read ---


def changed_item(item: Item, **changes: Any) -> Item:
    return Item(**{**vars(item), **changes})


def outcome(station: Station, item: Item, tmp_path: Path, *, from_bytes: int = 1 << 20) -> str:
    [shard] = station.job(["tree"], send=False)
    shard_run = ShardRun(Shard(**{**vars(shard), "items": (item,)}))
    spool = Spool(tmp_path / "spool", from_bytes=from_bytes)
    station.stream(FileTask(), station.journal(), spool=spool).add(shard_run, [0])
    [code] = went(shard_run)
    return code


@pytest.mark.parametrize("from_bytes", [1 << 20, 1], ids=["in memory", "in a file"])
def test_an_input_that_changed_since_it_was_named_is_not_worked_on(
    station: Station, tmp_path: Path, from_bytes: int
) -> None:
    first = station.upload("a.txt", "tree old")
    second = station.upload("a.txt", "tree new")
    other = station.upload("b.txt", "tree oth")
    for item, code in (
        (first, ""),  # its version is pinned
        (changed_item(first, version_id=""), "changed"),
        (changed_item(first, version_id=second.version_id), "changed"),
        (changed_item(first, version_id=other.version_id), "not_found"),
    ):
        assert outcome(station, item, tmp_path, from_bytes=from_bytes) in {code, code and "not_found"}


def test_an_object_larger_than_the_shard_says_is_not_read_into_memory(station: Station, tmp_path: Path) -> None:
    item = station.upload("a.txt", "tree " + "x" * 5_000)
    assert outcome(station, changed_item(item, size=5), tmp_path) == "too_large"


class Replaced(Storage):
    """A bucket in which somebody replaces the object after its first range was read."""

    def _get_one(self, key: str, options: Any, at_most: int | None = None) -> Any:
        found = super()._get_one(key, options, at_most)
        if not getattr(self, "was_replaced", False):
            self.was_replaced = True
            self.put(key, b"y" * 40)
        return found


def test_an_object_replaced_between_two_ranges_never_becomes_one_file(station: Station, tmp_path: Path) -> None:
    size = RANGE_BYTES + 10
    storage = Replaced(station.name, region="us-east-1", session=station.session, endpoint=station._endpoint)
    storage.put("k", bytes(size))
    with pytest.raises(ItemError) as caught:
        storage.get_file("k", tmp_path / "file", size=size)
    assert caught.value.code == "changed"
    storage.close()


def test_a_spooled_file_is_the_workers_alone(station: Station, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool")
    assert stat.S_IMODE((tmp_path / "spool").stat().st_mode) == 0o700
    item = station.upload("a.txt", "tree")
    place = spool.reserve(4).path
    station.storage.get_file(item.key, place, size=4)
    assert stat.S_IMODE(place.stat().st_mode) == 0o600


def test_a_link_that_lies_where_a_spooled_file_would_is_not_followed(station: Station, tmp_path: Path) -> None:
    item = station.upload("a.txt", "tree")
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "1.spooled").symlink_to(tmp_path / "precious")
    with pytest.raises(Exception, match=r"could not put inputs/field7/a\.txt"):
        station.storage.get_file(item.key, tmp_path / "1.spooled", size=4)
    assert (tmp_path / "precious").read_text() == "mine"


def test_a_spool_that_is_a_link_or_anothers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "spool").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermissionError, match="own"):
        Spool(tmp_path / "spool")
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "elsewhere").stat().st_uid + 1)
    with pytest.raises(PermissionError, match="own"):
        Spool(tmp_path / "elsewhere")


# --- compiled code ---


def test_compiled_code_that_no_worker_has_kept_is_not_given_back(station: Station) -> None:
    kept = KeptInBucket(ModelSource(), station.storage, station.log, seals=Seals(station.ledger, PIPELINE))
    # given code that somebody has put into the bucket, and then in place of a worker's own
    station.storage.put(compiled_key("sm90"), b"evil")
    assert kept.kept("sm90") is None
    kept.keep("sm90", b"compiled")
    assert kept.kept("sm90") == b"compiled"
    station.storage.put(compiled_key("sm90"), b"evil")
    assert kept.kept("sm90") is None
    assert "kept_by_nobody" in station.lines
    # and what another pipeline has kept under that name is not this one's
    other = KeptInBucket(ModelSource(), station.storage, station.log, seals=Seals(station.ledger, "other"))
    other.keep("sm90", b"theirs")
    assert kept.kept("sm90") is None
