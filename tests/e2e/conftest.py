"""A whole stack on the local target, brought up once for all end-to-end tests and driven by the commands alone."""

from __future__ import annotations

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import boto3
import numpy as np
import psutil
import pytest
from pycocotools.coco import COCO

from gpupipe.cli import main
from gpupipe.cli.screen import Screen

COMMAND_TIMEOUT_S = 240
SHELL = {"NO_COLOR": "1", "COLUMNS": "120"}
PATIENCE_S = 120


@dataclass(frozen=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


@dataclass(frozen=True, kw_only=True)
class Person:
    """Somebody in a folder with a gpupipe.toml, typing commands."""

    folder: Path
    clients: dict[tuple[str, str], Any] = field(default_factory=dict)

    def types(self, *arguments: str, code: int | None = 0, stdin: str = "") -> Done:
        """Run a command to its end, in this process, and expect its exit code.

        A process of its own costs a second of processor time each, which is for tests of what only a process shows:
        signals, and that the local target outlives whoever started it.
        """
        streams = {"stdin": io.StringIO(stdin), "stdout": io.StringIO(), "stderr": io.StringIO()}
        with pytest.MonkeyPatch.context() as here:
            here.chdir(self.folder)
            for name, value in SHELL.items():
                here.setenv(name, value)
            here.setattr(sys, "argv", ["gpupipe", *arguments])
            for name, stream in streams.items():
                here.setattr(sys, name, stream)
            Screen.has_answered = False
            ended = main.run()
        if ended == main.INTERRUPTED:
            raise KeyboardInterrupt
        done = Done(code=ended, out=streams["stdout"].getvalue(), err=streams["stderr"].getvalue())
        return self._as_expected(done, arguments, code)

    def start(
        self, *arguments: str, out: IO[str] | int = subprocess.PIPE, err: IO[str] | int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        """Begin a command as a process of its own; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "gpupipe", *arguments],
            cwd=self.folder,
            env={**os.environ, **SHELL},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            text=True,
        )

    def runs(self, *arguments: str, code: int | None = 0) -> Done:
        """Like `types`, as a process of its own."""
        process = self.start(*arguments)
        try:
            out, err = process.communicate(timeout=COMMAND_TIMEOUT_S)
        finally:
            process.kill()
        return self._as_expected(Done(code=process.returncode, out=out, err=err), arguments, code)

    @staticmethod
    def _as_expected(done: Done, arguments: tuple[str, ...], code: int | None) -> Done:
        assert code is None or done.code == code, f"gpupipe {' '.join(arguments)} -> {done}"
        return done

    def client(self, service: str) -> Any:
        """boto3 as anybody would point it at the local target: by environment variables alone."""
        variables = self.types("local", "env", "--json").document
        specific = f"AWS_ENDPOINT_URL_{service.upper().replace('-', '_')}"
        url = variables.get(specific, variables["AWS_ENDPOINT_URL"])
        if (service, url) not in self.clients:
            session = boto3.Session(
                aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
                region_name=variables["AWS_DEFAULT_REGION"],
            )
            self.clients[service, url] = session.client(service, endpoint_url=url)
        return self.clients[service, url]

    def bucket(self, pipeline: str) -> str:
        """The data bucket of a pipeline."""
        names = [bucket["Name"] for bucket in self.client("s3").list_buckets()["Buckets"]]
        return next(name for name in names if f"-{pipeline}-" in name)

    def jobs(self, project: str) -> list[dict[str, Any]]:
        """The project's jobs, newest first."""
        listed: list[dict[str, Any]] = self.types("jobs", "--project", project, "--json").document
        return listed

    def processes(self) -> list[psutil.Process]:
        """Every live process of this folder's local target."""
        mark = str(self.folder)
        return [
            process for process in psutil.process_iter(["cmdline"]) if mark in " ".join(process.info["cmdline"] or ())
        ]


SEGMENT = """
        [pipelines.segment]
        kind = "queue"
        task = "segment"
        min_images_to_start = 3
        max_wait_minutes = 0.05
        quiet_seconds = 2
        visibility_timeout_s = 20
        [pipelines.segment.dropins."asked-*"]
        prompts = ["zebra"]
"""


def settle(folder: Path, *, name: str, pipelines: str = SEGMENT) -> Person:
    """A folder with a configuration whose clocks run faster than a person's."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpupipe.toml").write_text(
        f"""
        [stack]
        name = "{name}"
        [local]
        guard_interval_s = 2
        {pipelines}
        """,
        encoding="utf-8",
    )
    return Person(folder=folder)


@pytest.fixture(scope="session")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose stack is up for the session; a process of its own brings it up, and it outlives that."""
    person = settle(tmp_path_factory.mktemp("e2e"), name="e2e")
    with standing(person, up=person.runs):
        yield person


def speckled(folder: Path, count: int, *, side: int = 64, seed: int = 0) -> Path:
    """A folder of small photographs of nothing in particular, quick to process and all different."""
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number in range(count):
        pixels = random.integers(0, 255, (side, side, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"speck {number:03d}.jpg"), pixels)
    return folder


def quiet_coco(path: Path) -> COCO:
    """Loaded by pycocotools, which talks on stdout whatever it is given."""
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@contextlib.contextmanager
def standing(person: Person, *, up: Callable[..., Done] | None = None) -> Iterator[Person]:
    """A person whose stack is up for the length of a `with` block; after it, nothing of it may be left."""
    try:
        (up or person.types)("up", "--yes")
        yield person
        check_down_leaves_nothing(person)
    finally:
        person.types("down", "--yes", code=None)
        for process in person.processes():
            process.kill()


def check_down_leaves_nothing(person: Person) -> None:
    """Takes the stack down: the end of every stack of these tests."""
    receipt = person.types("down", "--yes", "--json").document
    assert receipt["leftovers"] == []
    assert len(receipt["deleted"]) > 15
    assert person.processes() == []
    assert not (person.folder / ".gpupipe").exists()
    assert person.types("down", "--yes", "--json").document["deleted"] == []
    told = person.types("submit", str(person.folder), "--project", "late", "--pipeline", "x", code=1).err
    assert "gpupipe up" in told


def gate_of(person: Person) -> Path:
    """The file that says how many inputs with the mark WAITS may pass."""
    return person.folder / "gate"


def poison(person: Person) -> Person:
    """Have the person's workers and containers find the tasks of `poisoned/` in place of the real ones."""
    python, folder = person.folder / "python", Path(__file__).parent / "poisoned"
    found = f'PYTHONPATH="{folder}:$PYTHONPATH" POISON_GATE="{gate_of(person)}"'
    python.write_text(f'#!/bin/sh\n{found} exec "{sys.executable}" "$@"\n')
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    config = person.folder / "gpupipe.toml"
    config.write_text(config.read_text().replace("[local]", f'[local]\n        worker_python = "{python}"'))
    return person


def eventually(what: str, look: Callable[[], Any]) -> Any:
    """The first true answer of `look`."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if answer := look():
            return answer
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {PATIENCE_S} s")
