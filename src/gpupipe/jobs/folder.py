"""The folder that results are fetched into: its layout, names that any file system takes, and what is current in it.

    annotations.json     the merged COCO file (results.jsonl for tasks whose results are not COCO)
    instances.geojson    all polygons on the map, in WGS 84
    instances_native.geojson   the same in the images' own coordinate reference system, where they share one
    failures.json        every item that has no result: file name, code, message, what to do
    report.html          one page to look at, for a browser, offline
    items/<image>/       annotations.json, overlay.jpg, masks/<image>_masks.tif of each image; the two .geojson of
                         a georeferenced one
    .gpupipe/            what belongs here, and the job's documents, so that nothing travels twice

`<image>` is the output name of a job's item; in a project's folder it is the whole file name, which stays the same
when a later job brings `tree.png` beside `tree.jpg`.

Nothing is recorded about single files. A fetched file carries its identity in its time of modification: the second in
which its result was made, and microseconds taken from version and checksum. A file of the right size and time is
current; one of the right size and another time (copied, or from a file system with coarse times) is hashed; anything
else is fetched. So deleting, editing, moving or copying the folder can do no harm.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import shlex
import sqlite3
import stat
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from gpupipe.errors import GpupipeError, UsageError
from gpupipe.jobs.beneath import Beneath, require_no_links
from gpupipe.jobs.sources import shown
from gpupipe.plain_files import read_plain
from gpuworker.contract import Artifact

ITEMS, HIDDEN, NOTE = "items", ".gpupipe", "holds.json"
ANNOTATIONS, LINES, FAILURES, REPORT = "annotations.json", "results.jsonl", "failures.json", "report.html"
LAYER, NATIVE_LAYER = "instances.geojson", "instances_native.geojson"
"""Of an image and of all: the same names in an item's folder and at the top."""
FETCHED = (ANNOTATIONS, LINES, LAYER, NATIVE_LAYER, FAILURES, REPORT, ITEMS)
"""All that is put beside what a person keeps in the folder."""
DEFAULT_FOLDER = Path("results")
"""Where nobody names a folder, one of the job's or project's name is made in it."""
THUMB = "thumb.jpg"
"""The one artefact that stays in the bucket: only the report shows it, and only of some images."""

NOTE_BYTES = 64 * 1024
PART_SUFFIX = ".gpupipe-part"
LEFT_AFTER_S = 3600.0
"""A part that nothing was written to for so long belongs to no running fetch."""
COMPONENT_BYTES = 200
"""Below every file system's 255, with room for a suffix and for the name of a part being downloaded."""
INSIDE_BYTES = 2 * COMPONENT_BYTES
"""What a path grows by inside an item's folder: masks/<image>_masks.tif."""
_FORBIDDEN = re.compile(r'[/\x00-\x1f\x7f<>:"\\|?*]')
"""Refused by FAT, exFAT, NTFS or SMB, on which a photographer's external disk may be."""
_RESERVED = re.compile(r"(?i)^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)")


class ResultFolder:
    """One folder, of one job or project."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hidden = path / HIDDEN
        self.beneath = Beneath(path)
        self._names: Names | None = None

    @property
    def scratch(self) -> Path:
        """Where files grow until they are whole."""
        return self.hidden / "parts"

    @property
    def items(self) -> Path:
        return self.path / ITEMS

    @property
    def names(self) -> Names:
        if self._names is None:
            self._names = Names(self.items, case_sensitive=_is_case_sensitive(self.hidden))
        return self._names

    def claim(self, holds: Mapping[str, str]) -> None:
        """Make the folder, and say in it what it holds. Raises UsageError where it already holds something else."""
        with writing(self.path):
            require_no_links(self.hidden)
            self.path.mkdir(parents=True, exist_ok=True)
            self.hidden.mkdir(exist_ok=True, mode=0o700)
            found = self._holds(otherwise=dict(holds))
            if found != dict(holds):
                raise UsageError(
                    f"{self.path} holds the results of {named(found)}, not of {named(holds)}.",
                    hint="Choose another folder with -o.",
                )
            with replacing(self.hidden / NOTE) as opened:
                opened.write(json.dumps(dict(holds), indent=1).encode())
            self.scratch.mkdir(exist_ok=True)
            _sweep([*self.scratch.iterdir(), *self.path.glob(f".*{PART_SUFFIX}")])

    def require_room(self, is_meant: Callable[[Mapping[str, Any]], bool]) -> None:
        """Before work begins whose results go here: raise UsageError where it holds what is not `is_meant`."""
        with writing(self.path):
            found = self._holds(otherwise={})
        if isinstance(found, dict) and found and not is_meant(found):
            fetch = f"`gpupipe fetch {_asked_of(found)} -o {shlex.quote(str(self.path))}`"
            raise UsageError(
                f"{self.path} holds the results of {named(found)}, and those of a new job do not go there.",
                hint=f"Choose another folder with -o, or bring what is missing of those with {fetch}. Nothing was "
                "submitted.",
            )

    def _holds(self, *, otherwise: Mapping[str, str]) -> Any:
        """What the note says that somebody may have written; `otherwise` where it says nothing."""
        try:
            return json.loads(read_plain(self.hidden / NOTE, limit_bytes=NOTE_BYTES))
        except FileNotFoundError:
            self._require_unclaimed()
        except (ValueError, RecursionError):
            pass
        return otherwise

    def _require_unclaimed(self) -> None:
        taken = [name for name in FETCHED if (self.path / name).exists()]
        if taken:
            raise UsageError(
                f"{self.path} has {taken[0]} in it, which gpupipe did not put there.",
                hint="Choose another folder with -o; nothing was changed.",
            )


def _sweep(parts: Iterable[Path]) -> None:
    """Remove what killed fetches left; not what another one may be writing now."""
    for part in parts:
        with contextlib.suppress(FileNotFoundError):
            if part.stat().st_mtime < time.time() - LEFT_AFTER_S:
                part.unlink()


def named(holds: Any) -> str:
    """What a note says that a folder holds, in words; others may have written it."""
    if not isinstance(holds, dict):
        return "something else"
    kind = "job" if "job" in holds else "project"
    return f"{kind} {shown(str(holds.get(kind, 'unknown'))[:200])}"


def _asked_of(holds: Mapping[str, Any]) -> str:
    """How `fetch` is asked for what a note names."""
    job, project = (shlex.quote(shown(str(holds.get(kind, ""))[:200])) for kind in ("job", "project"))
    return job if holds.get("job") else f"--project {project}"


class Names:
    """Where each item goes below `items`: never outside it, and no two items into one place."""

    def __init__(self, root: Path, *, case_sensitive: bool = True) -> None:
        self._root = root
        self._case_sensitive = case_sensitive
        self._path_bytes = _longest_path(root)
        self._taken = sqlite3.connect("", check_same_thread=False, isolation_level=None)
        self._taken.execute("CREATE TABLE taken (folded TEXT PRIMARY KEY, name TEXT) WITHOUT ROWID")

    def folder(self, name: str, artifacts: Iterable[str] = ()) -> Path:
        """The folder of the item called `name` (`/`-separated), whose artefacts are called so."""
        # The item `tree` may write tree/overlay.jpg, so the item `tree/overlay.jpg` cannot be a folder of that name.
        files = {artifact for artifact in artifacts if "/" not in artifact}
        first, *rest = (portable(part) for part in name.split("/"))
        parts = [first, *(marked(part, name) if part.lower() in files else part for part in rest)]
        if not self._case_sensitive and self._is_taken("/".join(parts)):
            parts[-1] = marked(parts[-1], name)
        folder = self._root.joinpath(*parts)
        if len(os.fsencode(folder)) + INSIDE_BYTES > self._path_bytes:
            return self._root / marked(first[:60], name)
        return folder

    @staticmethod
    def inside(folder: Path, artifact: str) -> Path:
        """The path of an artefact (`masks/tree_masks.tif`) inside an item's folder."""
        return folder.joinpath(*(portable(part) for part in artifact.split("/")))

    def _is_taken(self, name: str) -> bool:
        """Does a name that differs in case or composition only hold this place already?"""
        folded = unicodedata.normalize("NFC", name).casefold()
        self._taken.execute("INSERT OR IGNORE INTO taken VALUES (?, ?)", (folded, name))
        row = self._taken.execute("SELECT name FROM taken WHERE folded = ?", (folded,)).fetchone()
        return bool(row[0] != name)


