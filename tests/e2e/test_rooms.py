"""An asynchronous endpoint's whole life: a folder through it, single images, to zero instances and back."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import Person, eventually, quiet_coco, settle, standing

PLANS = Path(str(resources.files("gpupipe.examples"))) / "plans"
ROOMS = """
        [pipelines.rooms]
        kind = "endpoint"
        task = "detect-rooms"
        invocation_timeout_s = 60
        compute = { idle_minutes = 0.15, max_instances = 1 }
"""


@pytest.fixture(scope="module")
def owner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose stack holds a `rooms` pipeline."""
    with standing(settle(tmp_path_factory.mktemp("rooms"), name="plans", pipelines=ROOMS)) as person:
        yield person


@pytest.fixture(scope="module")
def house(owner: Person) -> Path:
    """The results of a job that began when there was no instance."""
    report = owner.types("run", str(PLANS), "--project", "house", "-o", "house-results", "--json").document
    assert (report["done"], report["failed"]) == (3, 0)
    return owner.folder / "house-results"


def running_containers(person: Person) -> list[int]:
    return [one.pid for one in person.processes() if "gpuworker.entries.serve" in " ".join(one.info["cmdline"])]


def test_the_rooms_of_every_plan_are_there_in_both_forms(house: Path) -> None:
    coco = quiet_coco(house / "annotations.json")
    assert [category["name"] for category in coco.cats.values()] == ["room"]
    records = sorted(house.rglob("rooms.json"))
    assert len(records) == 3
    for record in records:
        told = json.loads(record.read_text())
        assert told["status"] == "success"
        assert told["room_count"] == len(told["rooms"]) > 1
        assert all(len(room["polygon"]) >= 3 and room["area"] > 1000 for room in told["rooms"])
    assert "rooms" in (house / "report.html").read_text(encoding="utf-8")


def test_each_result_names_the_variant_that_made_it(owner: Person, house: Path) -> None:
    [job] = owner.jobs("house")
    s3, bucket = owner.client("s3"), owner.bucket("rooms")
    keys = [one["Key"] for one in s3.list_objects_v2(Bucket=bucket, Prefix=f"jobs/{job['job']}/results/")["Contents"]]
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


def test_a_bad_image_fails_alone(owner: Person) -> None:
    folder = owner.folder / "mixed-plans"
    folder.mkdir()
    good = next(iter(sorted(PLANS.glob("*.png"))))
    (folder / "good.png").write_bytes(good.read_bytes())
    (folder / "cut.png").write_bytes(good.read_bytes()[:400])
    report = owner.types("run", str(folder), "--project", "mixed", "-o", "mixed-results", "--json", code=3).document
    assert (report["done"], report["failed"]) == (1, 1)
    failures = json.loads((owner.folder / "mixed-results" / "failures.json").read_text())
    assert [(one["file_name"], one["code"]) for one in failures] == [("cut.png", "truncated")]


def test_a_client_of_its_own_gets_an_answer_or_a_failure_object(owner: Person) -> None:
    # Given an image and something that is no image, uploaded by a client that knows only SageMaker's API
    s3, bucket = owner.client("s3"), owner.bucket("rooms")
    plan = next(iter(sorted(PLANS.glob("*.png"))))
    s3.upload_file(str(plan), bucket, "requests/mine/plan.png")
    s3.put_object(Bucket=bucket, Key="requests/mine/text.txt", Body=b"no image")
    endpoint = "plans-dev-rooms-endpoint"

    def invoke(key: str, content_type: str) -> Any:
        where = f"s3://{bucket}/{key}"
        return owner.client("sagemaker-runtime").invoke_endpoint_async(
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


def test_its_logs_are_on_the_same_time_line(owner: Person, house: Path) -> None:
    told = owner.types("logs", "--json").document
    assert {"endpoint", "dispatch"} <= {line["source"] for line in told}


def test_it_goes_to_zero_and_comes_back(owner: Person, house: Path) -> None:
    eventually("no container is left", lambda: not running_containers(owner))
    report = owner.types("run", str(PLANS), "--project", "again", "--json").document
    assert report["done"] == 3
