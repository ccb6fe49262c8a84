"""What others may have put among a job's documents, met by the commands of a person: fetch, retry, rebuild, submit."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.crew import Crew
from tests.jobs.desk import Desk, a_photo
from tests.jobs.finished_work import Work

from gpupipe.errors import IntegrityError
from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.fetch import fetch
from gpupipe.jobs.listing import choose_job, list_jobs
from gpupipe.jobs.rebuild import rebuild
from gpupipe.jobs.retry import retry_failed
from gpupipe.jobs.submit import submit
from gpuworker.contract import ShardResult, job_key, manifest_key, output_prefix, result_key, shard_key
from gpuworker.ledger import JobRecord, JobState, ShardRecord, ShardState

JOB, OTHER = "20261121-113052-field7-1f3a", "20261121-113052-field8-77aa"
SECRET = b"another job's"


def all_files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


# --- fetch ---


@pytest.fixture
def finished(work: Work) -> Work:
    """A job with one image, beside another project's job."""
    work.submit(OTHER, ["a.jpg"], project="field8")
    work.commit(OTHER, 0, ["a.jpg"], files={"overlay.jpg": SECRET})
    work.submit(JOB, ["a.jpg"])
    work.commit(JOB, 0, ["a.jpg"], files={"overlay.jpg": b"own"})
    return work


def commit_of(work: Work, job: str) -> dict[str, Any]:
    data = work.s3.get_object(Bucket=work.bucket, Key=result_key(job, 0, 0))["Body"].read()
    document: dict[str, Any] = json.loads(ShardResult.from_gzip(data).to_json())
    return document


def put_commit(work: Work, document: dict[str, Any]) -> None:
    work.put(result_key(JOB, 0, 0), gzip.compress(json.dumps(document).encode()))


FILES: dict[str, dict[str, Any]] = {
    "another job's file": {"key": f"{output_prefix('field8', OTHER, 'a')}overlay.jpg"},
    "an input": {"key": "inputs/field8/a.jpg"},
    "another bucket": {"key": "s3://other/overlay.jpg"},
    "an absolute path": {"key": "/etc/passwd"},
    "no checksum": {"sha256": ""},
}


def forged(work: Work) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the job's commit could say, by what is wrong with it."""
    yield "another job", commit_of(work, OTHER)
    for kind, fields in FILES.items():
        document = commit_of(work, JOB)
        document["items"][0]["artifacts"]["overlay.jpg"] |= fields
        yield kind, document
    document = commit_of(work, JOB)
    files = document["items"][0]["artifacts"]
    files["../../x"] = files["overlay.jpg"] | {"key": f"{output_prefix('field7', JOB, 'a')}../../x"}
    yield "a name above", document


def test_a_commit_that_names_what_is_not_its_own_is_told_and_not_followed(finished: Work, tmp_path: Path) -> None:
    for kind, document in list(forged(finished)):
        put_commit(finished, document)
        with pytest.raises(IntegrityError, match=r"cannot read jobs/.*00000\.0\.json\.gz"):
            fetch(finished.aws, job=JOB, folder=tmp_path / kind / "out")
        assert not any(SECRET in (tmp_path / name).read_bytes() for name in all_files(tmp_path)), kind
        assert {name.split("/")[0] for name in all_files(tmp_path / kind)} == {"out"}, kind


def test_a_version_of_another_object_is_lost_and_not_fetched(finished: Work, tmp_path: Path) -> None:
    document, theirs = commit_of(finished, JOB), commit_of(finished, OTHER)
    own, other = (one["items"][0]["artifacts"]["overlay.jpg"] for one in (document, theirs))
    own |= {"version_id": other["version_id"], "sha256": other["sha256"], "size": other["size"]}
    put_commit(finished, document)
    with pytest.raises(IntegrityError, match="lost or damaged"):
        fetch(finished.aws, job=JOB, folder=tmp_path)
    assert not any(SECRET in (tmp_path / name).read_bytes() for name in all_files(tmp_path) if "items/" in name)


def test_an_object_that_is_not_what_its_commit_says_becomes_no_file(finished: Work, tmp_path: Path) -> None:
    """What is hashed are the bytes that are written: there is no second reading in between."""
    document = commit_of(finished, JOB)
    document["items"][0]["artifacts"]["overlay.jpg"]["version_id"] = ""
    put_commit(finished, document)
    for content in (b"OWN", b"longer than before", b""):
        finished.put(f"{output_prefix('field7', JOB, 'a')}overlay.jpg", content)
        with pytest.raises(IntegrityError, match="is not what the job's result says"):
            fetch(finished.aws, job=JOB, folder=tmp_path)
        assert not (tmp_path / "items/a/overlay.jpg").exists()


def test_objects_among_commits_that_are_none_are_passed_over(finished: Work, tmp_path: Path) -> None:
    for name in ("../../../../../outside/00000.0.json.gz", "x/00000.0.json.gz", "/00001.0.json.gz", "notes.txt"):
        finished.put(f"jobs/{JOB}/results/{name}", b"x")
    assert fetch(finished.aws, job=JOB, folder=tmp_path / "deep/out").done == 1
    assert {name.split("/")[:2][-1] for name in all_files(tmp_path)} == {"out"}
    assert not (tmp_path / "outside").exists()


def test_job_json_of_another_job_tells_nothing_in_the_report(finished: Work, tmp_path: Path) -> None:
    spec = replace(finished.specs[OTHER], submitter="mallory@elsewhere")
    finished.put(job_key(JOB), spec.to_json().encode())
    report = fetch(finished.aws, job=JOB, folder=tmp_path).report
    assert "mallory" not in report.read_text()


