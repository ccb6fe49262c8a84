"""Objects that any S3 client puts under incoming/ are processed like a submission."""

import json
import os
import shutil
import subprocess
from typing import Any

import pytest
from tests.e2e.conftest import Person, eventually, quiet_coco, speckled


def finished(person: Person, project: str, items: int) -> dict[str, Any]:
    """The project's job, once all its jobs are finished and hold so many items."""

    def all_over() -> list[dict[str, Any]]:
        jobs = person.jobs(project)
        is_done = all(job["is_over"] for job in jobs) and sum(job["items"] for job in jobs) == items
        return jobs if is_done else []

    found: list[dict[str, Any]] = eventually(f"{project} is finished", all_over)
    return found[0]


def test_what_boto3_puts_is_processed_once(person: Person) -> None:
    folder = speckled(person.folder / "dropped", 4, seed=1)
    s3, bucket = person.client("s3"), person.bucket("segment")
    for path in sorted(folder.iterdir()):
        s3.upload_file(str(path), bucket, f"incoming/dropped/{path.name}")
    s3.put_object(Bucket=bucket, Key="incoming/dropped/notes.txt", Body=b"no image")
    s3.put_object(Bucket=bucket, Key="incoming/dropped/folder/", Body=b"")
    job = finished(person, "dropped", 4)
    assert (job["state"], job["done"], job["failed"]) == ("finished", 4, 0)


def test_a_small_batch_is_not_stranded_below_the_threshold(person: Person) -> None:
    folder = speckled(person.folder / "few", 1, seed=2)
    person.client("s3").upload_file(str(next(folder.iterdir())), person.bucket("segment"), "incoming/few/one + two.jpg")
    assert finished(person, "few", 1)["done"] == 1


def test_watching_right_after_the_upload_waits_for_the_job_and_says_for_what(person: Person) -> None:
    folder = speckled(person.folder / "fresh", 3, seed=4)
    for path in sorted(folder.iterdir()):
        person.client("s3").upload_file(str(path), person.bucket("segment"), f"incoming/fresh/{path.name}")
    # then it ends with the first job of them; on a slow machine the last image may open another
    watched = person.types("watch", "--project", "fresh", "--json").document
    assert (watched["project"], watched["is_over"]) == ("fresh", True)
    assert watched["done"] >= 1
    assert finished(person, "fresh", 3)["is_over"]


def test_what_is_dropped_into_a_project_is_asked_for_its_own_options(person: Person) -> None:
    folder = speckled(person.folder / "asked", 1, seed=5)
    s3, bucket = person.client("s3"), person.bucket("segment")
    # given two projects, one of which gpupipe.toml names
    for project in ("asked-7", "unasked"):
        s3.upload_file(str(next(folder.iterdir())), bucket, f"incoming/{project}/one.jpg")
    # when
    jobs = {project: finished(person, project, 1)["job"] for project in ("asked-7", "unasked")}
    person.types("fetch", jobs["asked-7"], "-o", str(person.folder / "asked-results"))
    # then
    told = {
        project: json.loads(s3.get_object(Bucket=bucket, Key=f"jobs/{job}/job.json")["Body"].read())["options"]
        for project, job in jobs.items()
    }
    assert (told["asked-7"]["prompts"], told["unasked"]["prompts"]) == (["zebra"], [])
    assert {name: one for name, one in told["asked-7"].items() if name != "prompts"} == {
        name: one for name, one in told["unasked"].items() if name != "prompts"
    }
    coco = quiet_coco(person.folder / "asked-results" / "annotations.json")
    assert [category["name"] for category in coco.cats.values()] == ["zebra"]


@pytest.mark.skipif(shutil.which("aws") is None, reason="needs the AWS CLI")
def test_aws_s3_sync_is_processed(person: Person) -> None:
    folder = speckled(person.folder / "synced", 3, seed=3)
    variables = person.types("local", "env", "--json").document
    command = [
        "aws",
        "s3",
        "sync",
        str(folder),
        f"s3://{person.bucket('segment')}/incoming/synced/",
        "--only-show-errors",
    ]
    tool = subprocess.run(command, env={"PATH": os.environ["PATH"], **variables}, timeout=120, check=False)
    if tool.returncode not in (0, 1):
        pytest.skip("the AWS CLI on this machine does not run")
    assert finished(person, "synced", 3)["done"] == 3
