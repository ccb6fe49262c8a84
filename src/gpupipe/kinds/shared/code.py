"""The code of the Lambda functions as one zip whose bytes depend on nothing but the code."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

# What ships for every kind: a package's own __init__, or a folder. Exactly what `gpupipe.functions` may import.
SHIPPED = (
    ("gpupipe", "__init__.py"),
    ("gpupipe", "functions"),
    ("gpuworker", "__init__.py"),
    ("gpuworker", "contract"),
    ("gpuworker", "ledger"),
)
EPOCH = (1980, 1, 1, 0, 0, 0)
"""The oldest time that a zip can hold; the real one would change the bytes with every checkout."""


@cache
def function_code(backend: str, more: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    """The zip for a kind whose part that works inside AWS is the package `backend`, with `more` files by their paths.

    Sorted, dated alike, and stored uncompressed, as compressed bytes differ between versions of zlib.
    """
    files = dict(file for package, part in SHIPPED for file in _files(resources.files(package) / part, package))
    files |= {**_folders_above(backend, files), **_package(backend), **dict(more)}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for path, content in sorted(files.items()):
            entry = zipfile.ZipInfo(path, date_time=EPOCH)
            entry.create_system = 3  # Unix, whatever this machine is
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content)
    return buffer.getvalue()


def _package(name: str) -> dict[str, bytes]:
    parent = name.replace(".", "/").rpartition("/")[0]
    return dict(_files(resources.files(name), parent))


def _folders_above(package: str, there: Mapping[str, bytes]) -> dict[str, bytes]:
    """Empty packages around it: what a kind's own says is for the person's machine."""
    parts = package.split(".")[:-1]
    found = ("/".join([*parts[: depth + 1], "__init__.py"]) for depth in range(len(parts)))
    return {path: b"" for path in found if path not in there}


def _files(place: Traversable, folder: str) -> Iterator[tuple[str, bytes]]:
    path = f"{folder}/{place.name}"
    if place.is_dir():
        for child in place.iterdir():
            yield from _files(child, path)
    elif path.endswith(".py"):
        yield path, place.read_bytes()