# --- a job's documents, and the ledger ---


@pytest.fixture
def crew(desk: Desk) -> Crew:
    return Crew(desk=desk)


def submitted(crew: Crew, folder: Path, name: str = "a.jpg") -> str:
    a_photo(folder / name)
    return submit(crew.desk.ctx, [str(folder)], project="field7").job


def change(crew: Crew, key: str, **fields: Any) -> None:
    crew.desk.put(key, json.dumps(json.loads(crew.desk.get(key)) | fields).encode())


def victim(crew: Crew) -> None:
    """Another pipeline's job in the same ledger."""
    crew.ledger.put_shards([ShardRecord(job=OTHER, number=0, items=1)])
    record: dict[str, Any] = {
        "job": OTHER,
        "pipeline": "other",
        "project": "field8",
        "task": "segment",
        "kind": "submitted",
    }
    crew.ledger.put_job(JobRecord(**record, state=JobState.RUNNING, created_at=1.0, items=1, shards=1))


DOCUMENTS: dict[str, dict[str, Any]] = {
    "another pipeline's job": {"job": OTHER, "pipeline": "other"},
    "another job": {"job": OTHER},
    "another pipeline": {"pipeline": "other"},
    "a project in another folder": {"project": "../x"},
}


def test_a_job_whose_documents_name_another_is_neither_listed_nor_rebuilt(crew: Crew, tmp_path: Path) -> None:
    desk, config = crew.desk, crew.desk.ctx.config
    job = submitted(crew, tmp_path)
    for kind, fields in DOCUMENTS.items():
        for key in (job_key(job), manifest_key(job)):
            before = desk.get(key)
            change(crew, key, **fields)
            told = rebuild(desk.ctx)
            assert (told.jobs, told.shards, [one.partition(":")[0] for one in told.unreadable]) == (0, 0, [job]), kind
            assert list(crew.ledger.jobs()) == [], kind
            assert list(list_jobs([desk.ctx])) == [], kind
            desk.put(key, before)
    assert choose_job(desk.ctx.aws, config)[1] == job
    assert rebuild(desk.ctx).jobs == 1


def test_rebuild_leaves_another_pipelines_job_alone(crew: Crew, tmp_path: Path) -> None:
    job = submitted(crew, tmp_path)
    victim(crew)
    for key in (job_key, manifest_key):
        crew.desk.put(key(OTHER), crew.desk.get(key(job)).replace(job.encode(), OTHER.encode()))
    assert OTHER in " ".join(rebuild(crew.desk.ctx).unreadable)
    row = crew.ledger.shard(OTHER, 0)
    assert row is not None
    assert row.state is ShardState.PENDING


def test_retry_sends_nothing_by_documents_of_something_else(crew: Crew, tmp_path: Path) -> None:
    job = submitted(crew, tmp_path)
    announce_manifest(crew.desk.ctx, job)
    crew.dispatch()
    crew.commit(job, 0, failing=[0])
    desk, shard, commit = crew.desk, shard_key(job, 0), result_key(job, 0, 0)
    result, begun = ShardResult.from_gzip(desk.get(commit)), replace(desk.manifest(job), generation=1)
    written = [
        *((shard, _with(desk.get(shard), {name: value})) for name, value in FOREIGN.items() if name != "generation"),
        *((commit, gzip.compress(_with(result.to_json(), {name: FOREIGN[name]}))) for name in ("job", "generation")),
        *((manifest_key(job, 1), _with(begun.to_json(), {name: value})) for name, value in FOREIGN.items()),
    ]
    for key, document in written:
        whole = desk.get(key) if key != manifest_key(job, 1) else b""
        desk.put(key, document)
        before = set(desk.keys())
        with pytest.raises(IntegrityError, match="lost or damaged"):
            retry_failed(desk.ctx, job)
        assert set(desk.keys()) == before
        assert desk.received(desk.ctx.event_queue_url) == []
        if whole:
            desk.put(key, whole)


FOREIGN: dict[str, Any] = {"job": OTHER, "pipeline": "other", "project": "../x", "generation": 4}


def _with(text: str | bytes, fields: dict[str, Any]) -> bytes:
    return json.dumps(json.loads(text) | fields).encode()


# --- submit ---


MARKERS: list[dict[str, Any]] = [
    {"job": "the other", "shard_items": 1},
    {"job": "../../x", "shard_items": 1},
    {"job": OTHER, "shard_items": 1},
    {"job": ["x"], "shard_items": 1},
    {"job": JOB, "shard_items": 0},
    {"job": JOB, "shard_items": 10**9},
    {"job": JOB, "shard_items": float("inf")},
]


def test_a_submission_goes_on_with_no_job_of_another(crew: Crew, tmp_path: Path) -> None:
    # given a job of somebody
    desk = crew.desk
    theirs = submitted(crew, tmp_path / "theirs", "b.jpg")
    before = {key: desk.get(key) for key in desk.keys(f"jobs/{theirs}/")}
    mark = desk.spec(submitted(crew, tmp_path / "own")).fingerprint
    for marker in MARKERS:
        # and a marker that says that this submission had become it
        job = theirs if marker["job"] == "the other" else marker["job"]
        told = {"version": 1, "created_at": time.time(), **marker, "job": job}
        desk.put(f"jobs/drafts/{mark}.json", json.dumps(told).encode())
        # when it is made, then it is a job of its own
        made = submit(desk.ctx, [str(tmp_path / "own")], project="field7")
        assert not made.is_resumed, marker
        assert made.job not in (theirs, job)
        assert {key: desk.get(key) for key in desk.keys(f"jobs/{theirs}/")} == before
