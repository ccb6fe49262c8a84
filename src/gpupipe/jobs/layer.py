"""The merged map layer: one instances.geojson of all images on the map that share one coordinate reference system.

Made of the images' own files, line by line, after the download: a layer of millions of polygons never is in memory.
Its ids are those of the merged COCO file. The time of modification tells which files it was made of, so a layer that
is current is left alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from gpupipe.errors import IntegrityError
from gpupipe.jobs.folder import LAYER, replacing, writing
from gpupipe.jobs.results import Outcome
from gpuworker.contract import ItemResult

_FEATURE = re.compile(rb'\{"type":"Feature","properties":\{"id":(\d+),')
_SYSTEMS_NAMED = 3


class Layer:
    """Told of every outcome in the order of the merged COCO file; `write` makes the layer, or removes an older one."""

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        listed = tempfile.TemporaryFile("w+", encoding="utf-8", dir=scratch)  # noqa: SIM115 - the stack closes it
        self._listed = stack.enter_context(listed)
        self._digest = hashlib.sha256()
        self._annotations = 0
        self._made_at = 0.0
        self._systems: set[str] = set()
        self._unplaced = 0
        self._placed = 0

    def add(self, outcome: Outcome, path: Path) -> None:
        """Note one item's result, whose own layer is (to be) at `path`."""
        if outcome.result is None:
            return
        before, crs = self._annotations, _crs(outcome.result)
        self._annotations += len(outcome.result.fragment.get("annotations", ()))
        if crs is None:
            self._unplaced += 1
            return
        self._placed += 1
        self._systems.add(crs)
        self._made_at = max(self._made_at, outcome.commit.finished_at)
        if self._is_one:
            self._listed.write(json.dumps([str(path), before]) + "\n")
            self._digest.update(f"{before} {outcome.result.artifacts[LAYER].sha256}\n".encode())

    @property
    def _is_one(self) -> bool:
        return len(self._systems) == 1

    @property
    def note(self) -> str:
        """Why not all images are in a merged layer though some are on the map; "" where nothing is to say."""
        if self._is_one and self._unplaced:
            images = f"{self._unplaced:,} of {self._unplaced + self._placed:,} images"
            return f"without {images}, which have no known reference system"
        if len(self._systems) < 2:
            return ""
        named = ", ".join(sorted(self._systems)[:_SYSTEMS_NAMED]) + ", …" * (len(self._systems) > _SYSTEMS_NAMED)
        several = f"the images have {len(self._systems)} reference systems ({named})"
        return f"{LAYER} of each image in items/; not merged, for {several}"

    def write(self, folder: Path) -> Path | None:
        """Put the layer into `folder`, or take an outdated one away; the layer's path where there is one."""
        path = folder / LAYER
        if not self._is_one:
            with writing(path):
                path.unlink(missing_ok=True)
            return None
        stamp = int(self._made_at) * 10**9 + int.from_bytes(self._digest.digest()[:4]) % 10**6 * 1000
        if not (path.is_file() and path.stat().st_mtime_ns == stamp):
            with replacing(path) as opened:
                for piece in self._pieces():
                    opened.write(piece)
            with writing(path):
                os.utime(path, ns=(stamp, stamp))
        return path

    def _pieces(self) -> Iterator[bytes]:
        """The layer's bytes: the first image's head, then every image's features."""
        self._listed.seek(0)
        is_first_image, is_first = True, True
        for line in self._listed:
            path, before = json.loads(line)
            # What is lost in the bucket is missing here too; fetch says so at its end.
            with writing(Path(path)), open(path, "rb") as opened:
                start = opened.readline()
                if is_first_image:
                    yield start
                for feature in _features(opened, Path(path), before):
                    yield feature if is_first else b",\n" + feature
                    is_first = False
            is_first_image = False
        yield b"\n]}\n"


def _crs(result: ItemResult) -> str | None:
    """The system of an image that has a layer; systems without a code may differ, so they are none."""
    crs = result.fragment.get("image", {}).get("crs")
    return str(crs) if crs and LAYER in result.artifacts else None


def _features(lines: Iterable[bytes], path: Path, before: int) -> Iterator[bytes]:
    """An image's features, each with its id in the merged file."""
    for line in lines:
        feature = line.rstrip(b",\r\n")
        if feature == b"]}" or not feature:
            continue
        found = _FEATURE.match(feature)
        if not found:
            raise IntegrityError(f"{path} is not as gpupipe wrote it.", hint="Delete it, and fetch again.")
        start, end = found.span(1)
        yield b"%b%d%b" % (feature[:start], int(found[1]) + before, feature[end:])
