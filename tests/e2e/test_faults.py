"""Killed workers, poisoned inputs, a killed supervisor, Ctrl-C: nothing is lost and nothing counts twice."""

import json
import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.conftest import Person, eventually, gate_of, poison, settle, speckled, standing
from tests.e2e.poisoned.poisoned_task import ENDLESS, KILLS, WAITS

pytestmark = pytest.mark.exhaustive


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A second stack beside the first, whose worker can be poisoned."""
    with standing(poison(settle(tmp_path_factory.mktemp("victim"), name="victim"))) as person:
        yield person


def worker(person: Person) -> psutil.Process | None:
    """The running worker of the person's only machine."""
    running = [
        process for process in person.processes() if "gpupipe.local.runners.ec2.machine" in " ".join(process.cmdline())
    ]
    children = [child for machine in running for child in machine.children(recursive=True)]
    return next((child for child in children if "gpuworker.entries.poll" in " ".join(child.cmdline())), None)


class Gate:
    """What lets images with the mark WAITS pass, or not yet."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def let_pass(self, count: int) -> None:
        """So many in all, of those that one process of the worker decodes."""
        self._file.write_text(str(count))

    def open(self) -> None:
        self.let_pass(1_000_000)


@pytest.fixture
def gate(victim: Person) -> Iterator[Gate]:
    """Closed at the beginning of a test, open at its end."""
    gate = Gate(gate_of(victim))
    gate.let_pass(0)
    yield gate
    gate.open()


def mark(paths: Iterable[Path], ending: bytes) -> None:
    """Append a mark to files; an image's decoder ignores what follows it."""
    for path in paths:
        path.write_bytes(path.read_bytes() + ending)


def names_in(path: Path) -> list[str]:
    return sorted(image["file_name"] for image in json.loads(path.read_text())["images"])


def test_killing_the_worker_loses_nothing_and_counts_nothing_twice(victim: Person, gate: Gate) -> None:
    # Given sixty images, of which half wait
    folder = speckled(victim.folder / "sixty", 60)
    mark(folder.iterdir(), WAITS)
    gate.let_pass(30)
    job = victim.types("submit", str(folder), "--project", "killed", "--json").document["job"]

    # When the worker is killed in the middle of them
    def halfway() -> bool:
        [view] = victim.jobs("killed")
        return bool(view["done"] + view["in_progress"] >= 15)

    eventually("halfway through", halfway)
    process = worker(victim)
    assert process is not None
    process.send_signal(signal.SIGKILL)
    gate.open()

    # Then every image is there, once
    view = victim.types("watch", job, "--json").document
    assert (view["items"], view["done"], view["failed"], view["dead"]) == (60, 60, 0, 0)
    victim.types("fetch", job, "-o", "killed-results")
    assert names_in(victim.folder / "killed-results" / "annotations.json") == sorted(p.name for p in folder.iterdir())


def test_an_image_that_kills_the_decoder_is_one_failure_now_and_when_sent_again(victim: Person) -> None:
    # Given one among twelve
    folder = speckled(victim.folder / "poison", 12, seed=5)
    mark([folder / "speck 005.jpg"], KILLS)
    # When they are run, then it alone fails
    view = victim.types("run", str(folder), "--project", "poison", "-o", "poison-results", "--json", code=3).document
    assert (view["done"], view["failed"]) == (11, 1)
    failures = json.loads((victim.folder / "poison-results" / "failures.json").read_text())
    assert [(one["file_name"], one["code"]) for one in failures] == [("speck 005.jpg", "killed_worker")]
    # And sent again, its result is merged with the others', which are not fetched again
    [job] = [one["job"] for one in victim.jobs("poison")]
    victim.types("retry", job, "--failed")
    view = victim.types("watch", job, "--json", code=3).document
    assert (view["generation"], view["done"], view["failed"]) == (1, 11, 1)
    report = victim.types("fetch", job, "-o", "poison-results", "--json", code=3).document
    assert (report["done"], report["failed"], report["files_fetched"]) == (11, 1, 0)


def test_a_cancelled_job_ends(victim: Person) -> None:
    # Longer than the worker's heartbeat, by which it learns that nobody wants its shard any more.
    folder = speckled(victim.folder / "cancelled", 60, seed=6)
    mark(folder.iterdir(), ENDLESS)
    job = victim.types("submit", str(folder), "--project", "cancelled", "--json").document["job"]
    victim.types("cancel", job)
    view = victim.types("watch", job, "--json", code=1).document
    assert view["state"] == "cancelled"
    assert view["cancelled"] > 0
    assert view["done"] + view["cancelled"] == 60


def test_a_killed_supervisor_is_noticed_and_replaced(victim: Person) -> None:
    # Given a job that is done, and a supervisor that is no more
    victim.types("run", str(speckled(victim.folder / "before", 2)), "--project", "before", "--json")
    before = victim.types("status", "--json").document["local"]
    pid = next(one["pid"] for one in before["processes"] if one["name"] == "supervisor")
    os.kill(pid, signal.SIGKILL)
    # When somebody asks for it, then all is known, and there is another supervisor
    assert [one["done"] for one in victim.jobs("before")] == [2]
    after = victim.types("status", "--json").document["local"]
    assert next(one["pid"] for one in after["processes"] if one["name"] == "supervisor") != pid
    run = victim.types("run", str(speckled(victim.folder / "after", 2)), "--project", "after", "--json").document
    assert run["done"] == 2


def test_ctrl_c_ends_watching_and_not_the_job(victim: Person, gate: Gate) -> None:
    folder = speckled(victim.folder / "watched", 4, seed=8)
    mark(folder.iterdir(), WAITS)
    job = victim.types("submit", str(folder), "--project", "watched", "--json").document["job"]
    process = victim.start("watch", job)
    try:
        assert process.stderr is not None
        process.stderr.readline()  # it has begun to tell
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"gpupipe watch {job}" in told
    assert "Traceback" not in told
    gate.open()
    assert victim.types("watch", job, "--json").document["done"] == 4
