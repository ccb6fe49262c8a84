"""Ctrl-C in the middle of long commands: over at once, nothing half-done, and a word on how to go on."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Typed, Types
from tests.cli.holding import Hold, holding
from tests.e2e.conftest import settle
from tests.jobs.crew import Crew
from tests.jobs.desk import Desk, a_desk, a_photo
from tests.jobs.finished_work import Work
from tests.jobs.test_logs import write

from gpupipe.jobs.events import announce_manifest
from gpupipe.jobs.folder import ResultFolder
from gpupipe.jobs.transfer import PART_SUFFIX
from gpupipe.local.emulators import Emulators
from gpupipe.local.state import Folder, Record, Target
from gpuworker.contract import output_prefix, result_key

ENDS_WITHIN_S = 20
"""Far above the two seconds that are promised: the machine may be busy. Who waits for threads takes longer still."""
CONFIG = """
[stack]
name = "{name}"
[pipelines.segment]
kind = "queue"
task = "segment"
"""
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def hold(emulated: Emulators) -> Iterator[Hold]:
    """Between commands and ministack."""
    with holding(emulated.endpoints["default"], emulated.account) as hold:
        yield hold


@dataclass(frozen=True, kw_only=True)
class Typist:
    """Somebody in a folder, typing commands."""

    name: str
    folder: Path
    types: Types

    def document(self, *arguments: str) -> Any:
        """What a command that succeeds says with `--json`."""
        done = self.types(*arguments, "--json")
        assert done.code == 0, done
        return done.document

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Begin a command in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "gpupipe", *arguments],
            cwd=self.folder,
            env={**os.environ, "COLUMNS": "120"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def typist(emulated: Emulators, hold: Hold, folder: Path, types: Types) -> Iterator[Typist]:
    """In a folder of their own, whose local target is the emulators as if a supervisor looked after them."""
    name = f"interrupt{next(_numbers)}"
    config = folder / "gpupipe.toml"
    config.write_text(CONFIG.format(name=name))
    own, target = emulated.account, Folder.of(config, f"{name}-dev")
    target.create()
    target.write_record(Record(phase="ready", generation=1, supervisor=emulated.processes["moto"]))
    target.write_target(
        Target(
            account_id=own.account_id,
            region=own.region,
            access_key=own.access_key,
            secret_key=own.secret_key,
            endpoints={**emulated.endpoints, "default": hold.url},
            generation=1,
            supervisor_pid=os.getpid(),
            started_at=time.time(),
        )
    )
    yield Typist(name=name, folder=folder, types=types)
    hold.release()


@pytest.fixture
def desk(emulated: Emulators, typist: Typist) -> Desk:
    """What the commands of a job use."""
    return a_desk(emulated, typist.name)


def interrupted(process: subprocess.Popen[str]) -> Typed:
    process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=ENDS_WITHIN_S)
    finally:
        process.kill()
    return Typed(code=process.returncode, out=out, err=err)


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


def test_up(typist: Typist) -> None:
    done = interrupted(when(typist.start("up", "--yes"), "to create"))
    assert done.code == 130
    assert "gpupipe up" in done.err
    assert typist.types("up", "--yes").code == 0
    assert typist.document("plan")["changes"] == 0


@pytest.mark.exhaustive
def test_up_of_a_local_target(tmp_path: Path) -> None:
    person = settle(tmp_path / "local", name="interrupt")
    try:
        done = interrupted(when(person.start("up", "--yes"), "to create"))
        assert done.code == 130
        assert "gpupipe up" in done.err
        person.types("up", "--yes")
        assert person.types("plan", "--json").document["changes"] == 0
    finally:
        person.types("down", "--yes", code=None)
        for process in person.processes():
            process.kill()


def test_submit(typist: Typist, desk: Desk, hold: Hold) -> None:
    for number in range(40):
        a_photo(typist.folder / "images" / f"{number:03d}.jpg")
    command = ("submit", "images", "--project", "many", "--hold")
    # given a submission of which some images have arrived
    hold.after(10, "PUT", "/inputs/many/")
    process = typist.start(*command, "--json")
    assert hold.begun.wait(60)
    # when it is interrupted
    done = interrupted(process)
    # then nothing has started, and the same command goes on
    assert done.code == 130
    assert "nothing has started" in done.document["error"]["message"]
    assert "same command" in done.document["error"]["hint"]
    hold.release()
    assert not [one for one in typist.document("jobs") if one["items"]]
    again = typist.document(*command)
    assert again["items"] == 40
    assert again["unchanged"] > 0


def test_watch_ends_and_the_job_does_not(typist: Typist, desk: Desk) -> None:
    a_photo(typist.folder / "images" / "a.jpg")
    job = typist.document("submit", "images", "--project", "one")["job"]
    announce_manifest(desk.ctx, job)
    Crew(desk=desk).dispatch()
    done = interrupted(when(typist.start("watch", job), job))
    assert done.code == 130
    assert f"gpupipe watch {job}" in done.err
    listed = {one["job"]: one for one in typist.document("jobs")}
    assert (listed[job]["is_over"], listed[job]["items"]) == (False, 1)


def test_run_again_attaches_and_ends_as_it_would_have(typist: Typist, desk: Desk) -> None:
    # given a `run` that was interrupted while it watched
    for name in ("a.jpg", "b.jpg"):
        a_photo(typist.folder / "images" / name)
    command = ("run", "images", "--project", "one", "-o", "out")
    done = interrupted(when(typist.start(*command), "submitted"))
    assert done.code == 130
    (first,) = typist.document("jobs")
    # when the same is typed again, and then a worker comes, one of whose images fails
    crew = Crew(desk=desk)
    announce_manifest(desk.ctx, first["job"])
    crew.dispatch()
    process = when(typist.start(*command, "--json"), f"attached to job {first['job']} of the same images")
    crew.commit(first["job"], 0, failing=[1])
    out, _ = process.communicate(timeout=60)
    # then it was the same job, and it ends as the first would have
    document = json.loads(out)
    assert (process.returncode, document["attached"], document["jobs"]) == (3, True, [first["job"]])
    assert [one["job"] for one in typist.document("jobs")] == [first["job"]]


def test_run_again_after_its_job_is_over_brings_that_one_and_then_makes_another(typist: Typist, desk: Desk) -> None:
    # given a `run` that was killed while it watched, and whose job has ended since
    a_photo(typist.folder / "images" / "a.jpg")
    command = ("run", "images", "--project", "one", "-o", "out")
    killed = when(typist.start(*command), "submitted")
    killed.kill()
    killed.communicate(timeout=60)
    (first,) = typist.document("jobs")
    announce_manifest(desk.ctx, first["job"])
    crew = Crew(desk=desk)
    crew.dispatch()
    crew.commit(first["job"], 0)
    # and of whose results a `fetch` brought nothing but the note whose folder it is
    stack = desk.ctx.aws.stack
    holds = {"job": first["job"], "stack": stack.id, "account": stack.account, "pipeline": desk.ctx.pipeline}
    ResultFolder(typist.folder / "out").claim(holds)
    # when the same is typed again, then it brings that job's results
    document = typist.document(*command)
    assert (document["attached"], document["jobs"], document["done"]) == (True, [first["job"]], 1)
    assert [one["job"] for one in typist.document("jobs")] == [first["job"]]
    # and once they are there, the same is a job of its own
    assert typist.document("submit", "images", "--project", "one")["job"] != first["job"]


def test_submit_again_prints_the_open_job_and_again_makes_another(typist: Typist, desk: Desk) -> None:
    a_photo(typist.folder / "images" / "a.jpg")
    command = ("submit", "images", "--project", "one")
    first = typist.types(*command).out.strip()
    attached = typist.types(*command)
    assert (attached.code, attached.out.strip()) == (0, first)
    assert "nothing is started or paid twice; --again makes another job" in attached.err
    document = typist.document(*command)
    assert (document["job"], document["attached"], document["state"]) == (first, True, "submitted")
    assert "--hold changes nothing" in typist.types(*command, "--hold").err
    another = typist.document(*command, "--again")
    assert (another["job"] != first, another["attached"]) == (True, False)


FILES_AN_ITEM = 25
ITEMS = 6


def a_large_job(desk: Desk) -> str:
    """A finished job of many files; its name."""
    work = Work(aws=desk.ctx.aws, ledger=desk.ctx.ledger)
    job, paths = "20261121-113052-large-1f3a", [f"{number:03d}.jpg" for number in range(ITEMS)]
    work.submit(job, paths, project="large")
    result = work.commit(job, 0, paths)
    names = [f"files/{number:03d}.bin" for number in range(FILES_AN_ITEM)]
    folders = [output_prefix("large", job, item.output) for item in result.items]
    files = [{name: work.put(folder + name, b"x" * 20_000) for name in names} for folder in folders]
    items = [replace(item, artifacts=own) for item, own in zip(result.items, files, strict=True)]
    work.put(result_key(job, 0, 0), replace(result, items=items).to_gzip())
    return job


def until(look: Any) -> None:
    deadline = time.monotonic() + 60
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_fetch_goes_on_where_it_was(typist: Typist, desk: Desk, hold: Hold) -> None:
    job, out = a_large_job(desk), typist.folder / "large"
    # given a download of which some files have arrived
    hold.after(30, "GET", "/processed/large/")
    process = typist.start("fetch", job, "-o", "large", "--json")
    assert hold.begun.wait(60)
    until(lambda: any(out.glob("items/*/files/*.bin")))
    # when it is interrupted
    done = interrupted(process)
    # then it ends at once with a word on how to go on, and calls nothing complete that is not
    assert done.code == 130
    assert f"gpupipe fetch {job} -o large" in done.document["error"]["hint"]
    assert not (out / "annotations.json").exists()
    there = {path: path.stat().st_size for path in out.glob("items/*/files/*.bin")}
    assert 0 < len(there) <= 30
    assert set(there.values()) == {20_000}, "half a file"
    # and the same command fetches only the rest
    hold.release()
    again = typist.document("fetch", job, "-o", "large")
    assert again["files_kept"] >= len(there)
    assert again["files_fetched"] + again["files_kept"] == ITEMS * FILES_AN_ITEM
    assert not list(out.rglob(f"*{PART_SUFFIX}"))


def test_following_the_log(typist: Typist, desk: Desk) -> None:
    write(desk, "worker", "i-1", {1: "a line"})
    process = typist.start("logs", "-f", "--since", "1d")
    assert process.stdout is not None
    assert process.stdout.readline()
    assert interrupted(process).code == 130


def test_the_folder_of_a_job_that_this_stack_does_not_have_is_refused_before_anything_is_sent(
    typist: Typist, desk: Desk
) -> None:
    # given what a job brought of a stack that had this name before
    a_photo(typist.folder / "images" / "a.jpg")
    ResultFolder(typist.folder / "out").claim({"job": "20260101-000000-one-0a1b", "stack": desk.ctx.aws.stack.id})
    typed = typist.types("run", "images", "--project", "one", "-o", "out")
    assert typed.code == 2
    assert "Nothing was submitted." in typed.err
    assert typist.document("jobs") == []
