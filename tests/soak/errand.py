"""The commands of a person, one after another: what was killed is typed again, as it was."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from tests.e2e.conftest import Person

TRIES = 12
"""Of a command: a killed emulator may end it a few times."""
STARTS = Callable[[Sequence[str], IO[str], IO[str]], "subprocess.Popen[str]"]


class GivenUpError(Exception):
    """A command did not come to a good end however often it was typed; says which and what it said."""


class Errand:
    """From a folder of images to results."""

    def __init__(self, start: STARTS, commands: Sequence[str], *, project: str, folder: Path) -> None:
        """`start` begins a command whose output goes into two files of `folder`."""
        self._start, self._project, self._folder = start, project, folder
        self._left = list(commands)
        self._process: subprocess.Popen[str] | None = None
        self._tries, self._struck = 0, False
        self.job = ""
        self.faults: list[str] = []
        self.failures: list[str] = []
        """What commands said that ended by themselves and not well."""

    @property
    def is_over(self) -> bool:
        return not self._left

    def step(self) -> None:
        """Begin what is next, or look whether it has ended. Raises GivenUpError."""
        if self._process is None and self._left:
            self._begin()
        elif self._process is not None and self._process.poll() is not None:
            self._take(self._process.returncode)

    def strike(self) -> Sequence[int]:
        """Kill the command that runs, if one does; its process id."""
        if self._process is None or self._process.poll() is not None:
            return []
        self._struck = True
        self._process.kill()
        return [self._process.pid]

    def end(self) -> None:
        """Leave no command running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _begin(self) -> None:
        self._tries += 1
        if self._tries > TRIES:
            raise GivenUpError(f"gpupipe {self._left[0]} was typed {TRIES} times: {'; '.join(self.failures[-3:])}")
        with self._file("out").open("w") as out, self._file("err").open("w") as err:
            self._process = self._start(self._arguments(self._left[0]), out, err)

    def _arguments(self, command: str) -> Sequence[str]:
        return {
            "run": ("run", "images", "--project", self._project, "-o", "results", "--json"),
            "submit": ("submit", "images", "--project", self._project, "--json"),
            "watch": ("watch", self.job, "--json"),
            "fetch": ("fetch", self.job, "-o", "results", "--json"),
        }[command]

    def _take(self, code: int) -> None:
        """What a command that has ended means for what comes next."""
        self._process = None
        command, was_struck, self._struck = self._left[0], self._struck, False
        if code == 0:
            if command == "submit":
                self.job = json.loads(self._file("out").read_text())["job"]
            self._left.pop(0)
            self._tries = 0
        elif not was_struck:
            said = self._file("err").read_text().strip()
            self.failures.append(f"{command} -> {code}: {said[-300:]}")
            if not said:
                self.faults.append(f"{command} ended with {code} and said nothing")

    def _file(self, name: str) -> Path:
        return self._folder / f"command.{name}"


def starting(person: Person) -> STARTS:
    """Begins commands of this person."""
    return lambda arguments, out, err: person.start(*arguments, out=out, err=err)
