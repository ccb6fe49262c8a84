import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.local.waiting import runs, until

from gpupipe.local.runners.ec2.machine import Machine, Patience

QUICK = Patience(restart_s=0.01, restart_max_s=0.05, term_grace_s=0.5)


def disk(tmp_path: Path, **settings: Any) -> Path:
    """A machine's disk with the worker's settings on it."""
    folder = tmp_path / "i-1"
    folder.mkdir()
    (folder / "worker.json").write_text(json.dumps(settings))
    return folder


def starts(folder: Path) -> list[dict[str, Any]]:
    """One record for each start of the worker."""
    file = folder / "starts.jsonl"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(folder: Path, python: Path | str) -> dict[str, Any]:
    """`run.json` of a machine that ran in its own process until it went off."""
    with power_on(folder, python) as process:
        assert process.wait(timeout=30) == 0
    return off(folder)


def power_on(folder: Path, python: Path | str, hours: float = 1.0) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "gpupipe.local.runners.ec2.machine", "--folder", str(folder)]
    return subprocess.Popen(
        [*command, "--python", str(python), "--max-hours", str(hours)],
        env={**os.environ, "GPUPIPE_WORK_DIR": str(folder), "GPUPIPE_WORKER_CONFIG": str(folder / "worker.json")},
    )


def off(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "run.json").read_text())["off"]
    return found


def test_worker_that_ends_by_itself_turns_the_machine_off(tmp_path: Path, worker_python: Path) -> None:
    folder = disk(tmp_path, then="exit 0")
    found = run(folder, worker_python)
    assert (found["reason"], found["exit_code"]) == ("idle", 0)
    assert [start["argv"] for start in starts(folder)] == [["-m", "gpuworker.entries.poll"]]


def test_failed_worker_is_started_again(tmp_path: Path, worker_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a worker that fails, is killed, and then is done
    folder = disk(tmp_path, then=["exit 3", "killed", "exit 0"])
    monkeypatch.setenv("GPUPIPE_WORK_DIR", str(folder))
    monkeypatch.setenv("GPUPIPE_WORKER_CONFIG", str(folder / "worker.json"))
    # when
    found = Machine(folder, command=[str(worker_python)], patience=QUICK).run()
    # then
    assert found.reason == "idle"
    assert len(starts(folder)) == 3


def test_worker_that_always_fails_turns_the_machine_off(
    tmp_path: Path, worker_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = disk(tmp_path, then="killed")
    monkeypatch.setenv("GPUPIPE_WORK_DIR", str(folder))
    monkeypatch.setenv("GPUPIPE_WORKER_CONFIG", str(folder / "worker.json"))
    found = Machine(folder, command=[str(worker_python)], patience=QUICK).run()
    assert found.reason == "failed"
    assert "5 times: killed by SIGKILL" in found.detail
    assert len(starts(folder)) == 5


def test_failures_far_apart_are_forgiven(tmp_path: Path, worker_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = disk(tmp_path, then=["exit 1"] * 4 + ["exit 0"])
    monkeypatch.setenv("GPUPIPE_WORK_DIR", str(folder))
    monkeypatch.setenv("GPUPIPE_WORKER_CONFIG", str(folder / "worker.json"))
    rare = Patience(restart_s=0.01, restart_max_s=0.01, max_failures=2, failure_window_s=0.0)
    assert Machine(folder, command=[str(worker_python)], patience=rare).run().reason == "idle"


def test_python_that_is_not_there_turns_the_machine_off(tmp_path: Path) -> None:
    folder = disk(tmp_path, then="exit 0")
    found = run(folder, tmp_path / "no-python")
    assert found["reason"] == "failed"
    assert "no-python" in found["detail"]


def test_power_off_lets_the_worker_finish(tmp_path: Path, worker_python: Path) -> None:
    # given a machine with a worker that waits, and a process of its own
    folder = disk(tmp_path, then="wait", child=True)
    with power_on(folder, worker_python) as process:
        child = until(lambda: starts(folder))[0]["child"]
        # when it is powered off
        process.terminate()
        assert process.wait(timeout=20) == 0
    # then the worker was told, and nothing of it is left
    assert off(folder)["reason"] == "stopped"
    assert (folder / "told.txt").read_text() == "SIGTERM"
    until(lambda: not runs(child))


def test_hard_limit_ends_the_machine(tmp_path: Path, worker_python: Path) -> None:
    folder = disk(tmp_path, then="wait")
    with power_on(folder, worker_python, hours=1.5 / 3600) as process:
        assert process.wait(timeout=20) == 0
    assert off(folder)["reason"] == "hard_limit"
    assert (folder / "told.txt").exists()


def test_stubborn_worker_is_killed(tmp_path: Path, worker_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # given a machine whose worker ignores SIGTERM
    folder = disk(tmp_path, then="stubborn")
    monkeypatch.setenv("GPUPIPE_WORK_DIR", str(folder))
    monkeypatch.setenv("GPUPIPE_WORKER_CONFIG", str(folder / "worker.json"))
    machine = Machine(folder, command=[str(worker_python)], patience=QUICK)
    before = signal.signal(signal.SIGALRM, lambda *_: machine.tell("stopped", "told"))
    try:
        # when it is told to power off
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        found = machine.run()
    finally:
        signal.signal(signal.SIGALRM, before)
    # then
    assert found.reason == "stopped"
    assert not psutil.pid_exists(starts(folder)[0]["pid"])


def test_a_machines_own_process_is_small() -> None:
    # one runs beside each worker for as long as that does
    code = "import sys, gpupipe.local.runners.ec2.machine; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert {"psutil", "boto3", "botocore", "pydantic"}.isdisjoint(found.stdout.split())
