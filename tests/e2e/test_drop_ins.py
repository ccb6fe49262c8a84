"""Objects that any S3 client puts under incoming/ are processed like a submission."""

import os
import shutil
import subprocess
import time

import pytest
from tests.e2e.conftest import Person, speckled

PATIENCE_S = 120


def finished(person: Person, project: str, items: int) -> dict[str, object]:
    """Wait until the project's jobs are finished and hold so many items."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        jobs = person.types("jobs", "--project", project, "--json").document
        if jobs and all(job["is_over"] for job in jobs) and sum(job["items"] for job in jobs) == items:
            return dict(jobs[0])
        time.sleep(1)
    raise AssertionError(f"not finished in {PATIENCE_S} s: {jobs}")


def test_what_boto3_puts_is_processed_once(person: Person) -> None:
    folder = speckled(person.folder / "dropped", 4, seed=1)
    s3 = person.client("s3")
    for path in sorted(folder.iterdir()):
        s3.upload_file(str(path), person.bucket, f"incoming/dropped/{path.name}")
    s3.put_object(Bucket=person.bucket, Key="incoming/dropped/notes.txt", Body=b"no image")
    s3.put_object(Bucket=person.bucket, Key="incoming/dropped/folder/", Body=b"")
    job = finished(person, "dropped", 4)
    assert (job["state"], job["done"], job["failed"]) == ("finished", 4, 0)


def test_a_small_batch_is_not_stranded_below_the_threshold(person: Person) -> None:
    folder = speckled(person.folder / "few", 1, seed=2)
    person.client("s3").upload_file(str(next(folder.iterdir())), person.bucket, "incoming/few/one + two.jpg")
    assert finished(person, "few", 1)["done"] == 1


@pytest.mark.skipif(shutil.which("aws") is None, reason="needs the AWS CLI")
def test_aws_s3_sync_is_processed(person: Person) -> None:
    folder = speckled(person.folder / "synced", 3, seed=3)
    variables = person.types("local", "env", "--json").document
    command = ["aws", "s3", "sync", str(folder), f"s3://{person.bucket}/incoming/synced/", "--only-show-errors"]
    tool = subprocess.run(command, env={"PATH": os.environ["PATH"], **variables}, timeout=120, check=False)
    if tool.returncode not in (0, 1):
        pytest.skip("the AWS CLI on this machine does not run")
    assert finished(person, "synced", 3)["done"] == 3
