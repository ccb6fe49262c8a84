"""A person's commands: what is killed is typed again, what ends well is not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import pytest
from tests.soak.errand import TRIES, Errand, GivenUpError

LOOKS = 4 * TRIES
"""Two for each time that a command is typed, and as many again."""


class Shell:
    """Begins a script of its own in the place of each command, and remembers what was typed."""

    def __init__(self, *scripts: str) -> None:
        self._scripts = list(scripts)
        self.typed: list[Sequence[str]] = []
        self.began: list[subprocess.Popen[str]] = []

    def start(self, arguments: Sequence[str], out: IO[str], err: IO[str]) -> subprocess.Popen[str]:
        script = self._scripts[min(len(self.typed), len(self._scripts) - 1)]
        self.typed.append(arguments)
        self.began.append(subprocess.Popen([sys.executable, "-S", "-c", script], stdout=out, stderr=err, text=True))
        return self.began[-1]


ENDS_WELL, WAITS = "pass", "import time; time.sleep(600)"
SUBMITS = 'print(\'{"job": "j1"}\')'
FAILS, FAILS_SILENTLY = "import sys; sys.exit('the target is gone')", "import sys; sys.exit(2)"


def errand(shell: Shell, folder: Path, *commands: str) -> Errand:
    return Errand(shell.start, commands, project="p", folder=folder)


def done(one: Errand, shell: Shell) -> Errand:
    """Once all its commands have come to a good end."""
    for _ in range(LOOKS):
        if one.is_over:
            break
        one.step()
        shell.began[-1].wait(timeout=60)
    assert one.is_over
    return one


def test_commands_follow_one_another_and_are_told_the_job(tmp_path: Path) -> None:
    shell = Shell(SUBMITS, ENDS_WELL)
    done(errand(shell, tmp_path, "submit", "watch", "fetch"), shell)
    assert [typed[:2] for typed in shell.typed] == [("submit", "images"), ("watch", "j1"), ("fetch", "j1")]


def test_a_killed_command_is_typed_again_as_it_was(tmp_path: Path) -> None:
    # given a command that is killed
    shell = Shell(WAITS, ENDS_WELL)
    one = errand(shell, tmp_path, "run")
    one.step()
    assert one.strike()
    # when the person goes on
    done(one, shell)
    # then
    assert shell.typed[0] == shell.typed[1]
    assert (len(shell.typed), one.failures, one.faults) == (2, [], [])
    assert one.strike() == []


def test_a_command_that_fails_by_itself_is_typed_again_and_remembered(tmp_path: Path) -> None:
    shell = Shell(FAILS, ENDS_WELL)
    one = done(errand(shell, tmp_path, "run"), shell)
    assert (one.failures, one.faults) == (["run -> 1: the target is gone"], [])


def test_to_fail_in_silence_is_a_fault(tmp_path: Path) -> None:
    shell = Shell(FAILS_SILENTLY, ENDS_WELL)
    one = done(errand(shell, tmp_path, "run"), shell)
    assert one.faults == ["run ended with 2 and said nothing"]


def test_nothing_is_typed_for_ever(tmp_path: Path) -> None:
    shell = Shell(FAILS)
    with pytest.raises(GivenUpError, match=rf"gpupipe run was typed {TRIES} times: .*the target is gone"):
        done(errand(shell, tmp_path, "run"), shell)
    assert len(shell.typed) == TRIES
