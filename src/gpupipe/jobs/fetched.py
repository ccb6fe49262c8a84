"""Results that `fetch` wrote, met while images are looked for: overlays and masks of one job are no inputs of the next.

A folder that was fetched into says so in `.gpupipe/holds.json`; what else lies in it is the person's. What was fetched
is passed over wherever a search comes across it. Who names a place inside `items/` by hand means it: it is taken, and
said. An entry of the folder itself (`items`) that is named among others comes from the shell's star: it is passed over.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence

from gpupipe.jobs.archives import SkipReason
from gpupipe.jobs.folder import FETCHED, HIDDEN, NOTE
from gpupipe.jobs.passed_over import RESULT, PassedOver
from gpupipe.jobs.sources import shown

NAMED_MAX = 100
"""Arguments inside results that are remembered by name."""


class FetchedResults:
    """What of all that a submission names was fetched before."""

    def __init__(self) -> None:
        self.named: list[str] = []
        """Arguments that lie inside results, and are taken; the first hundred."""
        self._known: dict[str, bool] = {}

    def meant(self, arguments: Sequence[str], passed: PassedOver) -> Iterator[str]:
        """The arguments without those that only the shell has named."""
        for argument in arguments:
            if not self.is_within(argument):
                yield argument
            elif self.is_one(*os.path.split(os.path.realpath(argument))) and not all(map(self.is_within, arguments)):
                passed.add(RESULT, shown(argument))
            else:
                self.named += [shown(argument)] * (len(self.named) < NAMED_MAX)
                yield argument

    def holds(self, entry: os.DirEntry[str]) -> bool:
        """Was it fetched, or is it a link to a folder that was? A link to a single image was chosen, as by name."""
        if entry.is_symlink():
            return os.path.isdir(entry.path) and self.is_within(entry.path)
        return self.is_one(os.path.dirname(entry.path), entry.name)

    def is_one(self, folder: str, name: str) -> bool:
        """Did `fetch` write the entry of this name in this folder?"""
        return name in FETCHED and self._was_fetched_into(folder)

    def is_within(self, place: str) -> bool:
        """Is a place results, or inside of them, wherever one begins to look?"""
        return self.is_between(os.sep, os.path.relpath(os.path.realpath(place), os.sep))

    def is_between(self, base: str, below: str) -> bool:
        """Does the way from a folder to a place below it lead to results, or into them?"""
        here = base
        for name in below.split(os.sep):
            if self.is_one(here, name):
                return True
            here = os.path.join(here, name)
        return False

    def _was_fetched_into(self, folder: str) -> bool:
        if folder not in self._known:
            self._known[folder] = os.path.isfile(os.path.join(folder, HIDDEN, NOTE))
        return self._known[folder]


def reason_inside(paths: Iterable[str], reason: SkipReason) -> SkipReason:
    """`reason` of the members of an archive with these paths, as of a search in the folder that was packed."""
    note = f"{HIDDEN}/{NOTE}"
    roots = [path.removesuffix(note) for path in paths if f"/{path}".endswith(f"/{note}")]
    return lambda path: RESULT if any(_is_below(root, path) for root in roots) else reason(path)


def _is_below(root: str, path: str) -> bool:
    return path.startswith(root) and path[len(root) :].split("/", 1)[0] in FETCHED
