"""World files: six numbers beside an image that place it, and the `.prj` that names their reference system.

What an item carries of them is `{"world": {"transform": [a, b, c, d, e, f], "system": "PROJCS[…"}}` in its sidecar:
x = a·column + b·row + c, y = d·column + e·row + f from pixels' edges on; either may be missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WORLD, TRANSFORM, SYSTEM = "world", "transform", "system"
PRJ = ".prj"
WORLD_SUFFIXES: Mapping[str, Sequence[str]] = {
    ".png": (".pgw", ".pngw", ".wld"),
    ".jpg": (".jgw", ".jpgw", ".jpegw", ".wld"),
    ".jpeg": (".jgw", ".jpegw", ".jpgw", ".wld"),
    ".tif": (".tfw", ".tifw", ".tiffw", ".wld"),
    ".tiff": (".tfw", ".tiffw", ".tifw", ".wld"),
    ".webp": (".wpw", ".webpw", ".wld"),
    ".bmp": (".bpw", ".bmpw", ".wld"),
    ".jp2": (".j2w", ".jp2w", ".wld"),
    ".avif": (".afw", ".avifw", ".wld"),
}
"""Of an image's ending: those that a world file has in its place, in the order in which GDAL looks for them."""
_ALL = frozenset({PRJ, *(suffix for suffixes in WORLD_SUFFIXES.values() for suffix in suffixes)})


def is_world_file(name: str) -> bool:
    """Does a file of this name say where the image of the same name lies?"""
    stem, dot, suffix = name.rpartition(".")
    return bool(stem) and f"{dot}{suffix}".lower() in _ALL
