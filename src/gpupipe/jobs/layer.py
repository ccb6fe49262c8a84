"""The merged map layers: instances.geojson of all images on the map, whatever their systems, and
instances_native.geojson of those that share one.

Made of the images' own files, line by line, after the download: a layer of millions of polygons never is in memory.
Its ids are those of the merged COCO file. The time of modification tells which files it was made of, so a layer that
is current is left alone.

Workers of earlier versions wrote instances.geojson in the image's own system, and no second file. Such a file never
goes into a layer of longitudes and latitudes; where there are no others they are merged as they used to be.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gpupipe.errors import IntegrityError
from gpupipe.jobs.folder import LAYER, NATIVE_LAYER, replacing, writing
from gpupipe.jobs.results import Outcome
from gpuworker.contract import Artifact, folder_of_picture, fragments_in

_FEATURE = re.compile(rb'\{"type":"Feature","properties":\{"id":(\d+),')
_SYSTEMS_NAMED = 3


class Layer:
    """Told of every outcome in the order of the merged COCO file; `write` makes the layers, or removes older ones."""

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        self._degrees, self._native, self._earlier = (_Merge(stack, scratch) for _ in range(3))
        self._annotations = 0
        self._placed = self._unplaced = 0

    def add(self, outcome: Outcome, path: Path) -> None:
        """Note one item's result, whose own instances.geojson is (to be) at `path`."""
        if outcome.result is None:
            return
        artifacts, at = outcome.result.artifacts, outcome.commit.finished_at
        for place, fragment in enumerate(fragments_in(outcome.result.fragment)):
            folder = folder_of_picture(place)
            own = {name: artifacts[folder + name] for name in (LAYER, NATIVE_LAYER) if folder + name in artifacts}
            self._add(own, fragment, path.parent / folder / path.name, at)

    def _add(self, artifacts: Mapping[str, Artifact], fragment: Mapping[str, Any], path: Path, at: float) -> None:
        before, system = self._annotations, _crs(fragment)
        self._annotations += len(fragment.get("annotations", ()))
        if LAYER in artifacts and NATIVE_LAYER in artifacts:
            self._degrees.add(artifacts[LAYER], path, before, at, system="WGS 84")
            self._native.add(artifacts[NATIVE_LAYER], path.with_name(NATIVE_LAYER), before, at, system=system)
        elif LAYER in artifacts and system:
            self._earlier.add(artifacts[LAYER], path, before, at, system=system)
        else:
            self._unplaced += 1

    @property
    def _merged(self) -> _Merge:
        """What becomes instances.geojson."""
        return self._degrees if self._degrees.images else self._earlier

    @property
    def note(self) -> str:
        """Why not all images are in a merged layer though some are on the map; "" where nothing is to say."""
        if not self._merged.images:
            return ""
        if not self._merged.is_one:
            several = f"the images have {self._merged.systems}, and an earlier version of gpupipe has processed them"
            return f"{LAYER} of each image in items/; not merged, for {several}: submit them again"
        total = self._degrees.images + self._earlier.images + self._unplaced
        why = [f"without {self._unplaced:,} of {total:,} images, which have no known reference system"]
        why = why if self._unplaced else []
        if self._degrees.images and self._earlier.images:
            why.append(
                f"without {self._earlier.images:,} of {total:,} images, which an earlier version of gpupipe has "
                f"processed: {LAYER} of each in items/ is in its own reference system; submit them again"
            )
        elif self._earlier.images:
            why.append(
                f"in {self._earlier.systems}, not in longitude and latitude, for an earlier version of gpupipe has "
                "processed the images: submit them again"
            )
        return "; ".join(why)

    def write(self, folder: Path) -> Path | None:
        """Put the layers into `folder`, or take outdated ones away; the path of instances.geojson where there is one.

        Raises IntegrityError for an image's file that no worker wrote.
        """
        self._native.write(folder / NATIVE_LAYER)
        return self._merged.write(folder / LAYER)


class _Merge:
    """One file to be made of the images' own, if all are in one system."""

    def __init__(self, stack: ExitStack, scratch: Path) -> None:
        listed = tempfile.TemporaryFile("w+", encoding="utf-8", dir=scratch)  # noqa: SIM115 - the stack closes it
        self._listed = stack.enter_context(listed)
        self._digest = hashlib.sha256()
        self._made_at = 0.0
        self._systems: set[str | None] = set()
        self.images = 0

    def add(self, artifact: Artifact, path: Path, before: int, at: float, *, system: str | None) -> None:
        """One image's file, after so many annotations of others; `system`: None where it has no code."""
        self.images += 1
        self._systems.add(system)
        self._made_at = max(self._made_at, at)
        if self.is_one:
            self._listed.write(json.dumps([str(path), before]) + "\n")
            self._digest.update(f"{before} {artifact.sha256}\n".encode())

    @property
    def is_one(self) -> bool:
        """Systems without a code may differ."""
        return len(self._systems) == 1 and None not in self._systems

    @property
    def systems(self) -> str:
        named = sorted(filter(None, self._systems))
        if self.is_one:
            return named[0]
        return f"{len(named)} reference systems ({', '.join(named[:_SYSTEMS_NAMED])}{', …' * (len(named) > 3)})"

    def write(self, path: Path) -> Path | None:
        """The file, made anew where it is not current; None where there is none."""
        if not self.is_one:
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


def _crs(fragment: Mapping[str, Any]) -> str | None:
    """The system of an image that has a code."""
    crs = fragment.get("image", {}).get("crs")
    return str(crs) if crs else None


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