def portable(part: str) -> str:
    """One component of a path as every file system takes it: itself where it can be, else marked as changed."""
    plain = _FORBIDDEN.sub("_", part)
    if plain in ("", ".", ".."):
        plain = plain.replace(".", "_")
    elif _RESERVED.match(plain):
        plain = f"_{plain}"
    plain = plain.rstrip(". ")
    return plain if plain and plain == part and len(os.fsencode(part)) <= COMPONENT_BYTES else marked(plain, part)


def marked(plain: str, whole: str) -> str:
    """`plain`, cut to a component's length and made unique by a hash of what it stands for."""
    cut = plain.encode(errors="replace")[: COMPONENT_BYTES - 10].decode(errors="ignore").rstrip(". ")
    return f"{cut or '_'}~{hashlib.sha256(whole.encode(errors='surrogatepass')).hexdigest()[:8]}"


def _longest_path(root: Path) -> int:
    existing = next(path for path in (root, *root.absolute().parents) if path.exists())
    try:
        return os.pathconf(existing, "PC_PATH_MAX")
    except (OSError, ValueError):
        return 1024 if sys.platform == "darwin" else 4096


def _is_case_sensitive(folder: Path) -> bool:
    probe = folder / f"case-{secrets.token_hex(4)}"
    probe.touch()
    try:
        return not (folder / probe.name.upper()).exists()
    finally:
        probe.unlink()


# --- single files -------------------------------------------------------------------------------------------


def stamp_ns(artifact: Artifact, finished_at: float) -> int:
    """The time of modification of a fetched artefact, in nanoseconds since 1970."""
    digest = hashlib.sha256(f"{artifact.version_id} {artifact.sha256}".encode()).digest()
    return int(finished_at) * 10**9 + int.from_bytes(digest[:4]) % 10**6 * 1000


def is_current(path: Path, artifact: Artifact, time_ns: int) -> bool:
    """Is this file the artefact? Looks at its size and time, and at its content where only the time differs."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    if status.st_size != artifact.size or not stat.S_ISREG(status.st_mode):
        return False
    if status.st_mtime_ns == time_ns:
        return True
    with open(path, "rb") as opened:
        if hashlib.file_digest(opened, "sha256").hexdigest() != artifact.sha256:
            return False
    os.utime(path, ns=(time_ns, time_ns))
    return True


def has_stamp(path: Path, artifact: Artifact, time_ns: int) -> bool:
    """Was this file fetched as the artefact, and left alone since?"""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return status.st_size == artifact.size and status.st_mtime_ns == time_ns


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` whole, when the block ends, or not at all."""
    part = path.with_name(f".{secrets.token_hex(8)}{PART_SUFFIX}")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(part, "xb") as opened:
                yield opened
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say plainly why a file or folder of the person's could not be written."""
    try:
        yield
    except OSError as error:
        raise GpupipeError(
            f"cannot write {path}: {error.strerror or error}.",
            hint="Make room or allow it, then fetch again: what is here already is kept.",
        ) from error
