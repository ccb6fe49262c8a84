"""World files and `.prj` beside images: found with them, read before anything is uploaded, carried by items.

`field.pgw` places `field.png`: six lines, a number each. `field.prj` names the reference system, as WKT of any kind.
Names are GDAL's (`contract.WORLD_SUFFIXES`), in capitals too.
"""

from __future__ import annotations

import json
import math
import os
import re
import stat
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import closing, suppress
from dataclasses import dataclass, field
from typing import Any

from gpupipe.jobs.passed_over import ALONE, SECOND
from gpupipe.jobs.sources import Input, LocalFile
from gpuworker.contract import PRJ, SYSTEM, TRANSFORM, WORLD, WORLD_SUFFIXES, is_world_file

BYTES_MAX = 16 * 1024
"""WKT with all that EPSG says of a system has 10 KiB; 256 items' go into one document."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_FARTHEST = 1e12
"""As the worker has it: beyond all units of all systems."""
_WKT = re.compile(
    r"\s*(PROJCS|GEOGCS|COMPD_CS|(PROJ|GEOG|GEOD|COMPOUND|BOUND)CRS|(PROJECTED|GEOGRAPHIC|GEODETIC)CRS)\s*[\[(]",
    re.IGNORECASE,
)
_CODE = re.compile(r"(?:urn:ogc:def:crs:)?(EPSG|ESRI)\s*:(?:[\d.]*:)?\s*(\d{4,6})", re.IGNORECASE)
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_PER_LINE = ("x of a pixel's side", "y of its turn", "x of its turn", "y of its side", "x of the first middle", "its y")


@dataclass(frozen=True, kw_only=True)
class Place:
    """What lies beside one image; one of the two at least."""

    world: Input | None = None
    prj: Input | None = None


@dataclass(frozen=True, kw_only=True)
class Places:
    """The world files of a submission."""

    by_path: Mapping[str, Place] = field(default_factory=dict)
    """Path of an input below the project -> what lies beside it."""
    unused: Sequence[tuple[str, Input]] = ()
    """Those that are of no use, each with the reason."""


class WorldFiles:
    """World files that a search has come across, until it is known what inputs there are."""

    def __init__(self, *, wanted: bool) -> None:
        """Without `wanted`, as of a task that places nothing, none is one."""
        self._wanted = wanted
        self._found: defaultdict[str, dict[str, Input]] = defaultdict(dict)
        self._listed: dict[str, Mapping[str, Sequence[str]]] = {}

    def is_one(self, name: str) -> bool:
        return self._wanted and is_world_file(name)

    def add(self, file: Input, place: str) -> None:
        """`place`: where it is, in this search's way of saying so."""
        stem, suffix = os.path.splitext(place)
        self._found[stem][suffix.lower()] = file

    def beside(self, place: str) -> Iterator[str]:
        """Where those of a file that was named by itself are."""
        stem, suffix = os.path.splitext(place)
        folder, name = os.path.split(stem)
        for ending in (*WORLD_SUFFIXES.get(suffix.lower(), ()), PRJ) if self._wanted else ():
            for one in self._names_in(folder).get((name + ending).lower(), ()):
                found = os.path.join(folder, one)
                if _is_plain(found) and not _is_anothers(found, stem):
                    yield found

    def _names_in(self, folder: str) -> Mapping[str, Sequence[str]]:
        """World files of a folder in all their spellings, by their names in small letters."""
        if folder not in self._listed:
            names: defaultdict[str, list[str]] = defaultdict(list)
            with suppress(OSError):  # a folder may let its files be read and not be listed
                for name in filter(is_world_file, os.listdir(folder or ".")):
                    names[name.lower()].append(name)
            self._listed[folder] = names
        return self._listed[folder]

    def paired(self, files: Iterable[tuple[Input, str]]) -> Places:
        """Each with its input, which is given with where it is."""
        if not self._found:
            return Places()
        by_path: dict[str, Place] = {}
        used: set[tuple[str, str]] = set()
        stems = [(file, *os.path.splitext(where)) for file, where in files]
        spelled = self._spelled({stem for _, stem, _ in stems})
        for file, stem, suffix in stems:
            own = stem if stem in self._found else spelled.get(_in_small_letters(stem), stem)
            place, taken = _chosen(self._found.get(own, {}), suffix.lower())
            if place is not None:
                by_path[file.path] = place
                used.update((own, one) for one in taken)
        return Places(by_path=by_path, unused=list(self._unused(used)))

    def _spelled(self, stems: Set[str]) -> Mapping[str, str]:
        """Place in small letters -> the one spelling of it among world files: where letters are alike on a disk, as on
        Windows and macOS, `Field.JPG` and `field.jgw` belong together."""
        loose = [stem for stem in self._found if stem not in stems]
        counts = Counter(_in_small_letters(stem) for stem in stems | self._found.keys()) if loose else {}
        return {small: stem for stem in loose if counts[small := _in_small_letters(stem)] == 2}

    def _unused(self, used: Set[tuple[str, str]]) -> Iterator[tuple[str, Input]]:
        placed = {stem for stem, suffix in used if suffix != PRJ}
        for stem, found in self._found.items():
            for suffix, file in found.items():
                if (stem, suffix) not in used:
                    yield SECOND if stem in placed and suffix != PRJ else ALONE, file


def _is_anothers(place: str, stem: str) -> bool:
    """Does a world file with other capitals lie beside an image that has those too?"""
    own = os.path.splitext(place)[0]
    return own != stem and any(os.path.exists(own + suffix) for suffix in WORLD_SUFFIXES)


def _in_small_letters(stem: str) -> str:
    """Of the name; the folders are the same folders or others."""
    folder, name = os.path.split(stem)
    return os.path.join(folder, name.casefold())


