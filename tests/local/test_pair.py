"""Which emulators are ended because they do not answer, and how often one is started that ends."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from tests.local.waiting import until

from gpupipe.errors import TargetError
from gpupipe.local import processes
from gpupipe.local.emulators import NAMES, Account
from gpupipe.local.pair import DEAF_CHECKS, START_TRIES, EmulatorPair
from gpupipe.local.processes import ProcessName

BUSY_FROM_S = 0.02
"""Systems count processor time in hundredths of a second."""


def deaf(folder: Path, code: str) -> EmulatorPair:
    """A pair whose emulators both run `code`, and answer nobody."""
    running: dict[str, ProcessName] = {
        name: processes.spawn(
            [sys.executable, "-c", code], environment=os.environ, folder=folder, log=folder / f"{name}.log"
        )
        for name in NAMES
    }
    ports = dict.fromkeys(NAMES, 1)  # where nothing of ours ever listens
    account = Account.new("us-east-1")
    patience = {"check_s": 0.0, "busy_from_s": BUSY_FROM_S}
    return EmulatorPair(folder, account, running=running, ports=ports, changed=lambda _: None, **patience)


def test_one_that_does_nothing_is_ended(tmp_path: Path) -> None:
    pair = deaf(tmp_path, "import time; time.sleep(60)")
    try:
        until(lambda: all(process.alive for process in pair.processes.values()))
        until(lambda: pair.end_hung() or pair.dead == list(pair.processes))
    finally:
        pair.end_all()


def test_one_that_computes_is_left_to_it(tmp_path: Path) -> None:
    pair = deaf(tmp_path, "while True: pass")
    try:
        for _ in range(DEAF_CHECKS + 2):
            before = {name: process.computed_s for name, process in pair.processes.items()}
            until(lambda: all(p.computed_s > before[n] + 2 * BUSY_FROM_S for n, p in pair.processes.items()))  # noqa: B023
            pair.end_hung()
        assert pair.dead == []
    finally:
        pair.end_all()


class Killer:
    """Kills the first `count` emulators of a name as soon as they are started."""

    def __init__(self, folder: Path, *, name: str, count: int) -> None:
        self.said: list[str] = []
        self.killed: list[int] = []
        self._name, self._count = name, count
        account = Account.new("us-east-1")
        self.pair = EmulatorPair(folder, account, running={}, ports={}, changed=self._kill, say=self.said.append)

    def _kill(self, pair: EmulatorPair) -> None:
        process = pair.processes.get(self._name)
        if process and process.pid not in self.killed and len(self.killed) < self._count:
            self.killed.append(process.pid)
            os.kill(process.pid, signal.SIGKILL)


def test_one_that_is_killed_whenever_it_starts_is_given_up_after_a_few_tries(tmp_path: Path) -> None:
    killer = Killer(tmp_path, name="moto", count=100)
    try:
        with pytest.raises(TargetError, match=f"{START_TRIES} times: .*moto ended while starting. Its log .* ends:"):
            killer.pair.bring_up()
    finally:
        killer.pair.end_all()
    assert len(killer.killed) == START_TRIES
    assert killer.said == ["The local target's moto ended while starting; it is started again."] * (START_TRIES - 1)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", NAMES)
def test_one_that_was_killed_while_starting_is_started_again(tmp_path: Path, name: str) -> None:
    killer = Killer(tmp_path, name=name, count=START_TRIES - 1)
    try:
        assert killer.pair.bring_up() == set(NAMES)
        assert all(killer.pair.runs(one) for one in NAMES)
    finally:
        killer.pair.end_all()
    assert len(killer.said) == len(killer.killed) == START_TRIES - 1
