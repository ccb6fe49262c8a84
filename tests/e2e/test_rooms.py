"""Two pipelines of different kinds in one stack: photographs through a queue, floor plans through an endpoint."""

from __future__ import annotations

import gzip
import json
import os
import signal
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.e2e.conftest import Person, eventually, quiet_coco, settle, speckled, standing

PLANS = Path(str(resources.files("gpupipe.examples"))) / "plans"
ROOMS = """
        [pipelines.rooms]
        kind = "endpoint"
        task = "detect-rooms"
        quiet_seconds = 2
        invocation_timeout_s = 60
        compute = { idle_minutes = 0.1, max_instances = 1 }
"""


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose stack holds a `segment` and a `rooms` pipeline."""
    with standing(settle(tmp_path_factory.mktemp("rooms"), name="both", settings=ROOMS)) as person:
        yield person


def plans_bucket(person: Person) -> str:
    names = [bucket["Name"] for bucket in person.client("s3").list_buckets()["Buckets"]]
    return next(name for name in names if "-rooms-" in name)


def runtime(person: Person) -> Any:
    """The sagemaker-runtime client, as anybody would make it: by environment variables alone."""
    variables = person.types("local", "env", "--json").document
    return boto3.client(
        "sagemaker-runtime",
        region_name=variables["AWS_DEFAULT_REGION"],
        endpoint_url=variables["AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def running_containers(person: Person) -> list[int]:
    return [one.pid for one in person.processes() if "gpuworker.serve" in " ".join(one.info["cmdline"])]


def test_both_kinds_work_side_by_side(owner: Person) -> None:
    # Given a job for each of the two pipelines, submitted at once
    plans = owner.types("submit", str(PLANS), "--pipeline", "rooms", "--project", "house", "--json").document
    photos = owner.types(
        "submit", str(speckled(owner.folder / "photos", 4)), "--pipeline", "segment", "--project", "field7", "--json"
    ).document

    # When both are watched to their end
    views = [owner.types("watch", job["job"], "--json").document for job in (plans, photos)]

    # Then both are done, and the plans' rooms are there in both forms
    assert [(view["items"], view["failed"], view["state"]) for view in views] == [
        (3, 0, "finished"),
        (4, 0, "finished"),
    ]
    owner.types("fetch", plans["job"], "-o", "plans-results")
    coco = quiet_coco(owner.folder / "plans-results" / "annotations.json")
    assert [category["name"] for category in coco.cats.values()] == ["room"]
    records = sorted((owner.folder / "plans-results").rglob("rooms.json"))
    assert len(records) == 3
    for record in records:
        told = json.loads(record.read_text())
        assert told["status"] == "success"
        assert told["room_count"] == len(told["rooms"]) > 1
        assert all(len(room["polygon"]) >= 3 and room["area"] > 1000 for room in told["rooms"])
    assert "rooms" in (owner.folder / "plans-results" / "report.html").read_text(encoding="utf-8")


def test_each_result_names_the_variant_that_made_it(owner: Person) -> None:
    job = next(one["job"] for one in owner.types("jobs", "--json").document if one["project"] == "house")
    s3, bucket = owner.client("s3"), plans_bucket(owner)
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=f"jobs/{job}/results/")["Contents"]]
    for key in keys:
        result = json.loads(gzip.decompress(s3.get_object(Bucket=bucket, Key=key)["Body"].read()))
        assert result["machine"].startswith("main/")
        assert result["engine"]["variant"] == "main"


def test_up_again_changes_nothing(owner: Person) -> None:
    assert owner.types("plan", "--json").document["changes"] == 0


def test_one_image_is_answered_now(owner: Person) -> None:
    plan = next(iter(sorted(PLANS.glob("*.png"))))
    answer = owner.types("invoke", str(plan), "--json").document
    assert json.dumps(answer).count("polygon") > 1


def test_what_is_dropped_in_is_processed(owner: Person) -> None:
    s3, bucket = owner.client("s3"), plans_bucket(owner)
    for plan in PLANS.glob("*.png"):
        s3.upload_file(str(plan), bucket, f"incoming/dropped/{plan.name}")

    def finished() -> object:
        jobs = [one for one in owner.types("jobs", "--json").document if one["project"] == "dropped"]
        return sum(job["done"] for job in jobs) == 3 and all(job["state"] == "finished" for job in jobs)

    eventually("the dropped plans are done", finished)


def test_a_bad_image_fails_alone(owner: Person) -> None:
    folder = owner.folder / "mixed-plans"
    folder.mkdir()
    good = next(iter(sorted(PLANS.glob("*.png"))))
    (folder / "good.png").write_bytes(good.read_bytes())
    (folder / "cut.png").write_bytes(good.read_bytes()[:400])
    report = owner.types(
        "run", str(folder), "--pipeline", "rooms", "--project", "mixed", "-o", "mixed-results", "--json", code=3
    ).document
    assert (report["done"], report["failed"]) == (1, 1)
    failures = json.loads((owner.folder / "mixed-results" / "failures.json").read_text())
    assert [(one["file_name"], one["code"]) for one in failures] == [("cut.png", "truncated")]


def test_a_client_of_its_own_gets_an_answer_or_a_failure_object(owner: Person) -> None:
    # Given an image and something that is no image, uploaded by a client that knows only SageMaker's API
    s3, bucket = owner.client("s3"), plans_bucket(owner)
    plan = next(iter(sorted(PLANS.glob("*.png"))))
    s3.upload_file(str(plan), bucket, "requests/mine/plan.png")
    s3.put_object(Bucket=bucket, Key="requests/mine/text.txt", Body=b"no image")
    endpoint = "both-dev-rooms-endpoint"

    def invoke(key: str, content_type: str) -> Any:
        where = f"s3://{bucket}/{key}"
        return runtime(owner).invoke_endpoint_async(
            EndpointName=endpoint, InputLocation=where, ContentType=content_type
        )

    def read(location: str) -> bytes | None:
        key = location.split("/", 3)[3]
        try:
            return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except s3.exceptions.NoSuchKey:
            return None

    # When both are sent
    good, bad = invoke("requests/mine/plan.png", "image/png"), invoke("requests/mine/text.txt", "text/plain")

    # Then one has an output and the other a failure that names the problem
    output = eventually("the output", lambda: read(good["OutputLocation"]))
    assert json.loads(output)["room_count"] > 1
    failure = eventually("the failure", lambda: read(bad["FailureLocation"]))
    assert b"415" in failure or b"text/plain" in failure


def test_its_logs_are_on_the_same_time_line(owner: Person) -> None:
    told = owner.types("logs", "--pipeline", "rooms", "--json").document
    assert {"endpoint", "dispatch"} <= {line["source"] for line in told}


def test_it_goes_to_zero_and_comes_back(owner: Person) -> None:
    eventually("no container is left", lambda: not running_containers(owner))
    report = owner.types("run", str(PLANS), "--pipeline", "rooms", "--project", "again", "--json").document
    assert report["done"] == 3


def test_a_change_is_planned_as_it_will_happen(owner: Person) -> None:
    # Given another instance type
    file = owner.folder / "gpupipe.toml"
    before = file.read_text()
    file.write_text(before.replace("max_instances = 1 }", 'max_instances = 1, instance_types = ["ml.m5.2xlarge"] }'))

    # Then the plan replaces the config, keeps the model, and updates the endpoint
    plan = owner.types("plan", "--json").document
    told = json.dumps(plan)
    assert plan["changes"] > 0
    assert "endpoint-config/" in told
    owner.types("up", "--yes")
    assert owner.types("plan", "--json").document["changes"] == 0
    report = owner.types("run", str(PLANS), "--pipeline", "rooms", "--project", "changed", "--json").document
    assert report["done"] == 3


def test_it_comes_back_after_the_emulator_was_killed(owner: Person) -> None:
    # Given an emulator that forgot the endpoint, and nobody who noticed
    processes = owner.types("status", "--json").document["local"]["processes"]
    for one in processes:
        if one["name"] in ("supervisor", "moto"):
            os.kill(one["pid"], signal.SIGKILL)

    # Then the next command finds all of it, and the next job is done
    assert owner.types("plan", "--json").document["changes"] == 0
    report = owner.types("run", str(PLANS), "--pipeline", "rooms", "--project", "after", "--json").document
    assert report["done"] == 3


def test_down_leaves_nothing(owner: Person) -> None:
    receipt = owner.types("down", "--yes", "--json").document
    assert receipt["leftovers"] == []
    assert owner.processes() == []
