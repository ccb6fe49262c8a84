import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local.waiting import kill, runs, until
from tests.ticking import TickingClock

from gpupipe.local import processes
from gpupipe.local.processes import ProcessName
from gpupipe.local.runners.process_host import WorkerProcess, await_ends, end_strays
from gpuworker.contract import WORK_DIR_VARIABLE

WAITS = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
PARENT = "import subprocess, time; print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"


class Workers:
    """Workers of one folder, each in a folder below it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = TickingClock()
        self._started: list[ProcessName] = []

    def of(self, name: str) -> WorkerProcess:
        """As a supervisor finds it."""
        folder = self.folder / name
        log = self.folder / "logs" / f"{name}.log"
        return WorkerProcess(folder, note="note.json", log=log, term_grace_s=30.0, clock=self.clock)

    def start(self, name: str, code: str, **notes: object) -> WorkerProcess:
        """One that has begun its work."""
        worker = self.of(name)
        worker.start([sys.executable, "-u", "-c", code], environment=os.environ, notes=notes)
        assert worker.process
        self._started.append(worker.process)
        until(lambda: self.printed(name) or not worker.alive)
        return worker

    def printed(self, name: str) -> str:
        return (self.folder / "logs" / f"{name}.log").read_text()

    def end(self) -> None:
        processes.end(*self._started, grace_s=0.0)
        for process in self._started:
            processes.end_left_behind(process)


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    workers = Workers(tmp_path)
    yield workers
    workers.end()


def test_what_was_started_is_adopted_with_what_was_noted(workers: Workers) -> None:
    # given a worker that was never started
    assert (workers.of("one").was_started, workers.of("one").pid, workers.of("one").ask_end()) == (False, None, True)
    # when it is started
    worker = workers.start("one", WAITS, url="http://here")
    # then it works in its folder, and whoever comes next finds it
    adopted = workers.of("one")
    assert (adopted.alive, adopted.pid, adopted.notes["url"]) == (True, worker.pid, "http://here")
    assert workers.printed("one") == "up\n"
    # and what is noted again takes the place of what was
    adopted.write_note({"url": "http://there"})
    assert workers.of("one").notes == {**worker.notes, "process": adopted.notes["process"], "url": "http://there"}


def test_worker_is_told_where_it_works_unless_it_was(workers: Workers) -> None:
    tells = f"import os; print(os.environ['{WORK_DIR_VARIABLE}'])"
    workers.start("one", tells)
    assert workers.printed("one") == f"{workers.folder / 'one'}\n"
    elsewhere = {**os.environ, WORK_DIR_VARIABLE: "/elsewhere"}
    worker = workers.of("two")
    worker.start([sys.executable, "-u", "-c", tells], environment=elsewhere, notes={})
    until(lambda: not worker.alive)
    assert workers.printed("two") == "/elsewhere\n"


def test_worker_is_asked_to_end_and_says_how_it_did(workers: Workers) -> None:
    worker = workers.start("one", "import signal, sys, time\n" + _ON_TERM + WAITS)
    assert worker.exit == ""
    # when it is asked once, then it ends by itself
    assert not worker.ask_end()
    until(lambda: not worker.alive)
    assert worker.ask_end()
    # and its parent knows how, but nobody else does
    assert worker.exit == "exit code 7"
    # and once it is forgotten its next start is the first
    worker.forget()
    assert not workers.of("one").was_started
    assert worker.folder.is_dir()
    worker.remove()
    assert not worker.folder.exists()
    worker.remove()


_ON_TERM = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))\n"


def test_worker_that_does_not_end_is_killed_when_its_patience_is_over(workers: Workers) -> None:
    worker = workers.start("one", STUBBORN)
    # when it is asked, and half a minute is not over
    assert not worker.ask_end()
    workers.clock.now += 29
    assert not worker.ask_end()
    assert worker.alive
    # then it goes on, and then not
    workers.clock.now += 2
    worker.ask_end()
    assert worker.ask_end()
    assert worker.exit == "killed by SIGKILL"


def test_all_are_asked_until_each_has_ended() -> None:
    # given what ends at the first call, and what does at the third
    calls: list[str] = []

    def asked(name: str, *, at: int) -> bool:
        calls.append(name)
        return calls.count(name) == at

    # when all are awaited, then none is asked again that has ended
    await_ends([lambda: asked("quick", at=1), lambda: asked("slow", at=3)])
    assert calls == ["quick", "slow", "slow", "slow"]
    await_ends([])


@pytest.mark.parametrize("how", ["asked", "started again"])
def test_what_a_killed_worker_leaves_is_ended_with_it(workers: Workers, how: str) -> None:
    # given a worker with a child that lives on
    worker = workers.start("one", PARENT)
    child = int(workers.printed("one"))
    kill(worker.pid or 0)
    assert runs(child)
    # when it is asked to end, or started again, by this supervisor or the next
    if how == "asked":
        assert workers.of("one").ask_end()
    else:
        workers.of("one").start([sys.executable, "-c", ""], environment=os.environ, notes={})
    # then its child is gone
    until(lambda: not runs(child))


def test_strays_are_ended_and_nobody_else(workers: Workers) -> None:
    # given a worker that a killed supervisor had not noted yet, one that was, with a child, and one of another folder
    stray, noted, other = (workers.start(name, PARENT) for name in ("below/stray", "below/noted", "other"))
    (stray.folder / "note.json").unlink()
    child, strays_child = (int(workers.printed(f"below/{name}")) for name in ("noted", "stray"))
    # when strays are ended
    end_strays(workers.folder / "below", [workers.of("below/noted"), workers.of("below/stray")])
    # then only that one is gone, with its child
    until(lambda: not runs(stray.pid or 0) and not runs(strays_child))
    assert noted.alive
    assert other.alive
    assert runs(child)
    # and once more is quiet
    end_strays(workers.folder / "below", [workers.of("below/noted")])
    assert noted.alive


@pytest.mark.parametrize("content", ["{", "", '{"process": '])
def test_damaged_note_counts_as_none_and_its_process_is_a_stray(workers: Workers, content: str) -> None:
    # given a running worker whose note a full disk has damaged
    worker = workers.start("one", WAITS)
    (worker.folder / "note.json").write_text(content)
    # when the next supervisor comes, then it knows of none, and ends it
    found = workers.of("one")
    assert not found.was_started
    end_strays(workers.folder, [found])
    until(lambda: not runs(worker.pid or 0))


def test_a_note_is_its_owners_and_says_what_the_process_is(workers: Workers) -> None:
    worker = workers.start("one", WAITS, crashes=2)
    file = worker.folder / "note.json"
    document = json.loads(file.read_text())
    assert worker.process
    assert document == {"process": worker.process.to_json(), "crashes": 2}
    assert not file.stat().st_mode & 0o077
