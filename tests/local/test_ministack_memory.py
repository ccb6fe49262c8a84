"""What ministack keeps is bounded, what it is asked for is still there, and it bounds nothing by itself yet."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.local.clients import Client

from gpupipe.jobs.logs import parse_line
from gpupipe.local import ministack_memory
from gpupipe.local.ministack_memory import NOTICE_STREAM, BoundedLogs, Newest, weight

GROUP, WORKER = "/aws/lambda/guard", "i-0123"
KEPT_BYTES = 64_000
"""Of a group in these tests: some sixty lines."""
JOB = "20261127-195419-field7-1f02"


def service(name: str) -> Any:
    return importlib.import_module(f"ministack.services.{name}")


# --- bodies of versions --------------------------------------------------------------------------------------------


@pytest.fixture
def s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """ministack's S3 in this process, with a bucket that has versions; on disk, as in a local target."""
    module = service("s3")
    monkeypatch.setattr(module, "S3_PERSIST", True)
    monkeypatch.setattr(module, "DATA_DIR", str(tmp_path))
    module._create_bucket("photos", b"", {})
    module._bucket_versioning["photos"] = "Enabled"
    yield module
    module._buckets.pop("photos")
    for key in list(module._object_versions):
        module._object_versions.pop(key)


@pytest.fixture
def bounded(s3: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The same, mended."""
    monkeypatch.setattr(s3, "_persist_object", ministack_memory.releasing(s3._persist_object, s3))
    return s3


def bytes_held(s3: Any) -> int:
    """Of all versions' bodies in memory."""
    return sum(len(one.get("data") or b"") for versions in s3._object_versions.values() for one in versions)


def read(s3: Any, key: str, version: str = "") -> bytes:
    _, _, body = s3._get_object("photos", key, {}, {"versionId": [version]} if version else {})
    return bytes(body)


def test_no_body_of_300_images_stays_in_memory(bounded: Any) -> None:
    for number in range(300):
        bounded._put_object("photos", f"{number}.jpg", b"x" * 1000, {})
    assert len(bounded._object_versions) == 300
    assert bytes_held(bounded) == 0
    assert read(bounded, "7.jpg") == b"x" * 1000


def test_every_version_is_read_from_disk(bounded: Any) -> None:
    # given three versions of an object, of which the last is removed
    bodies = [b"first", b"second", b"third"]
    ids = [bounded._put_object("photos", "a.jpg", body, {})[1]["x-amz-version-id"] for body in bodies]
    # when they are read
    assert [read(bounded, "a.jpg", version) for version in ids] == bodies
    # then they came from the disk; what was behind the removed one is current, and read too
    assert bytes_held(bounded) == 0
    bounded._delete_object("photos", "a.jpg", {}, {"versionId": [ids[2]]})
    assert read(bounded, "a.jpg") == b"second"
    assert read(bounded, "a.jpg", ids[0]) == b"first"


def test_what_is_known_of_an_object_is_told_as_before(bounded: Any) -> None:
    # given one with everything, and one with nothing
    about = {"content-type": "image/jpeg", "content-encoding": "gzip", "x-amz-meta-of": "field7", "cache-control": "no"}
    for key, headers in (("full", about), ("bare", {})):
        bounded._put_object("photos", key, b"body", headers)
    # when it is asked for, then all of it is there, of the object as of its version
    for version in (None, {"versionId": [bounded._object_versions["photos", "full"][0]["version_id"]]}):
        _, told, _ = bounded._head_object("photos", "full", {}, version)
        assert about.items() <= {name.lower(): value for name, value in told.items()}.items()
    assert bounded._head_object("photos", "bare", {}, None)[0] == 200
    assert len(bounded._buckets["photos"]["objects"]["bare"]) <= 10
    assert len(bounded._object_versions["photos", "bare"][0]) <= 10


def test_an_object_behind_a_delete_marker_is_still_there(bounded: Any) -> None:
    version = bounded._put_object("photos", "a.jpg", b"body", {})[1]["x-amz-version-id"]
    bounded._delete_object("photos", "a.jpg", {}, {})
    assert read(bounded, "a.jpg", version) == b"body"
    assert bytes_held(bounded) == 0


def test_what_was_there_before_versions_is_read_from_disk(bounded: Any) -> None:
    bounded._bucket_versioning.pop("photos")
    bounded._put_object("photos", "a.jpg", b"before", {})
    bounded._bucket_versioning["photos"] = "Enabled"
    bounded._put_object("photos", "a.jpg", b"after", {})
    assert (read(bounded, "a.jpg", "null"), read(bounded, "a.jpg")) == (b"before", b"after")
    assert bytes_held(bounded) == 0


def test_a_body_that_could_not_be_written_stays(bounded: Any, tmp_path: Path) -> None:
    # given a disk that takes nothing: a file lies where the bucket's folder should be
    account = next(tmp_path.iterdir())
    (account / "photos").rmdir()
    (account / "photos").write_text("")
    # when an object comes
    version = bounded._put_object("photos", "a.jpg", b"body", {})[1]["x-amz-version-id"]
    # then it is not forgotten
    assert read(bounded, "a.jpg", version) == b"body"


def test_ministack_itself_holds_the_body_of_every_version(s3: Any) -> None:
    s3._put_object("photos", "a.jpg", b"x" * 1000, {})
    assert bytes_held(s3) == 1000


# --- logs ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def logs() -> Iterator[Any]:
    """ministack's CloudWatch Logs in this process, with a group."""
    module = service("cloudwatch_logs")
    module._log_groups[GROUP] = {"arn": "", "creationTime": 0, "tags": {}, "subscriptionFilters": {}, "streams": {}}
    yield module
    module._log_groups.clear()
    module._log_records.clear()


def stream(logs: Any, name: str) -> dict[str, Any]:
    """A stream of the group, made where it is not there."""
    times = dict.fromkeys(("firstEventTimestamp", "lastEventTimestamp", "lastIngestionTime"))
    made: dict[str, Any] = logs._log_groups[GROUP]["streams"].setdefault(
        name, {"events": [], "uploadSequenceToken": "1", "creationTime": 0, **times}
    )
    return made


def invoke(logs: Any, append: Any, number: int, *, lines: int = 3) -> None:
    """As an invocation of a function writes its log: a stream of its own, all at one time."""
    texts = [f"line {line} of {number}, job {JOB}" for line in range(lines)]
    events = [{"timestamp": number, "message": text, "ingestionTime": number} for text in texts]
    append(stream(logs, f"2026/11/27/[$LATEST]{number:032x}"), events)


def events_of(logs: Any) -> list[dict[str, Any]]:
    """All of the group, by time."""
    _, _, body = logs._filter_log_events({"logGroupName": GROUP})
    found: list[dict[str, Any]] = json.loads(body)["events"]
    return found


def test_300_invocations_leave_a_bounded_log_of_the_newest(logs: Any) -> None:
    # when
    append = BoundedLogs(logs, group_bytes=KEPT_BYTES).append
    for number in range(300):
        invoke(logs, append, number)
    # then events and streams are bounded
    events = events_of(logs)
    assert sum(map(weight, events)) <= KEPT_BYTES * 9 // 8
    assert len(logs._log_groups[GROUP]["streams"]) <= len(events) // 3 + 1
    # and what is there is the newest, without a gap, behind the line that says what is missing
    notice, *lines = events
    numbers = sorted({event["timestamp"] for event in lines})
    assert numbers == list(range(numbers[0], 300))
    assert notice["logStreamName"] == NOTICE_STREAM
    assert notice["timestamp"] == numbers[0] - 1


def test_the_line_about_missing_ones_is_read_as_any_other_and_found_by_job(logs: Any) -> None:
    append = BoundedLogs(logs, group_bytes=KEPT_BYTES).append
    for number in range(300):
        invoke(logs, append, number)
    _, _, body = logs._filter_log_events({"logGroupName": GROUP, "filterPattern": f'"{JOB}"', "limit": 1})
    [event] = json.loads(body)["events"]
    line = parse_line(event["message"], source="guard", at=0.0)
    assert line is not None
    assert (line.level, line.event) == ("warning", "older_lines_dropped")
    assert line.fields["of_jobs"] == [JOB]


def test_a_machine_goes_on_in_its_stream_whatever_was_dropped_of_it(logs: Any) -> None:
    # given a worker's stream, which has grown beyond the bound, beside another that is silent by now
    append = BoundedLogs(logs, group_bytes=KEPT_BYTES).append
    logs._append_log_events = append
    try:
        for name in ("silent", WORKER):
            stream(logs, name)
        put(logs, "silent", at=0)
        for at in range(1, 300):
            put(logs, WORKER, at=at)
        # when both go on, then they can, and no record of a dropped line is kept
        put(logs, "silent", at=300)
        put(logs, WORKER, at=301)
    finally:
        logs._append_log_events = append.__self__._append
    events = events_of(logs)
    assert [event["timestamp"] for event in events[-2:]] == [300, 301]
    assert len(logs._log_records) == len(events) - 1


def put(logs: Any, name: str, *, at: int) -> None:
    """A line of a machine, as the worker sends it."""
    status, _, body = logs._put_log_events(
        {"logGroupName": GROUP, "logStreamName": name, "logEvents": [{"timestamp": at, "message": "line"}]}
    )
    assert status == 200, body


def test_a_log_within_its_bound_is_whole(logs: Any) -> None:
    append = BoundedLogs(logs, group_bytes=KEPT_BYTES).append
    for number in range(10):
        invoke(logs, append, number)
    assert len(events_of(logs)) == 30


def test_ministack_itself_keeps_every_line(logs: Any) -> None:
    for number in range(300):
        invoke(logs, logs._append_log_events, number)
    assert len(logs._log_groups[GROUP]["streams"]) == 300


# --- metrics, answers ----------------------------------------------------------------------------------------------


def test_a_metric_has_so_many_points_the_newest() -> None:
    points: list[int] = []
    bucket = ministack_memory.newest_points(lambda _: points)
    for number in range(ministack_memory.POINTS_A_METRIC + 300):
        bucket("any").append(number)
    assert len(points) <= ministack_memory.POINTS_A_METRIC + 1
    assert points[-1] == ministack_memory.POINTS_A_METRIC + 299


def test_the_newest_answers_are_kept() -> None:
    answers = Newest(3)
    for number in range(5):
        answers[number] = str(number)
    assert answers == {2: "2", 3: "3", 4: "4"}


# --- in the emulator's process -------------------------------------------------------------------------------------


def test_an_emulator_still_knows_each_version_and_its_body(client: Client) -> None:
    s3 = client("s3")
    s3.create_bucket(Bucket="versions")
    s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})
    ids = [s3.put_object(Bucket="versions", Key="k", Body=body)["VersionId"] for body in (b"one", b"two")]
    bodies = [s3.get_object(Bucket="versions", Key="k", VersionId=version)["Body"].read() for version in ids]
    assert bodies == [b"one", b"two"]
    s3.copy_object(Bucket="versions", Key="c", CopySource={"Bucket": "versions", "Key": "k", "VersionId": ids[0]})
    assert s3.get_object(Bucket="versions", Key="c")["Body"].read() == b"one"
