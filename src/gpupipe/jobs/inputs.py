"""From what a person names (files, folders, patterns, zip archives) to a sorted list of inputs, before any upload.

A folder, a pattern or an archive is searched: what is no input is passed over and counted by reason. A file named by
hand must be an input, or nothing begins. Paths below the project are relative to the folder named, to the part of a
pattern before its first wildcard, or to the archive; a file named by hand has its own name.
"""

from __future__ import annotations

import errno
import glob
import os
import re
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gpupipe.errors import InputError
from gpupipe.jobs.archives import members, open_archive, paths_in
from gpupipe.jobs.fetched import FetchedResults, reason_inside
from gpupipe.jobs.keys import require_distinct, require_project, require_valid_keys
from gpupipe.jobs.links import Links, leads_outside, linked
from gpupipe.jobs.passed_over import (
    ARCHIVE,
    AUX,
    BROKEN_LINK,
    HIDDEN,
    NOT_A_FILE,
    OTHER,
    RESULT,
    SIDECAR,
    TWICE,
    PassedOver,
)
from gpupipe.jobs.sidecars import Beside, Paired
from gpupipe.jobs.sources import Input, LocalFile, is_image, require_image, shown
from gpupipe.jobs.world_files import Places, WorldFiles, where

_SIDECARS = frozenset(
    {
        *(".tfw", ".tifw", ".jgw", ".jpw", ".pgw", ".wld", ".prj", ".xml", ".aux", ".ovr", ".msk"),
        *(".mrk", ".obs", ".nav", ".rtk", ".bin", ".log", ".srt", ".thm", ".lrf", ".kml", ".kmz", ".gpx", ".xmp"),
        *(".txt", ".csv", ".json", ".geojson", ".md", ".md5", ".pdf", ".ini", ".db"),
    }
)
# Thumbnails and resource forks that other programs leave in folders and archives, some named like images.
_FOREIGN_FOLDERS = frozenset({"__MACOSX", "@eaDir"})
_WILDCARD = re.compile(r"[*?\[]")


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """All inputs of a submission, sorted by path, and what was passed over by reason."""

    files: Sequence[Input]
    skipped: Mapping[str, int] = field(default_factory=dict)
    skipped_names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """The first hundred of those reasons where a person may have meant the file to be taken."""
    links_left_out: Sequence[str] = ()
    """Links among them, as `place -> target`; the first hundred."""
    results_named: Sequence[str] = ()
    """Arguments inside of results that were fetched before, which are taken because they were named."""
    sidecars: Paired = field(default_factory=lambda: Paired(by_path={}, lost=()))
    places: Places = field(default_factory=Places)

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def collect(
    arguments: Sequence[str],
    *,
    suffixes: frozenset[str],
    project: str,
    sidecar_suffix: str = "",
    takes_places: bool = False,
    follow_links: bool = True,
    on_found: Callable[[int], None] = lambda _: None,
) -> Inputs:
    """Everything that `arguments` name. `on_found` is told now and then how many there are so far.

    With `takes_places` world files beside images are found too. Links out of what is searched are followed to images
    only, and without `follow_links` none is.

    Raises InputError where something named is not there or no input, where two inputs would have the same path below
    the project, where a key would be no valid S3 key, and where nothing is left to submit.
    """
    require_project(project)
    worlds = WorldFiles(wanted=takes_places)
    search = _Search(suffixes, Beside(sidecar_suffix), worlds, Links(follow=follow_links), on_found)
    for argument in search.results.meant([os.path.expanduser(one) for one in arguments], search.passed):
        search.add(argument)
    files = sorted(search.finished(), key=lambda file: file.path)
    places = worlds.paired((file, where(file)) for file in files)
    for reason, unused in places.unused:
        search.passed.add(reason, shown(str(unused)))
    if not files:
        raise InputError(
            f"nothing to submit in {', '.join(map(shown, arguments)) or 'no path'}"
            + (f" (passed over: {search.passed})." if search.passed.counts else "."),
            hint=_hint(search, suffixes),
        )
    require_valid_keys(files, project)
    require_distinct(files)
    return Inputs(
        files=files,
        skipped=dict(search.passed.counts),
        skipped_names=dict(search.passed.names),
        places=places,
        links_left_out=search.links.left_out,
        results_named=search.results.named,
        sidecars=search.beside.paired(files),
    )


