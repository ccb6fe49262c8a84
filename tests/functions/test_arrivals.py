"""Reading the event queue's messages."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.functions.conftest import BUCKET, asked, made

from gpupipe.functions.arrivals import Arrival, ManifestArrived, NotTaken, ObjectArrived, arrivals
from gpuworker.ledger.records import padded


def read(*records: dict[str, Any]) -> list[Arrival]:
    return list(arrivals(records, bucket=BUCKET, suffixes=[".jpg", ".tif"]))


def test_an_object_below_a_project() -> None:
    (arrival,) = read(made("incoming/field7/a/b.JPG", "m1", sequencer="0055AED6", eTag='"abc"'))
    assert arrival == ObjectArrived(
        message="m1",
        project="field7",
        key="incoming/field7/a/b.JPG",
        etag="abc",
        size=5,
        version_id="v1",
        sequencer=padded("0055AED6"),
    )


@given(st.text(min_size=1, max_size=60).filter(lambda name: not name.startswith(".")))
def test_any_key_comes_through_the_encoding(name: str) -> None:
    key = f"incoming/field7/x/{name}x.jpg"
    (arrival,) = read(made(key))
    assert isinstance(arrival, ObjectArrived)
    assert arrival.key == key
    assert arrival.path == f"x/{name}x.jpg"


def test_plus_and_space_and_percent() -> None:
    record = json.loads(made("incoming/p/x.jpg")["body"])
    record["Records"][0]["s3"]["object"]["key"] = "incoming/p/my+photo%2B1%25.jpg"
    (arrival,) = read({"messageId": "m", "body": json.dumps(record)})
    assert isinstance(arrival, ObjectArrived)
    assert arrival.key == "incoming/p/my photo+1%.jpg"


@pytest.mark.parametrize(
    ("key", "job", "generation"),
    [("jobs/j1/manifest.json", "j1", 0), ("jobs/j1/retries/2/manifest.json", "j1", 2)],
)
def test_manifests(key: str, job: str, generation: int) -> None:
    assert read(made(key, "m")) == [ManifestArrived(message="m", job=job, generation=generation)]


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("incoming/a.jpg", "no_project"),
        ("incoming/field 7/a.jpg", "bad_project_name"),
        ("incoming/" + "x" * 65 + "/a.jpg", "bad_project_name"),
        ("incoming/../a.jpg", "bad_project_name"),
        ("incoming//a.jpg", "bad_project_name"),
        ("incoming/field7/", "folder"),
        ("incoming/field7/a/", "folder"),
        ("incoming/field7/a.tfw", "not_an_input"),
        ("incoming/field7/a.jpg.prompts.json", "not_an_input"),
        ("incoming/field7/jpg", "not_an_input"),
        ("incoming/field7/.hidden.jpg", "not_an_input"),
        ("inputs/field7/a.jpg", "elsewhere"),
        ("jobs/j1/results/00000.0.json.gz", "elsewhere"),
        ("jobs/j1/retries/0/manifest.json", "elsewhere"),
        ("jobs/j1/x/manifest.json", "elsewhere"),
    ],
)
def test_what_is_no_input(key: str, reason: str) -> None:
    (arrival,) = read(made(key))
    assert isinstance(arrival, NotTaken)
    assert (arrival.reason, arrival.key) == (reason, key)


def test_deletions_and_other_buckets() -> None:
    deleted = made("incoming/field7/a.jpg")
    deleted["body"] = deleted["body"].replace("ObjectCreated:Put", "ObjectRemoved:Delete")
    other = made("incoming/field7/a.jpg")
    other["body"] = other["body"].replace(BUCKET, "somebody-elses")
    reasons = [arrival.reason for arrival in read(deleted, other) if isinstance(arrival, NotTaken)]
    assert reasons == ["not_created", "other_bucket"]


def test_s3s_test_event_is_silent() -> None:
    assert read(asked({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": BUCKET})) == []


def test_several_records_a_message() -> None:
    first, second = made("incoming/p/a.jpg"), made("incoming/p/b.jpg")
    records = [json.loads(record["body"])["Records"][0] for record in (first, second)]
    found = read(asked({"Records": records}, "m"))
    assert [(one.message, one.key) for one in found if isinstance(one, ObjectArrived)] == [
        ("m", "incoming/p/a.jpg"),
        ("m", "incoming/p/b.jpg"),
    ]


def test_a_rescan_of_the_cli_has_plain_keys_and_no_sequencer() -> None:
    objects = [
        {"key": "incoming/p/a+b.jpg", "etag": '"e"', "size": 3},
        {"key": "incoming/p/x.txt", "etag": "", "size": 1},
    ]
    taken, not_taken = read(asked({"gpupipe": "rescan", "objects": objects}))
    assert isinstance(taken, ObjectArrived)
    assert (taken.key, taken.etag, taken.sequencer, taken.version_id) == ("incoming/p/a+b.jpg", "e", "", "")
    assert isinstance(not_taken, NotTaken)


def test_a_manifest_asked_for_by_the_cli() -> None:
    assert read(asked({"gpupipe": "manifest", "job": "j1"}, "m")) == [
        ManifestArrived(message="m", job="j1", generation=0)
    ]


@pytest.mark.parametrize("body", ["", "no json", "[]", '{"gpupipe": "dance"}'])
def test_what_nobody_understands_is_not_taken(body: str) -> None:
    (arrival,) = read({"messageId": "m", "body": body})
    assert isinstance(arrival, NotTaken)
    assert arrival.is_noteworthy
