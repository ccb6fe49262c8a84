"""The merged result of many images, written as a stream: one COCO file, or JSON lines where results are not COCO.

Ids count from 1 in the order of what is added, so the same results give the same bytes however they were made. Only
categories and the heads that differ are held; images go straight into the file, annotations into one beside it that
is appended at the end.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any, Protocol

from gpupipe.jobs.advice import advice
from gpupipe.jobs.folder import ANNOTATIONS, FAILURES, LINES, replacing
from gpupipe.jobs.results import Outcome
from gpuworker.contract import caveats_in, fragments_in


class Merged(Protocol):
    """A merged document in the making."""

    def add(self, outcome: Outcome) -> None:
        """Append one item's result. Of a failure only what its commit shares with others is noted."""


@contextmanager
def merging(folder: Path, header: Mapping[str, Any] | None) -> Iterator[Merged]:
    """The document for results with this header; it replaces an older one when the block ends.

    COCO where there is no result yet to tell (`header` is None): an empty file that any COCO reader takes.
    """
    kind = CocoFile if header is None or "categories" in header else LinesFile
    name, other = (ANNOTATIONS, LINES) if kind is CocoFile else (LINES, ANNOTATIONS)
    with replacing(folder / name) as opened, ExitStack() as stack:
        merged = kind(opened, stack)
        yield merged
        merged.finish()
    (folder / other).unlink(missing_ok=True)


class CocoFile:
    """`images`, `annotations`, `categories`, `licenses` and `info`, loadable by pycocotools."""

    def __init__(self, opened: IO[bytes], stack: ExitStack) -> None:
        self._file = opened
        opened.write(b'{"images": ')
        spool = tempfile.TemporaryFile(dir=Path(opened.name).parent)  # noqa: SIM115 - the stack closes it
        self._spool = stack.enter_context(spool)
        self._images = _Array(opened)
        self._annotations = _Array(self._spool)
        self._categories = _Numbered()
        self._licenses = _Numbered()
        self._infos: list[Mapping[str, Any]] = []
        self._warnings: set[str] = set()

    def add(self, outcome: Outcome) -> None:
        header = outcome.commit.header
        categories = self._categories.numbers(header.get("categories", ()), same="name")
        licenses = self._licenses.numbers(header.get("licenses", ()), same="name")
        self._note(header)
        if outcome.result is None:
            return
        for fragment in fragments_in(outcome.result.fragment):
            self._add(fragment, categories, licenses)

    def _add(self, fragment: Mapping[str, Any], categories: Mapping[int, int], licenses: Mapping[int, int]) -> None:
        image = dict(fragment["image"]) | {"id": self._images.length + 1}
        if "license" in image:
            image["license"] = licenses[image["license"]]
        self._warnings.update(image.get("warnings", ()))
        self._images.append(image)
        for annotation in fragment["annotations"]:
            own = {"image_id": image["id"], "category_id": categories[annotation["category_id"]]}
            self._annotations.append({**annotation, **own, "id": self._annotations.length + 1})

    def _note(self, header: Mapping[str, Any]) -> None:
        if "info" in header and header["info"] not in self._infos:
            self._infos.append(header["info"])

    def finish(self) -> None:
        """Write what follows the images."""
        self._images.close()
        self._annotations.close()
        self._file.write(b',\n"annotations": ')
        self._spool.seek(0)
        shutil.copyfileobj(self._spool, self._file)
        for name, value in (
            ("categories", self._categories.found),
            ("licenses", self._licenses.found),
            ("info", self._info()),
        ):
            self._file.write(f',\n"{name}": '.encode() + _compact(value))
        self._file.write(b"}\n")

    def _info(self) -> Mapping[str, Any]:
        """The newest; where engines or options differed on the way, all of them in `sources`, the oldest first.

        `warnings` tells what the words mean that images have.
        """
        newest = dict(self._infos[-1]) if self._infos else {"description": "Made by gpupipe; no results"}
        told = caveats_in(self._warnings)
        return (
            newest | ({"sources": self._infos} if len(self._infos) > 1 else {}) | ({"warnings": told} if told else {})
        )


class LinesFile:
    """One JSON document an item and line: its fragment, its file name and its output; the value that it was made of,
    where there is no file."""

    def __init__(self, opened: IO[bytes], _: ExitStack) -> None:
        self._file = opened

    def add(self, outcome: Outcome) -> None:
        if outcome.result is not None:
            line = {"file_name": outcome.file_name, "output": outcome.output, **outcome.result.fragment}
            if outcome.value is not None:
                line["value"] = outcome.value
            self._file.write(_compact(line) + b"\n")

    def finish(self) -> None:
        """Nothing follows the last line."""


class _Numbered:
    """Entries of several headers, numbered from 1 in the order in which they are first met."""

    def __init__(self) -> None:
        self.found: list[Mapping[str, Any]] = []
        self._numbers: dict[str, int] = {}
        self._last: tuple[Sequence[Mapping[str, Any]], Mapping[int, int]] | None = None

    def numbers(self, entries: Sequence[Mapping[str, Any]], *, same: str) -> Mapping[int, int]:
        """Number in the header -> number in the merged file; entries with one `same` field are one."""
        # A shard's images share one header, so the answer is nearly always that of the call before.
        if self._last is not None and self._last[0] is entries:
            return self._last[1]
        answer = {}
        for entry in entries:
            name = str(entry[same])
            if name not in self._numbers:
                self._numbers[name] = len(self.found) + 1
                self.found.append({**entry, "id": self._numbers[name]})
            answer[entry["id"]] = self._numbers[name]
        self._last = entries, answer
        return answer


class FailureList:
    """`failures.json` in the making: an array with an object a failed item."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._array = _Array(opened)

    def add(self, outcome: Outcome) -> None:
        """Append one item's failure; an outcome with a result is passed over."""
        if outcome.failure is not None:
            self._array.append(
                {
                    "file_name": outcome.file_name,
                    "code": outcome.failure.code,
                    "message": outcome.failure.message,
                    "advice": advice(outcome.failure.code, outcome.failure.message, is_value=outcome.value is not None),
                    **({} if outcome.value is None else {"value": outcome.value}),
                    "key": outcome.key,
                    "job": outcome.commit.job,
                    "shard": outcome.commit.number,
                    "generation": outcome.commit.generation,
                }
            )

    def finish(self) -> None:
        self._array.close()


@contextmanager
def listing_failures(folder: Path) -> Iterator[FailureList]:
    """The list of failures; it replaces an older one when the block ends."""
    with replacing(folder / FAILURES) as opened:
        failures = FailureList(opened)
        yield failures
        failures.finish()
        opened.write(b"\n")


class _Array:
    """A JSON array written element by element, one a line."""

    def __init__(self, opened: IO[bytes]) -> None:
        self._file = opened
        self.length = 0
        opened.write(b"[")

    def append(self, element: Any) -> None:
        self._file.write((b",\n" if self.length else b"\n") + _compact(element))
        self.length += 1

    def close(self) -> None:
        self._file.write(b"\n]" if self.length else b"]")


def _compact(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
