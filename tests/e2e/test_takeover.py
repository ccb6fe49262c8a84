"""A stack that an earlier version made, with work half done in it: `up` of this one takes it over and finishes it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import COMMAND_TIMEOUT_S, SHELL, Done, Person, eventually, settle, speckled, standing

pytestmark = pytest.mark.exhaustive

ROOT = Path(__file__).parents[2]
EARLIER = "a7be5f47c70036d10503071d589956bf74b59f9e"
"""The last commit before a kind was one value and the worker had rooms."""
FLEET = """
        [pipelines.segment]
        kind = "queue"
        task = "segment"
        quiet_seconds = 2
        visibility_timeout_s = 20
        compute = { max_instances = 2, on_idle = "terminate" }
"""
IMAGES = 60


@dataclass(frozen=True, kw_only=True)
class Earlier(Person):
    """The same person, before the upgrade."""

    code: Path

    def runs(self, *arguments: str, code: int | None = 0) -> Done:
        path = os.pathsep.join([str(self.code / "src"), str(self.code / "worker_image")])
        ended = subprocess.run(
            [sys.executable, "-m", "gpupipe", *arguments],
            cwd=self.folder,
            env={**os.environ, **SHELL, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )
        return self._as_expected(Done(code=ended.returncode, out=ended.stdout, err=ended.stderr), arguments, code)


@pytest.fixture(scope="module")
def earlier_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    archive = subprocess.run(["git", "archive", EARLIER, "src", "worker_image"], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"this copy of the repository has no history back to {EARLIER}")
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(folder, filter="data")
    return folder


@pytest.fixture
def half_done(earlier_code: Path, tmp_path: Path) -> Iterator[tuple[Person, str, str]]:
    """A person of this version, a job of which the earlier has done a part, and one that it holds."""
    person = settle(tmp_path / "person", name="taken", pipelines=FLEET)
    before = Earlier(folder=person.folder, code=earlier_code)
    with standing(person, up=before.runs):
        images = speckled(person.folder / "images", IMAGES, side=900)
        held = before.runs("submit", str(images), "--project", "held", "--hold", "--json").document["job"]
        job = before.runs("submit", str(images), "--project", "field7", "--json").document["job"]

        def begun() -> bool:
            (found,) = before.runs("jobs", "--project", "field7", "--json").document
            return bool(found["done"])

        eventually("a shard is done", begun)
        before.runs("stop")
        yield person, job, held


def test_up_takes_over_a_stack_and_its_jobs(half_done: tuple[Person, str, str]) -> None:
    person, job, held = half_done
    # given that the target's daemon of the earlier version is gone, as after a restart of the machine
    daemons = [one for one in person.processes() if "gpupipe.local.supervisor" in one.cmdline()]
    for daemon in daemons:
        daemon.kill()
        daemon.wait(10)
    assert len(daemons) == 1
    # when this version brings the stack up, which is what the plan says and no more
    person.types("up", "--yes")
    assert person.types("plan", "--json").document["changes"] == 0
    before = person.types("jobs", "--project", "field7", "--json").document[0]
    assert 0 < before["done"] < IMAGES
    person.types("start")
    # then both jobs are finished, nothing of either lost or done twice
    for name, folder in ((job, "one"), (held, "two")):
        watched = person.types("watch", name, "--json").document
        assert (watched["state"], watched["done"], watched["failed"]) == ("finished", IMAGES, 0)
        fetched = person.types("fetch", name, "-o", folder, "--json").document
        assert (fetched["done"], fetched["failed"], fetched["is_complete"]) == (IMAGES, 0, True)
    # and what the earlier version logged and counted is there
    assert {line["source"] for line in person.types("logs", "--json").document} >= {"dispatch", "guard", "worker"}
    again = person.types("submit", str(person.folder / "images"), "--project", "more", "--json").document
    assert person.types("watch", again["job"], "--json").document["done"] == IMAGES