def _hint(search: _Search, suffixes: frozenset[str]) -> str:
    named = f"Name files or folders with {', '.join(sorted(suffixes))}."
    if search.passed.counts[RESULT]:
        return f"{named} Results themselves are taken where a place inside items/ is named."
    return f"{named} The first link: {search.links.left_out[0]}." if search.links.left_out else named


class _Search:
    """What was found so far, and where it was already."""

    def __init__(
        self,
        suffixes: frozenset[str],
        beside: Beside,
        worlds: WorldFiles,
        links: Links,
        on_found: Callable[[int], None],
    ) -> None:
        self.passed = PassedOver()
        self.results = FetchedResults()
        self.beside, self.worlds, self.links = beside, worlds, links
        self._suffixes = suffixes
        self._on_found = on_found
        self._files: list[Input] = []
        self._linked: list[tuple[LocalFile, str]] = []
        self._folders: set[tuple[int, int]] = set()
        self._named: set[str] = set()
        self._archives: set[str] = set()

    def add(self, argument: str) -> None:
        """One argument of the command line."""
        if os.path.isdir(argument):
            self._add_folder(argument)
        elif os.path.lexists(argument):
            self._add_named(argument)
        elif _WILDCARD.search(argument):
            self._add_pattern(argument)
        else:
            raise InputError(f"there is no {shown(argument)}.", hint="Check the path; patterns need quotes.")

    def finished(self) -> list[Input]:
        """Everything, each file once: links last, because only now it is known which folders were searched."""
        for file, target in self._linked:
            if target in self._named or self._was_searched(target):
                self.passed.add(TWICE, str(file))
            else:
                self._named.add(target)
                self._files.append(file)
        self._linked.clear()
        return self._files

    def reason(self, path: str) -> str:
        """Why a path found by searching is passed over; "" for an input, and for what belongs to one."""
        if any(is_hidden(part) for part in path.split("/")):
            return HIDDEN
        suffix = os.path.splitext(path)[1].lower()
        if suffix in self._suffixes or self.beside.is_sidecar(path) or self.worlds.is_one(path):
            return ""
        if self.worlds.is_one("any.wld") and path.lower().endswith(".aux.xml"):
            return AUX
        if suffix == ".zip":
            return ARCHIVE
        return SIDECAR if suffix in _SIDECARS else OTHER

    # --- folders ---

    def _add_folder(self, folder: str, base: str | None = None) -> None:
        """Search a folder and all below it; links are followed last, and no folder is searched twice."""
        base = folder if base is None else base
        folders, links = [folder], list[str]()
        while folders or links:
            by_link = not folders
            here = (folders or links).pop()
            try:
                if self._is_new_folder(here):
                    with os.scandir(here) as entries:
                        for entry in sorted(entries, key=lambda entry: entry.name):
                            self._look_at(entry, base, folders, links, by_link=by_link)
            except OSError as error:
                raise InputError(
                    f"cannot search the folder {shown(here)}: {error.strerror}.",
                    hint="Check its permissions, or leave it out.",
                ) from error
            self._on_found(len(self._files))

    def _is_new_folder(self, folder: str) -> bool:
        found = os.stat(folder)
        if (found.st_dev, found.st_ino) in self._folders:
            self.passed.add(TWICE, shown(folder))
            return False
        self._folders.add((found.st_dev, found.st_ino))
        return True

    def _look_at(
        self, entry: os.DirEntry[str], base: str, folders: list[str], links: list[str], *, by_link: bool
    ) -> None:
        """Take a file, or note a folder that is to be searched; `by_link`: a link leads to where the entry is."""
        if self.results.holds(entry):
            self.passed.add(RESULT, shown(entry.path))
            return
        by_link = by_link or entry.is_symlink()
        found = _stat(entry.path) if entry.is_symlink() else entry.stat()
        if found is not None and stat.S_ISDIR(found.st_mode):
            if why := HIDDEN if is_hidden(entry.name) else self.links.why_no_folder(entry.path) if by_link else "":
                self.passed.add(why, shown(entry.path))
            else:
                (links if by_link else folders).append(entry.path)
        elif why := self.reason(entry.name) or _unusable(found) or self._why_no_link(entry.path, base, by_link):
            self.passed.add(why, shown(entry.path))
        elif found is not None:
            self._take(entry.path, base, found, is_link=entry.is_symlink(), by_link=by_link)

    def _why_no_link(self, place: str, root: str, by_link: bool) -> str:
        return self.links.why_not(place, root) if by_link else ""

    def _take(
        self, place: str, base: str, found: os.stat_result, *, is_link: bool = False, by_link: bool = False
    ) -> None:
        """A file found by searching, under its path below `base`."""
        file = _file(base, _below(place, base), found, by_link=by_link)
        if self._is_beside(file, place):
            return
        if is_link:
            self._linked.append((file, os.path.realpath(place)))
        elif self._named and os.path.realpath(place) in self._named:
            self.passed.add(TWICE, str(file))
        else:
            self._files.append(file)

    def _is_beside(self, file: Input, name: str) -> bool:
        """Note what lies beside an input; is it such?"""
        if self.beside.is_sidecar(name):
            self.beside.add(file)
        elif self.worlds.is_one(name):
            self.worlds.add(file, where(file))
        else:
            return False
        return True

    def _was_searched(self, target: str) -> bool:
        """Was the file at this real path found in a folder that was searched?"""
        folder, name = os.path.split(target)
        try:
            found = os.stat(folder)
        except OSError:
            return False
        return (found.st_dev, found.st_ino) in self._folders and not self.reason(name)

    # --- files and archives by name, patterns ---

    def _add_named(self, argument: str) -> None:
        """A file named by hand: it must be an input or an archive."""
        real = os.path.realpath(argument)
        suffix = os.path.splitext(argument)[1].lower()
        if suffix == ".zip" and suffix not in self._suffixes:
            self._add_archive(argument, real)
            return
        if not os.path.isfile(argument):
            what = "is a link to nothing" if os.path.islink(argument) else "is not a file"
            raise InputError(f"{shown(argument)} {what}.", hint="Leave it out.")
        if self.beside.is_sidecar(argument):
            self._look_beside(argument[: -len(self.beside.suffix)], os.path.dirname(argument) or ".")
            return
        if self.worlds.is_one(argument):
            self._add_world(argument, os.path.dirname(argument) or ".")
            return
        if suffix not in self._suffixes and not self._holds_an_image(argument, suffix):
            raise InputError(
                f"{shown(argument)} is not an image by its name.",
                hint=f"Known are {', '.join(sorted(self._suffixes))} and .zip; a folder is searched for them.",
            )
        if os.path.islink(argument) and (why := self.links.why_no_folder(argument)):
            self.passed.add(why, shown(argument))
            return
        folder, name = os.path.split(argument)
        file = _file(folder, name, os.stat(argument), by_link=os.path.islink(argument))
        require_image(file)
        if real in self._named or self._was_searched(real):
            self.passed.add(TWICE, shown(argument))
            return
        self._named.add(real)
        self._files.append(file)
        self._look_beside(argument, folder or ".")

    def _add_world(self, place: str, root: str) -> None:
        """A world file that was not searched for: beside an image, or named by the shell's star."""
        if not self._is_strange_link(place, root):
            file = _file(*os.path.split(place), os.stat(place), by_link=os.path.islink(place))
            self.worlds.add(file, where(file))

    def _holds_an_image(self, place: str, suffix: str) -> bool:
        """Is it what such a task takes, under a name that says nothing of what it is?"""
        return ".png" in self._suffixes and suffix not in _SIDECARS and is_image(place)

    def _add_archive(self, argument: str, real: str) -> None:
        if real in self._archives:
            self.passed.add(TWICE, shown(argument))
            return
        self._archives.add(real)
        archive = open_archive(argument)
        for member in members(archive, self.passed, reason_inside(paths_in(archive), self.reason)):
            if not self._is_beside(member, member.path):
                self._files.append(member)
        self._on_found(len(self._files))

    def _add_pattern(self, pattern: str) -> None:
        """Everything that a quoted pattern matches, as if its fixed beginning had been searched."""
        fixed = re.split(r"(?=[*?\[])", pattern, maxsplit=1)[0]
        base = os.path.dirname(fixed)
        matches = sorted(glob.glob(pattern, recursive=True))
        if not matches:
            raise InputError(f"nothing matches {shown(pattern)}.", hint="Check the pattern and the folder.")
        for match in matches:
            if self.results.is_between(base or ".", _below(match, base or ".")):
                self.passed.add(RESULT, shown(match))
            elif os.path.isdir(match):
                self._add_folder(match, base or ".")
            elif match.lower().endswith(".zip") and ".zip" not in self._suffixes:
                self._add_archive(match, os.path.realpath(match))
            else:
                self._add_matched(match, base or ".")

    def _add_matched(self, match: str, base: str) -> None:
        found, real = _stat(match), os.path.realpath(match)
        by_link = real != os.path.join(os.path.realpath(base), _below(match, base))
        why = self.reason(_below(match, base)) or _unusable(found) or self._why_no_link(match, base, by_link)
        if not why and (real in self._named or self._was_searched(real)):
            why = TWICE
        if why or found is None:
            self.passed.add(why, shown(match))
            return
        self._take(match, base, found, by_link=by_link)
        self._named.add(real)
        self._look_beside(match, base)

    def _look_beside(self, place: str, root: str) -> None:
        """Take what lies beside a file that was not searched for, unless it is a link to who knows what."""
        if not self._is_strange_link(place + self.beside.suffix, root):
            self.beside.look_for(place)
        for world in self.worlds.beside(place):
            self._add_world(world, root)

    def _is_strange_link(self, place: str, root: str) -> bool:
        """Count a link that leads outside, or that nobody wants followed."""
        if not os.path.islink(place) or (self.links.follow and not leads_outside(place, root)):
            return False
        self.passed.add(self.links.leave_out(place), shown(place))
        return True


def _file(folder: str, relative: str, found: os.stat_result, *, by_link: bool) -> LocalFile:
    if by_link:
        return linked(folder, relative, found)
    return LocalFile(folder, relative, found.st_size, found.st_mtime_ns)


def is_hidden(name: str) -> bool:
    """Is a file or folder of this name not meant to be seen?"""
    return (name.startswith(".") and name not in (".", "..")) or name in _FOREIGN_FOLDERS


def _stat(place: str) -> os.stat_result | None:
    """What a path leads to; None where it leads nowhere or in a circle."""
    try:
        return os.stat(place)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return None
        raise


def _unusable(found: os.stat_result | None) -> str:
    if found is None:
        return BROKEN_LINK
    return "" if stat.S_ISREG(found.st_mode) else NOT_A_FILE


def _below(place: str, base: str) -> str:
    """The path from `base` to `place`; cutting is ten times faster than relpath, and nearly always possible."""
    start = os.path.join(base, "")
    return place[len(start) :] if place.startswith(start) else os.path.relpath(place, base)
