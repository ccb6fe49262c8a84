"""Ctrl-C in the middle of long commands: over at once, nothing half-done, and a word on how to go on."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.e2e.conftest import Done, Person, settle, speckled

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


def test_following_the_log(up: Person) -> None:
    process = up.start("logs", "-f", "--since", "1d")
    assert process.stdout is not None
    assert process.stdout.readline()
    assert interrupted(process).code == 130
