"""Ctrl-C in the middle of long commands: over at once, nothing half-done, and a word on how to go on."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from tests.e2e.conftest import Done, Person, settle, speckled
from tests.jobs.finished_work import Work

from gpupipe.aws import Aws
from gpupipe.jobs.transfer import PART_SUFFIX
from gpupipe.names import Stack
from gpuworker.contract import result_key
from gpuworker.ledger import Ledger

ENDS_WITHIN_S = 20
"""Far above the two seconds that are promised: the machine may be busy. Who waits for threads takes longer still."""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    person = settle(tmp_path_factory.mktemp("interrupt"), name="interrupt")
    try:
        yield person
    finally:
        person.types("down", "--yes", code=None)
        for process in person.processes():
            process.kill()


@pytest.fixture(scope="module")
def up(person: Person) -> Person:
    person.types("up", "--yes")
    return person


@pytest.fixture(scope="module")
def images(person: Person) -> Path:
    return speckled(person.folder / "images", 400, side=8)


def interrupted(process: subprocess.Popen[str]) -> Done:
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=ENDS_WITHIN_S)
    finally:
        process.kill()
    return Done(code=process.returncode, out=out, err=err)


def when(process: subprocess.Popen[str], word: str) -> subprocess.Popen[str]:
    """Wait until the command says `word` on stderr."""
    assert process.stderr is not None
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert any(word in line for line in process.stderr)
    finally:
        watchdog.cancel()
    return process


def test_up(person: Person) -> None:
    done = interrupted(when(person.start("up", "--yes"), "to create"))
    assert done.code == 130
    assert "gpupipe up" in done.err
    person.types("up", "--yes")
    assert person.types("plan", "--json").document["changes"] == 0


def test_submit(up: Person, images: Path) -> None:
    command = ("submit", str(images), "--project", "many", "--hold", "--json")
    process = up.start(*command)
    bucket = up.bucket
    client = up.client("s3")
    while process.poll() is None and not client.list_objects_v2(Bucket=bucket, Prefix="inputs/many/").get("KeyCount"):
        pass
    done = interrupted(process)
    if done.code == 130:  # else it was faster than we
        assert "nothing has started" in done.document["error"]["message"]
        assert "same command" in done.document["error"]["hint"]
        assert not [one for one in up.types("jobs", "--json").document if one["items"]]
    again = up.types(*command).document
    assert again["items"] == 400
    assert again["unchanged"] > 0


def test_watch_ends_and_the_job_does_not(up: Person, images: Path) -> None:
    job = up.types("submit", str(images / "speck 000.jpg"), "--project", "one", "--hold", "--json").document["job"]
    done = interrupted(when(up.start("watch", job), job))
    assert done.code == 130
    assert f"gpupipe watch {job}" in done.err
    listed = {one["job"]: one for one in up.types("jobs", "--json").document}
    assert (listed[job]["is_over"], listed[job]["items"]) == (False, 1)


FILES_AN_ITEM = 200
ITEMS = 20


def a_large_job(person: Person) -> str:
    """A finished job of thousands of files, which all have the content of one object; its name."""
    account = person.types("local", "env", "--json").document["AWS_ACCESS_KEY_ID"]
    stack = Stack(name="interrupt", environment="dev", account=account, region="us-east-1")
    keys = {"aws_access_key_id": account, "aws_secret_access_key": "any"}
    endpoints = {"default": person.client("s3").meta.endpoint_url}
    aws = Aws(stack=stack, endpoints=endpoints, session=boto3.Session(**keys, region_name=stack.region))
    work = Work(aws=aws, ledger=Ledger(aws.client("dynamodb"), stack.table))
    job, paths = "20261121-113052-large-1f3a", [f"{number:03d}.jpg" for number in range(ITEMS)]
    work.submit(job, paths, project="large")
    result = work.commit(job, 0, paths)
    artifact = work.put("processed/large/any", b"x" * 20_000)
    files = {f"files/{number:03d}.bin": artifact for number in range(FILES_AN_ITEM)}
    larger = replace(result, items=[replace(item, artifacts=files) for item in result.items])
    work.put(result_key(job, 0, 0), larger.to_gzip())
    return job


def test_fetch_goes_on_where_it_was(up: Person) -> None:
    job, out = a_large_job(up), up.folder / "large"
    # given a download that has begun
    process = up.start("fetch", job, "-o", "large", "--json")
    while process.poll() is None and not any(out.glob("items/*/files/*.bin")):
        time.sleep(0.01)
    # when it is interrupted
    done = interrupted(process)
    # then it ends at once with a word on how to go on, and calls nothing complete that is not
    assert done.code == 130
    assert f"gpupipe fetch {job}" in done.document["error"]["hint"]
    assert not (out / "annotations.json").exists()
    there = {path: path.stat().st_size for path in out.glob("items/*/files/*.bin")}
    assert 0 < len(there) < ITEMS * FILES_AN_ITEM
    assert set(there.values()) == {20_000}, "half a file"
    # and the same command fetches only the rest
    again = up.types("fetch", job, "-o", "large", "--json").document
    assert again["files_kept"] >= len(there)
    assert again["files_fetched"] + again["files_kept"] == ITEMS * FILES_AN_ITEM
    assert not list(out.rglob(f"*{PART_SUFFIX}"))


def test_following_the_log(up: Person) -> None:
    process = up.start("logs", "-f", "--since", "1d")
    assert process.stdout is not None
    assert process.stdout.readline()
    assert interrupted(process).code == 130
