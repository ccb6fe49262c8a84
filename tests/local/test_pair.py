"""Which emulators are ended because they do not answer."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.local.waiting import until

from gpupipe.local import processes
from gpupipe.local.emulators import NAMES, Account
from gpupipe.local.pair import DEAF_CHECKS, EmulatorPair
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
