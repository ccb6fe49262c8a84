"""A 20,000×20,000 GeoTIFF of 4 bands of 16 bits, written in a second, and a process that finds what is in it.

    python -m tests.gpuworker.large_tiff FILE

prints how many windows there were, the boxes of what was found in them, and the most memory that the process has held.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from gpuworker.contract.items import Source
from gpuworker.tasks.segment.task import Segment

SIDE, BANDS = 20_000, 4
MARK_PX = 40
MARKS = ((100, 200), (9_980, 10_010), (19_950, 19_950))
"""Top and left of red squares: one lies across four tiles, one near the corner."""
GEO = [(33550, "d", 3, (0.1, 0.1, 0.0), True), (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 4e6, 0.0), True)]


def write_tiled(path: Path, side: int = SIDE, tile: int = 512) -> None:
    """Tiles of `tile`×`tile`, deflated."""
    across = -(-side // tile)
    places = ((row * tile, column * tile, tile, tile) for row in range(across) for column in range(across))
    _write(path, side, places, tile=(tile, tile))


def write_stripped(path: Path, side: int = SIDE, rows: int = 32) -> None:
    """Strips of `rows` rows, deflated."""
    places = ((top, 0, min(rows, side - top), side) for top in range(0, side, rows))
    _write(path, side, places, rowsperstrip=rows)


def _write(path: Path, side: int, places: Iterator[tuple[int, int, int, int]], **layout: object) -> None:
    options = {"photometric": "minisblack", "planarconfig": "contig", "metadata": None, "compression": "zlib"}
    segments = _segments(places)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        shape = (side, side, BANDS)
        more: Any = {**options, **layout}
        writer.write(segments, shape=shape, dtype=np.uint16, extratags=GEO, **more)


def _segments(places: Iterator[tuple[int, int, int, int]]) -> Iterator[bytes]:
    """Compressed blocks; all without a mark are the same bytes, compressed once."""
    empty: dict[tuple[int, int], bytes] = {}
    for top, left, height, width in places:
        pixels = _marked(top, left, height, width)
        if pixels is not None:
            yield zlib.compress(pixels.tobytes(), 1)
            continue
        if (height, width) not in empty:
            empty[height, width] = zlib.compress(_ground(height, width).tobytes(), 1)
        yield empty[height, width]


def _ground(height: int, width: int) -> NDArray[np.uint16]:
    """Almost black, and the same in every row, so that every block looks the same."""
    across = (np.arange(width, dtype=np.uint16) % 16)[None, :, None]
    return np.ascontiguousarray(np.broadcast_to(across + np.arange(BANDS, dtype=np.uint16), (height, width, BANDS)))


def _marked(top: int, left: int, height: int, width: int) -> NDArray[np.uint16] | None:
    pixels: NDArray[np.uint16] | None = None
    for y, x in MARKS:
        rows, columns = slice(max(0, y - top), y + MARK_PX - top), slice(max(0, x - left), x + MARK_PX - left)
        if rows.start < min(rows.stop, height) and columns.start < min(columns.stop, width):
            pixels = _ground(height, width) if pixels is None else pixels
            pixels[rows, columns] = 60_000, 0, 0, 0
    return pixels


def main() -> None:
    """Do with the file what the worker does, from its path to the files of its result."""
    path, source = Path(sys.argv[1]), Source(output="large", file_name="large.tif")
    options = {"engine": "colour", "prompts": ["red"], "stretch": "none"}
    task = Segment(engines={"colour": "tests.colour_engine:Colour"})
    task.load("cpu", options)
    expected_bytes = task.decoded_bytes(path, source, options)
    decoded = task.decode(path, source, options)
    (result,) = task.run([decoded], options)
    encoded = task.encode(decoded, result, options)
    scene = decoded.payload[0].scene
    said = {
        "scene": type(scene).__name__,
        "windows": decoded.weight,
        "boxes": sorted(annotation["bbox"] for annotation in encoded.fragment["annotations"]),
        "files": sorted(encoded.files),
        "expected_bytes": expected_bytes,
        "scene_bytes": scene.cost_bytes,
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(said))


def peak_bytes() -> int:
    """The most this process has held; what getrusage says may be its parent's, from before the exec."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
