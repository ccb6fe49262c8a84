"""Whole screens compared to what is written in a test: a person's commands, and all that each of them shows.

A transcript is what one would copy from a terminal:

    $ gpupipe jobs
    2> what stderr shows
    what stdout shows
    (exit 3)            where it is not 0

What differs from run to run is written as a word: FOLDER, JOB1 (JOB2 … as they come up), ACCOUNT, MACHINE, HASH, N of
what is measured, $N of money. A line that is too long to be written in a test goes on behind `    ... `. A job that is
followed says more or less of itself as its time falls: of those lines each phrase must be one that the walk may hear.
How far a long command has come is left out, and that a local target takes long to start.
"""

from __future__ import annotations

import difflib
import re
import shlex
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from tests.e2e.conftest import Done, Person

WIDTH = 108
"""Of a line of a transcript, which stands indented in a test."""
_JOB = re.compile(r"\b\d{8}-\d{6}-[\w-]+?-[0-9a-f]{4}\b")
_NUMBER = re.compile(r"(?<![\w.-])\d[\d,.]*\b")
_FOLLOWED = re.compile(r"2> JOB\d+: (submitted|held|pending|running|finished)(?:; |$)")
_PROGRESS = re.compile(r"2> \d+(/\d+)? (parts|items|files|objects), |2> The local target is being started; ")
_WORDS = (
    (re.compile(r"\bi-[0-9a-f]{17}\b"), "MACHINE"),
    (re.compile(r"(?<=-)[0-9a-f]{8}\b"), "HASH"),
    (re.compile(r"(?<=[-/:])\d{12}(?=[-/:])"), "ACCOUNT"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "http://EMULATOR"),
    (re.compile(r"\$\d[\d,.]*\d"), "$N"),
    (re.compile(r"(?m)^((?:2> )?[+~±-]  .*?)\d+\.\d\d$"), r"\1N"),
    (re.compile(r"\b\d[\d,.]* images/(?:s|min)\b"), "N images/s"),
    (re.compile(r"\b\d[\d,.]*(?= (?:s|min|h|MB|m²)\b)"), "N"),
)


@dataclass(frozen=True, kw_only=True)
class Walk:
    """One person's way through the commands."""

    person: Person
    phrases: set[str] = field(default_factory=set)
    """What may be said of jobs that are followed."""
    jobs: list[str] = field(default_factory=list)

    def goes(self, transcript: str) -> None:
        """Type the commands of a transcript; every screen must be as it is written there."""
        for wanted in _steps(textwrap.dedent(transcript).strip("\n")):
            lines = wanted.split("\n")
            differences = list(
                difflib.unified_diff(lines, list(self._shown(lines[0])), "written", "shown", lineterm="")
            )
            if differences:
                pytest.fail("\n".join(differences), pytrace=False)

    def may_hear(self, phrases: str) -> None:
        """What is said of jobs while they are followed, a phrase a line; numbers are N, whatever the job is called."""
        self.phrases.update(textwrap.dedent(phrases).strip("\n").split("\n"))

    def _shown(self, command: str) -> Iterator[str]:
        program, *arguments = shlex.split(self._typed(command.removeprefix("$ ")))
        assert program == "gpupipe"
        yield command
        for line in self._screen(self.person.types(*arguments, code=None)).splitlines():
            if followed := _FOLLOWED.match(line):
                said = {f"JOB: {followed[1]}", *_NUMBER.sub("N", line[followed.end() :]).split("; ")}
                yield from sorted(f"not among the phrases: {one}" for one in said - self.phrases if one)
            elif not _PROGRESS.match(line):
                yield from self._folded(line)

    def _typed(self, text: str) -> str:
        """A command with the jobs' own names."""
        for number, job in enumerate(self.jobs, 1):
            text = text.replace(f"JOB{number}", job)
        return text

    def _screen(self, done: Done) -> str:
        lines = [*(f"2> {line}".rstrip() for line in done.err.splitlines()), *done.out.splitlines()]
        text = "\n".join([*lines, *([f"(exit {done.code})"] if done.code else [])])
        text = _JOB.sub(lambda found: self._name(found[0]), text.replace(str(self.person.folder), "FOLDER"))
        for pattern, word in _WORDS:
            text = pattern.sub(word, text)
        return text

    @staticmethod
    def _folded(line: str) -> list[str]:
        return textwrap.wrap(line, WIDTH, subsequent_indent="    ... ", break_on_hyphens=False) or [line]

    def _name(self, job: str) -> str:
        if job not in self.jobs:
            self.jobs.append(job)
        return f"JOB{self.jobs.index(job) + 1}"


def _steps(transcript: str) -> list[str]:
    return [step.rstrip("\n") for step in re.split(r"(?m)^(?=\$ )", transcript) if step]
