"""Where on this machine results were fetched to, so that they are found again without AWS and without gpupipe.toml.

What a folder holds is told by the folder itself (`.gpupipe/holds.json`); noted is only where to look for folders, in
one small file each. A note that is lost, or leads to a folder that was moved, hides nothing that lies where a person
works: that folder, those in it and those in its `results/` are looked at as well.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import shlex
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gpupipe.errors import GpupipeError, JobError, UsageError
from gpupipe.jobs.folder import DEFAULT_FOLDER, HIDDEN, NOTE, NOTE_BYTES, REPORT, named, replacing
from gpupipe.jobs.sources import shown
from gpupipe.plain_files import read_plain
from gpuworker.contract import JOBS

NOTES_MAX = 500
"""Folders that are remembered; those fetched into longest ago are forgotten first."""
NEAR_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Place:
    """A folder that `fetch` made."""

    folder: Path
    """Absolute."""
    holds: Mapping[str, Any]
    """`job` or `project`, and whose: `stack`, `account`, `pipeline`."""
    jobs: Sequence[str]
    """Those with results in it: of a job's folder one."""
    fetched_at: float | None
    """Seconds since 1970; None where the first fetch into it was not finished, so that it has no report."""
    is_here: bool = True
    """Does it lie where the person works, or was it fetched from there, or named?"""

    @property
    def report(self) -> Path:
        return self.folder / REPORT

    @property
    def name(self) -> str:
        """`job 2026…` or `project field7`."""
        return named(self.holds) if self.holds else "a report that does not say of what it is"

    @property
    def project(self) -> str:
        """Empty where the folder is a job's."""
        return str(self.holds.get("project", ""))

    def fits(self, *, job: str, project: str) -> bool:
        """Does it hold a job that begins so, or this project? "" asks for nothing."""
        return project in ("", self.project) and (not job or any(one.startswith(job) for one in self.jobs))


@dataclass(frozen=True, kw_only=True)
class Places:
    """What was fetched on this machine, for a person who works in the folder `here`."""

    notes: Path | None
    """Where folders are noted; None where this machine has no place for that."""
    here: Path
    notes_max: int = NOTES_MAX

    def note(self, folder: Path) -> None:
        """Remember that results go into a folder. What cannot be noted is still found by whoever names the folder."""
        if self.notes is None:
            return
        place = os.path.abspath(folder)
        file = self.notes / f"{hashlib.sha256(os.fsencode(place)).hexdigest()[:32]}.json"
        with contextlib.suppress(GpupipeError, OSError):
            with replacing(file) as opened:
                opened.write(json.dumps({"folder": place, "from": str(self.here)}).encode())
            self._forget_oldest()

    def find(self, *, job: str = "", project: str = "") -> Place:
        """The folder with results of a job (or of one that begins so), of a project, or of all, fetched last.

        Those that lie here or were fetched from here come before all others, a job's own before its project's.
        Raises JobError where there is none, where several jobs are meant, or where its first fetch was not finished.
        """
        fitting = [place for place in self._known() if place.fits(job=job, project=project)]
        meant = [place for place in fitting if job in place.jobs] or fitting
        if not meant:
            raise self._not_fetched(job, project)
        if job:
            _require_one({name for place in meant for name in place.jobs if name.startswith(job)}, job)

        def rank(place: Place) -> tuple[bool, bool, float]:
            return place.is_here, bool(job) and not place.project, place.fetched_at or 0.0

        return _whole(max(meant, key=rank))

    def _known(self) -> Iterator[Place]:
        noted = self._noted()
        for folder in dict.fromkeys((*noted, *_around(self.here))):
            is_here = folder.is_relative_to(self.here) or noted.get(folder) == str(self.here)
            if (place := _read(folder)) is not None:
                yield replace(place, is_here=is_here)

    def _noted(self) -> dict[Path, str]:
        """Folders, and where somebody worked who fetched into them."""
        noted = [(str(one.get("folder", "")), str(one.get("from", ""))) for one in map(_document, self._note_files())]
        return {Path(folder): where for folder, where in noted if os.path.isabs(folder)}

    def _note_files(self) -> list[Path]:
        return list(self.notes.glob("*.json")) if self.notes is not None else []

    def _forget_oldest(self) -> None:
        files = sorted(self._note_files(), key=lambda file: file.stat().st_mtime, reverse=True)
        for file in files[self.notes_max :]:
            file.unlink(missing_ok=True)

    def _not_fetched(self, job: str, project: str) -> JobError:
        if job and (self.here / job).is_dir():
            hint = f"Open the folder with `gpupipe open -o {shlex.quote(job)}`."
            return JobError(f"there is no job {shown(job)}, but a folder.", hint=hint)
        what = f"results of {_subject(job, project)}" if job or project else "results"
        return JobError(
            f"there are no {what} on this machine, as far as gpupipe knows.",
            hint=f"Fetch them with `{_fetch(job, project)} --open`; those in another folder open with "
            "`gpupipe open -o FOLDER`.",
        )


