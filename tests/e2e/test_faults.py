"""Killed workers, poisoned inputs, a killed supervisor, Ctrl-C: nothing is lost and nothing counts twice."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from tests.e2e.conftest import Person, eventually, poison, settle, speckled, standing
from tests.e2e.poisoned.poisoned_task import ENDLESS, KILLS, SLOW


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A second stack beside the first, whose worker can be poisoned."""
    with standing(poison(settle(tmp_path_factory.mktemp("victim"), name="victim"))) as person:
        yield person


def worker(person: Person) -> psutil.Process | None:
    """The running worker of the person's only machine."""
    running = [process for process in person.processes() if "gpupipe.local.machine" in " ".join(process.cmdline())]
    children = [child for machine in running for child in machine.children(recursive=True)]
    return next((child for child in children if "gpuworker.poll" in " ".join(child.cmdline())), None)


def mark(folder: Path, ending: bytes) -> Path:
    """Append a mark to every file; an image's decoder ignores what follows it."""
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes() + ending)
    return folder


def names_in(path: Path) -> list[str]:
    return sorted(image["file_name"] for image in json.loads(path.read_text())["images"])


def test_killing_the_worker_loses_nothing_and_counts_nothing_twice(victim: Person) -> None:
    # Given two hundred images, each of them slow
    folder = mark(speckled(victim.folder / "two hundred", 200), SLOW)
    job = victim.types("submit", str(folder), "--project", "killed", "--json").document["job"]

    # When the worker is killed in the middle of them
    def halfway() -> bool:
        views = [one for one in victim.types("jobs", "--json").document if one["job"] == job]
        return any(30 <= view["done"] + view["in_progress"] < 190 for view in views)

    eventually("halfway through", halfway)
    process = worker(victim)
    assert process is not None
    process.send_signal(signal.SIGKILL)

    # Then every image is there, once
    view = victim.types("watch", job, "--json").document
    assert (view["items"], view["done"], view["failed"], view["dead"]) == (200, 200, 0, 0)
    victim.types("fetch", job, "-o", "killed-results")
    assert names_in(victim.folder / "killed-results" / "annotations.json") == sorted(p.name for p in folder.iterdir())


def test_an_image_that_kills_the_decoder_is_one_failure(victim: Person) -> None:
    folder = speckled(victim.folder / "poison", 12, seed=5)
    killer = folder / "speck 005.jpg"
    killer.write_bytes(killer.read_bytes() + KILLS)
    view = victim.types("run", str(folder), "--project", "poison", "-o", "poison-results", "--json", code=3).document
    assert (view["done"], view["failed"]) == (11, 1)
    failures = json.loads((victim.folder / "poison-results" / "failures.json").read_text())
    assert [(one["file_name"], one["code"]) for one in failures] == [("speck 005.jpg", "killed_worker")]


def test_a_failed_item_is_sent_again_and_its_result_merged(victim: Person) -> None:
    job = next(one for one in victim.types("jobs", "--json").document if one["project"] == "poison")["job"]
    victim.types("retry", job, "--failed")
    view = victim.types("watch", job, "--json", code=3).document
    assert (view["generation"], view["done"], view["failed"]) == (1, 11, 1)
    report = victim.types("fetch", job, "-o", "poison-results", "--json", code=3).document
    assert (report["done"], report["failed"], report["files_fetched"]) == (11, 1, 0)


def test_a_cancelled_job_ends(victim: Person) -> None:
    # Longer than the worker's heartbeat, by which it learns that nobody wants its shard any more.
    folder = mark(speckled(victim.folder / "cancelled", 60, seed=6), ENDLESS)
    job = victim.types("submit", str(folder), "--project", "cancelled", "--json").document["job"]
    victim.types("cancel", job)
    view = victim.types("watch", job, "--json", code=1).document
    assert view["state"] == "cancelled"
    assert view["cancelled"] > 0
    assert view["done"] + view["cancelled"] == 60


def test_a_killed_supervisor_is_noticed_and_replaced(victim: Person) -> None:
    before = victim.types("status", "--json").document["local"]
    pid = next(one["pid"] for one in before["processes"] if one["name"] == "supervisor")
    os.kill(pid, signal.SIGKILL)
    jobs = victim.types("jobs", "--json").document
    assert any(one["project"] == "killed" and one["done"] == 200 for one in jobs)
    after = victim.types("status", "--json").document["local"]
    assert next(one["pid"] for one in after["processes"] if one["name"] == "supervisor") != pid
    run = victim.types("run", str(speckled(victim.folder / "after", 2)), "--project", "after", "--json").document
    assert run["done"] == 2


def test_ctrl_c_ends_watching_and_not_the_job(victim: Person) -> None:
    folder = mark(speckled(victim.folder / "watched", 60, seed=8), SLOW)
    job = victim.types("submit", str(folder), "--project", "watched", "--json").document["job"]
    process = victim.start("watch", job)
    try:
        assert process.stderr is not None
        process.stderr.readline()  # it has begun to tell
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=10)
    finally:
        process.kill()
    assert process.returncode == 130
    assert f"gpupipe watch {job}" in told
    assert "Traceback" not in told
    assert victim.types("watch", job, "--json").document["done"] == 60


def test_down_leaves_nothing(victim: Person) -> None:
    receipt = victim.types("down", "--yes", "--json").document
    assert receipt["leftovers"] == []
    assert len(receipt["deleted"]) > 20
    assert victim.processes() == []
    assert not (victim.folder / ".gpupipe").exists()
    assert victim.types("down", "--yes", "--json").document["deleted"] == []
    told = victim.types("submit", str(victim.folder), "--project", "late", code=1).err
    assert "gpupipe up" in told