def _chosen(found: Mapping[str, Input], suffix: str) -> tuple[Place | None, Sequence[str]]:
    """What of it is an image's with this ending, and by which endings; a system alone is of use to a TIFF, which may
    have a place without one."""
    first = next((one for one in WORLD_SUFFIXES.get(suffix, ()) if one in found), None)
    if first is None and not (PRJ in found and suffix in (".tif", ".tiff")):
        return None, ()
    taken = [one for one in (first, PRJ) if one is not None and one in found]
    return Place(world=found.get(first) if first else None, prj=found.get(PRJ)), taken


def _is_plain(place: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(place).st_mode)
    except OSError:
        return False


def where(file: Input) -> str:
    """Where it is; the same for the same file, however it was come by."""
    return os.path.normpath(file.place) if isinstance(file, LocalFile) else str(file)


# --- reading ---


@dataclass(frozen=True, kw_only=True)
class Read:
    """What items carry, and what is wrong with files."""

    by_path: Mapping[str, Mapping[str, Any]]
    """Path of an input -> `{"world": …}`, as `contract.world` has it."""
    mistakes: Sequence[str]
    """Each with file, line and what to do."""


def read_places(places: Places) -> Read:
    """All of them. Raises InputError for a file that cannot be opened."""
    known: dict[str, Any] = {}  # one file may be of several images
    told: dict[str, Mapping[str, Any]] = {}
    mistakes: dict[str, str] = {}
    for path, place in places.by_path.items():
        said: dict[str, Any] = {}
        for name, file, read in ((TRANSFORM, place.world, read_world), (SYSTEM, place.prj, read_prj)):
            if file is None:
                continue
            try:
                if where(file) not in known:
                    known[where(file)] = read(_content(file))
                said[name] = known[where(file)]
            except ValueError as error:
                mistakes[where(file)] = f"{file}: {error}"
        told[path] = {WORLD: said}
    return Read(by_path=told, mistakes=list(mistakes.values()))


def _content(file: Input) -> bytes:
    with closing(file.open()) as opened:
        data = opened.read(BYTES_MAX + 1)
    if len(data) > BYTES_MAX:
        raise ValueError(f"it is longer than {BYTES_MAX // 1024} KiB, which no world file and no .prj is")
    return data


def read_world(data: bytes) -> list[float]:
    """The transform from pixels' edges on, of the six numbers, which are of the first pixel's middle.

    Raises ValueError, which names the line.
    """
    lines = _text(data).splitlines()
    numbered = [(number, line.strip()) for number, line in enumerate(lines, 1) if line.strip()][:6]
    numbers = [_number(number, line, _PER_LINE[i]) for i, (number, line) in enumerate(numbered)]
    if len(numbers) < 6:
        missing = _PER_LINE[len(numbers)]
        raise ValueError(f"line {len(lines) + 1}: {missing} is missing; a world file has six numbers, a line each")
    a, d, b, e, c, f = numbers
    if not abs(a * e - b * d) > 0:
        raise ValueError("lines 1 to 4: they give a pixel no area; export the image again with its world file")
    return [a, b, c - (a + b) / 2, d, e, f - (d + e) / 2]


def _number(number: int, line: str, what: str) -> float:
    if not _NUMBER.fullmatch(line):
        comma = " with a point, not a comma" if "," in line else ""
        raise ValueError(f"line {number}: {line[:40]!r} is no number; write {what}{comma}, or export it again")
    value = float(line)
    if not (math.isfinite(value) and abs(value) < _FARTHEST):
        raise ValueError(
            f"line {number}: {line[:40]!r} is beyond all places on earth; write {what}, or export it again"
        )
    return value


def read_prj(data: bytes) -> str:
    """A reference system as WKT, PROJJSON or `EPSG:CODE`; whether PROJ knows it shows when the image is placed.

    Raises ValueError, which names the line.
    """
    text = _text(data).strip()
    if code := _CODE.fullmatch(text):
        return f"{code[1].upper()}:{code[2]}"
    if text.startswith("{"):
        return _as_json(text)
    if not _WKT.match(text):
        said = f"line 1: {text[:40]!r} begins no reference system" if text else "line 1: it is empty"
        raise ValueError(f"{said}; write it as WKT (PROJCS[…]), as GIS programs export it, or as EPSG:CODE")
    if (line := _unbalanced(text)) is not None:
        raise ValueError(f"line {line}: its brackets do not close; export it again, or write EPSG:CODE in its place")
    return text


def _as_json(text: str) -> str:
    """Raises ValueError for what is no PROJJSON of a reference system."""
    try:
        said = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = getattr(error, "lineno", 1)
        raise ValueError(f"line {line}: it begins as JSON and is none; write WKT or EPSG:CODE in its place") from error
    if not str(said.get("type")).endswith("CRS"):
        raise ValueError("line 1: it is JSON, but no PROJJSON of a reference system; write WKT or EPSG:CODE")
    return text


def _unbalanced(text: str) -> int | None:
    """The line at which brackets close that were not opened, or the last where some stay open; None for neither."""
    bare = _QUOTED.sub(lambda quoted: "\n" * quoted[0].count("\n"), text)
    depth = 0
    for at, char in enumerate(bare):
        depth += (char in "[(") - (char in "])")
        if depth < 0:
            return bare.count("\n", 0, at) + 1
    return None if depth == 0 and '"' not in bare else bare.count("\n") + 1


def _text(data: bytes) -> str:
    """Of any of the encodings that programs write; accents in names do not matter."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace").replace("\0", "")
    try:
        return data.decode("utf-8-sig").replace("\0", "")
    except UnicodeDecodeError:
        return data.decode("latin-1").replace("\0", "")