def place_at(folder: Path, *, job: str = "", project: str = "") -> Place:
    """The results in a folder that a person has named; a report that was sent around without the rest will do.

    Raises UsageError where it holds none, or others than those asked for; JobError where its fetch was not finished.
    """
    whole, where = Path(os.path.abspath(folder)), shown(str(folder))
    found, written_at = _read(whole), _written_at(whole / REPORT)
    if found is None and written_at is not None and not job and not project:
        return Place(folder=whole, holds={}, jobs=(), fetched_at=written_at)
    if found is None:
        what = f"{where} holds nothing that gpupipe fetched" if folder.is_dir() else f"there is no folder {where}"
        hint = f"`{_fetch(job, project)} -o {shlex.quote(where)}` fetches results into it."
        raise UsageError(f"{what}.", hint=hint)
    if not found.fits(job=job, project=project):
        raise UsageError(
            f"{where} holds the results of {found.name}, not of {_subject(job, project)}.",
            hint="Name the folder or what is in it, not both.",
        )
    return _whole(found)


def _require_one(jobs: set[str], beginning: str) -> None:
    if len(jobs) > 1 and beginning not in jobs:
        first = ", ".join(map(shown, itertools.islice(sorted(jobs), NEAR_SHOWN)))
        raise JobError(f"{len(jobs)} fetched jobs begin with {beginning}: {first}.", hint="Give more of the name.")


def _whole(place: Place) -> Place:
    if place.fetched_at is None:
        fetch = _fetch("" if place.project else place.jobs[0], place.project)
        raise JobError(
            f"{shown(str(place.folder))} has no {REPORT}: the fetch of {place.name} into it was not finished.",
            hint=f"Go on with `{fetch} -o {shlex.quote(shown(str(place.folder)))}`.",
        )
    return place


def _subject(job: str, project: str) -> str:
    return f"job {shown(job)}" if job else f"project {shown(project)}"


def _fetch(job: str, project: str) -> str:
    """The command that brings them."""
    return " ".join(["gpupipe fetch", *([shown(job)] if job else [f"--project {shown(project)}"] if project else [])])


def _around(here: Path) -> Iterator[Path]:
    yield here
    for within in (here, here / DEFAULT_FOLDER):
        with contextlib.suppress(OSError), os.scandir(within) as entries:
            yield from (within / entry.name for entry in entries if entry.is_dir())


def _read(folder: Path) -> Place | None:
    """What a folder says of itself; None where it says nothing."""
    holds = _document(folder / HIDDEN / NOTE)
    job, project = (str(holds.get(kind) or "") for kind in ("job", "project"))
    if not job and not project:
        return None
    jobs = [job] if job else _names_in(folder / HIDDEN / JOBS)
    return Place(folder=folder, holds=holds, jobs=jobs, fetched_at=_written_at(folder / REPORT))


def _names_in(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _document(file: Path) -> Mapping[str, Any]:
    """What somebody may have written; nothing where it is no document."""
    try:
        document = json.loads(read_plain(file, limit_bytes=NOTE_BYTES))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _written_at(file: Path) -> float | None:
    """When a file was written, which is a file and no link."""
    try:
        status = file.lstat()
    except OSError:
        return None
    return status.st_mtime if stat.S_ISREG(status.st_mode) else None
