"""What lies beside inputs and says more of them: found with them, read before anything is uploaded, carried by items.

A sidecar's name is that of its input with the task's suffix: `tree.jpg.prompts.json` is beside `tree.jpg`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from gpupipe.errors import InputError
from gpupipe.jobs.sources import Input, LocalFile, ZipMember
from gpupipe.tasks import TaskOptions

Sidecars = Mapping[str, Mapping[str, Any]]
"""Path of an input below the project -> what its item carries."""

BYTES_MAX = 1024 * 1024
MISTAKES_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class Paired:
    """The sidecars of a submission."""

    by_path: Mapping[str, Input]
    """Path of an input below the project -> its sidecar."""
    lost: Sequence[Input]
    """Those beside which there is no such file at all: most likely misspelled."""


class Beside:
    """Sidecars that a search has come across, until it is known what inputs there are."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix
        self._found: dict[str, Input] = {}

    def is_sidecar(self, name: str) -> bool:
        return bool(self.suffix) and name.lower().endswith(self.suffix)

    def add(self, file: Input) -> None:
        self._found[_place(file)[: -len(self.suffix)]] = file

    def look_for(self, place: str) -> None:
        """Take the sidecar of a file that was named by itself, if it has one."""
        try:
            found = os.stat(place + self.suffix) if self.suffix else None
        except OSError:
            return
        if found is not None:
            folder, name = os.path.split(place + self.suffix)
            self.add(LocalFile(folder, name, found.st_size, found.st_mtime_ns))

    def paired(self, files: Iterable[Input]) -> Paired:
        """Each with its input. Those of files that are passed over are passed over too."""
        rest = dict(self._found)
        by_path = {file.path: rest.pop(place) for file in files if rest and (place := _place(file)) in rest}
        lost = [one for place, one in rest.items() if isinstance(one, ZipMember) or not os.path.lexists(place)]
        return Paired(by_path=by_path, lost=lost)


def _place(file: Input) -> str:
    """Where it is; the same for the same file, however it was come by."""
    return os.path.normpath(file.place) if isinstance(file, LocalFile) else str(file)


def read_sidecars(paired: Paired, options: TaskOptions) -> Sidecars:
    """All of them, validated; those that say nothing are left out. Raises InputError with the first mistakes."""
    told, mistakes = _read(paired, options)
    require_none(
        mistakes, hint=f"Mend or remove them. One is named as its image with {options.sidecar_suffix} after it."
    )
    return {path: sidecar for path, sidecar in told.items() if sidecar}


def _read(paired: Paired, options: TaskOptions) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    told: dict[str, Mapping[str, Any]] = {}
    mistakes = [f"{one} belongs to no input: there is no {_input_name(one, options)} beside it" for one in paired.lost]
    for path, file in paired.by_path.items():
        try:
            told[path] = options.read_sidecar(_content(file))
        except ValueError as error:
            mistakes.append(f"{file}: {error}")
    return told, mistakes


def require_none(mistakes: Sequence[str], *, hint: str) -> None:
    """Raises InputError where there are mistakes in files beside images."""
    if mistakes:
        raise InputError(
            f"nothing was uploaded, because {len(mistakes):,} {'file' if len(mistakes) == 1 else 'files'} beside "
            f"images cannot be used:{''.join(_shown(mistakes))}",
            hint=hint,
        )


def _input_name(sidecar: Input, options: TaskOptions) -> str:
    return os.path.basename(sidecar.path)[: -len(options.sidecar_suffix)]


def _content(file: Input) -> bytes:
    """Raises ValueError for one that is too long, InputError for one that cannot be read."""
    with closing(file.open()) as opened:
        data = opened.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise ValueError(f"it is longer than {BYTES_MAX // 1024**2} MiB")
    return data


def _shown(mistakes: Sequence[str]) -> Iterator[str]:
    yield from (f"\n  {mistake}" for mistake in mistakes[:MISTAKES_SHOWN])
    if len(mistakes) > MISTAKES_SHOWN:
        yield f"\n  and {len(mistakes) - MISTAKES_SHOWN:,} more"


def require_aim(files: Sequence[Input], sidecars: Sidecars, options: TaskOptions) -> None:
    """Raises InputError where there are inputs in which nothing is to be looked for."""
    if options.has_aim({}):
        return
    aimless = [file.path for file in files if not options.has_aim(sidecars.get(file.path, {}))]
    if not aimless:
        return
    raise InputError(
        f"nothing was uploaded, because there is nothing to look for in {_which(aimless, len(files))}: "
        "there is no prompt, and no box beside it that shows an example.",
        hint=f"Add --prompt TEXT, or write examples into IMAGE{options.sidecar_suffix} beside each image.",
    )


def _which(aimless: Sequence[str], total: int) -> str:
    if len(aimless) == total:
        return "any image" if total > 1 else aimless[0]
    more = " …" if len(aimless) > MISTAKES_SHOWN else ""
    return f"{len(aimless):,} of {total:,} images ({', '.join(aimless[:MISTAKES_SHOWN])}{more})"
