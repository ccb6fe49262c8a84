"""Commands at work while the local target dies below them: what they say within seconds, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.e2e.conftest import Person, eventually, gate_of, poison, settle, speckled, standing
from tests.e2e.poisoned.poisoned_task import WAITS

from gpuworker.ledger import Ledger

SAID_WITHIN_S = 10.0
BUSY_S = 30.0
"""On top, for a machine of tests that is late with everything."""
EVERYTHING = ("supervisor", "moto", "ministack")


@dataclass
class Spoken:
    """A command at work, and what it has said on stderr, each line with its time."""

    process: subprocess.Popen[str]
    lines: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append((time.monotonic(), line))

    def said(self, words: str) -> float | None:
        """When it first said so."""
        return next((at for at, line in list(self.lines) if words in line), None)

    def end(self) -> tuple[int, str]:
        """Its exit code and what it wrote on stdout."""
        assert self.process.stdout is not None
        out = self.process.stdout.read()
        return self.process.wait(timeout=120), out


def is_said(spoken: Spoken, words: str) -> float:
    """When it was said, which is waited for."""
    return float(eventually(words, lambda: spoken.said(words)))


@contextlib.contextmanager
def at_work(person: Person, *arguments: str) -> Iterator[Spoken]:
    """A command as a process of its own."""
    spoken = Spoken(person.start(*arguments))
    try:
        yield spoken
    finally:
        spoken.process.kill()
        spoken.process.wait()


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """Somebody whose target is killed, and whose worker waits where it is told to."""
    with standing(poison(settle(tmp_path_factory.mktemp("mortal"), name="mortal"))) as person:
        yield person


@pytest.fixture
def job(mortal: Person, request: pytest.FixtureRequest) -> Iterator[str]:
    """A job that a machine is at work on, and that ends once the gate is open, as it is after the test."""
    gate_of(mortal).write_text("0")
    folder = speckled(mortal.folder / request.node.name, 3, seed=len(request.node.name))
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes() + WAITS)
    project = f"p{len(request.node.name)}"
    name = mortal.types("submit", str(folder), "--project", project, "--again", "--json").document["job"]
    eventually("a machine at work", lambda: mortal.jobs(project)[0]["state"] == "running")
    yield str(name)
    open_gate(mortal)


def open_gate(person: Person) -> None:
    gate_of(person).write_text("1000000")


def local(person: Person) -> dict[str, Any]:
    """`status` of the local target."""
    found: dict[str, Any] = person.types("status", "--json").document["local"]
    return found


def kill(person: Person, *names: str) -> float:
    """Kill processes of the target, at once: no command is asked who they are. When that was."""
    [file] = person.folder.glob(".gpupipe/*/record.json")
    record = json.loads(file.read_text())
    processes = {**record["emulators"], "supervisor": record["supervisor"]}
    for name in names:
        os.kill(processes[name]["pid"], signal.SIGKILL)
    return time.monotonic()


def test_watch_says_that_everything_died_resumes_it_and_goes_on(mortal: Person, job: str) -> None:
    with at_work(mortal, "watch", job, "--json") as watch:
        eventually("it watches", lambda: watch.said(job))
        # When all of the target is killed
        killed_at = kill(mortal, *EVERYTHING)
        # Then it says so within seconds, and what it does
        assert is_said(watch, "ended unexpectedly; it is started again") - killed_at < SAID_WITHIN_S + BUSY_S
        eventually("it runs again", lambda: watch.said("runs again; the command goes on"))
        # And goes on to the job's end
        open_gate(mortal)
        code, out = watch.end()
    assert code == 0
    assert json.loads(out)["done"] == 3


def test_after_motos_death_the_machine_is_the_same_and_no_other_is_started(mortal: Person, job: str) -> None:
    # Given a machine at work, as EC2 describes it
    def machines() -> list[dict[str, Any]]:
        found = mortal.client("ec2").describe_instances()["Reservations"]
        return [one for group in found for one in group["Instances"] if one["State"]["Name"] != "terminated"]

    before = machines()
    pid = local(mortal)["machines"][0]["pid"]
    # When moto is killed
    with at_work(mortal, "watch", job, "--json") as watch:
        eventually("it watches", lambda: watch.said(job))
        kill(mortal, "moto")
        eventually("it runs again", lambda: watch.said("runs again; the command goes on"))
        open_gate(mortal)
        code, out = watch.end()
    # Then the same machine has ended the job, and the guard has started none beside it
    assert (code, json.loads(out)["done"]) == (0, 3)
    assert machines() == before
    assert local(mortal)["machines"][0]["pid"] == pid


@pytest.mark.exhaustive
@pytest.mark.parametrize("victim", EVERYTHING)
def test_one_death_is_told_of_and_survived_by_every_waiting_command(mortal: Person, job: str, victim: str) -> None:
    with at_work(mortal, "watch", job, "--json") as watch, at_work(mortal, "logs", "--follow") as logs:
        eventually("it watches", lambda: watch.said(job))
        time.sleep(1.0)
        killed_at = kill(mortal, victim)
        for spoken in (watch, logs):
            assert is_said(spoken, "ended unexpectedly") - killed_at < SAID_WITHIN_S + BUSY_S
        open_gate(mortal)
        assert watch.end()[0] == 0
        assert logs.process.poll() is None


@pytest.mark.exhaustive
def test_a_worker_s_death_is_told_of(mortal: Person, job: str) -> None:
    with at_work(mortal, "watch", job, "--json") as watch:
        eventually("it watches", lambda: watch.said(job))
        machine = psutil.Process(local(mortal)["machines"][0]["pid"])
        [worker] = machine.children()
        worker.kill()
        eventually("a word", lambda: watch.said("ended (killed by SIGKILL); its machine starts it again"))
        open_gate(mortal)
        assert watch.end()[0] == 0


@pytest.mark.exhaustive
def test_a_guard_that_died_with_ministack_keeps_the_next_from_nothing(mortal: Person) -> None:
    # Given a guard in the middle of a look, which is in what ministack has saved
    table, state = mortal.client("dynamodb").list_tables()["TableNames"][0], ".gpupipe/mortal-dev/ministack/state"
    ledger = Ledger(mortal.client("dynamodb"), table)
    eventually("a look begins", lambda: ledger.acquire_lease("segment", "killed", 600.0))
    eventually("it is saved", lambda: "killed" in (mortal.folder / state / "dynamodb.json").read_text())
    # When both are killed
    kill(mortal, "ministack")
    killed_at = time.time()
    # Then the next guard looks as soon as ministack is there again, long before the lease would end
    eventually("it runs again", lambda: local(mortal)["ready"])
    eventually("a look", lambda: ledger.guard_status("segment")["at"] > killed_at)


def change_through_deaths(person: Person, command: str, words: str, *victims: str) -> str:
    """What an `up` or `down` says below which emulators are killed once it has said what it is about to do."""
    with at_work(person, command, "--yes") as changing:
        eventually("it begins", lambda: changing.said(words))
        time.sleep(1.0)
        kill(person, *victims)
        code, out = changing.end()
    assert code == 0, (out, changing.lines)
    return out


@pytest.mark.exhaustive
@pytest.mark.parametrize("victims", [("moto",), ("supervisor",)])
def test_up_and_down_survive_deaths(tmp_path: Path, victims: tuple[str, ...]) -> None:
    # Not ministack's: it comes back as it was seconds before, so that `up` has to be run again, and says so.
    person = settle(tmp_path / "between", name="between")
    try:
        change_through_deaths(person, "up", "to create.", *victims)
        assert {step["action"] for step in person.types("plan", "--json").document["steps"]} == {"keep"}
        assert "leftovers by tag and by name: none" in change_through_deaths(person, "down", "to delete.", *victims)
        assert not (person.folder / ".gpupipe").exists()
    finally:
        person.types("down", "--yes", code=None)
        for process in person.processes():
            process.kill()


def delete(folder: Path) -> None:
    """A folder in which others still write, as `rm -rf` does when it is typed again."""
    for _ in range(100):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    raise AssertionError(f"{folder} is written faster than it is deleted")


@pytest.mark.exhaustive
@pytest.mark.parametrize("how", ["stopped", "removed"])
def test_what_cannot_be_resumed_ends_the_command_and_says_what_to_do(tmp_path: Path, how: str) -> None:
    # Given a command that follows the logs of a target
    person = settle(tmp_path / "gone", name="gone")
    try:
        person.types("up", "--yes")
        with at_work(person, "logs", "--follow", "--json") as logs:
            assert logs.process.stdout is not None
            assert logs.process.stdout.readline()  # of the guard, which looks every two seconds
            begun_at = time.monotonic()
            # When it is stopped by another command, or its folder is deleted
            if how == "stopped":
                person.types("local", "stop")
            else:
                delete(person.folder / ".gpupipe")
            # Then it ends with an error within seconds
            code, out = logs.end()
            assert time.monotonic() - begun_at < SAID_WITHIN_S + BUSY_S
        assert code == 1
        assert logs.said(f"was {how}")
        assert logs.said("`gpupipe up` starts it")
        assert "TargetError" in out.splitlines()[-1]
    finally:
        person.types("down", "--yes", code=None)
        for process in person.processes():
            process.kill()
