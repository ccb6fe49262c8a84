"""Windows of a large TIFF: gpupipe's reader beside GDAL's (rasterio), block by block, behind the same cache.

    python -m benchmarks.tiff [--side 20000]

The file is side×side pixels, four bands of 16 bits, deflated with a predictor in tiles of 512. Each reader works in a
process of its own, whose CPU and memory count. Then: how many of TIFF's compressions each can read.
"""

from __future__ import annotations

import argparse
import logging
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import tifffile
from benchmarks.report import Report, parsed, peak_mb
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window as RasterioWindow

from gpuworker.images.decoding import decode
from gpuworker.images.rendering import Raster, Rendering, rendered
from gpuworker.images.tiff.blocks import Place
from gpuworker.images.tiff.file import Tiff
from gpuworker.tiles.chunk_cache import Chunk
from gpuworker.tiles.scene import grid
from gpuworker.tiles.windowed import WindowedScene

TILE_PX, WINDOW_PX, GDAL_CACHE_BYTES = 512, 1024, 16 * 1024**2
READERS = ("gpupipe", "GDAL")
COMPRESSIONS = (
    *("none", "deflate", "lzw", "packbits", "lzma", "zstd", "jpeg", "webp", "lerc", "jpegxl", "png", "jpeg2000"),
    *("aperio_jp2000_rgb", "jpegxr"),
)
MOST_RATIO, MOST_MB = 1.1, 300.0
"""GDAL would have to stay below both to take the place of the reader that is there."""


class ByGdal(WindowedScene):
    """The same windows, of blocks that GDAL decodes."""

    def __init__(self, path: Path) -> None:
        super().__init__(Tiff(path), Rendering(), side=WINDOW_PX)
        self._dataset = rasterio.open(path, driver="GTiff")

    def _made(self, place: Place) -> Chunk:
        block = self._blocks.window(place)
        window = RasterioWindow(block.left, block.top, block.width, block.height)
        raster = Raster(colour=tuple(self._dataset.read([1, 2, 3], window=window)))
        return Chunk(rgb=rendered(raster, self._levels), valid_mask=self._levels.valid_mask(raster))


def write(path: Path, side: int) -> None:
    """The file: random walks along rows, which compress as aerial images do."""
    random = np.random.default_rng(1)
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=4,
        height=side,
        width=side,
        dtype="uint16",
        compress="deflate",
        predictor=2,
        zlevel=1,
        tiled=True,
        blockxsize=TILE_PX,
        blockysize=TILE_PX,
        bigtiff="if_safer",
    ) as written:
        for top in range(0, side, TILE_PX):
            rows = min(TILE_PX, side - top)
            walks = random.integers(-3, 4, (4, rows, side)).cumsum(axis=2) + 2000
            written.write(walks.clip(0, 60_000).astype(np.uint16), window=((top, top + rows), (0, side)))


def read(reader: str, path: Path) -> tuple[float, float]:
    """Look at every window once; seconds of CPU, and MB of memory at most, of this whole process."""
    with rasterio.Env(GDAL_CACHEMAX=GDAL_CACHE_BYTES):
        scene = ByGdal(path) if reader == "GDAL" else WindowedScene(Tiff(path), Rendering(), side=WINDOW_PX)
        for window in grid(scene.height, scene.width, side=WINDOW_PX, overlap=0.125):
            scene.read(window)
    return time.process_time(), peak_mb()


def read_apart(reader: str, path: Path) -> tuple[float, float]:
    """The same in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.tiff", "--read", reader, "--file", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    cpu_s, most_mb = done.stdout.split()[-2:]
    return float(cpu_s), float(most_mb)


def readable(folder: Path, by: Callable[[Path], Any]) -> list[str]:
    """The compressions that a reader can read."""
    pixels: NDArray[np.uint8] = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    found = []
    for name in COMPRESSIONS:
        path = folder / f"{name}.tif"
        tifffile.imwrite(path, pixels, compression=name, photometric="rgb", tile=(32, 32), metadata=None)
        try:
            by(path)
        except Exception:  # whatever a reader says
            continue
        found.append(name)
    return found


def by_gdal(path: Path) -> Any:
    """All samples of a small file."""
    with rasterio.open(path, driver="GTiff") as opened:
        return opened.read()


def main() -> None:
    """Print CPU, memory and what can be read at all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--read", choices=READERS, help="be the process of one reader")
    parser.add_argument("--file", type=Path, help="what that one reads")
    given = parsed(parser, smoke={"side": 1_500})
    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore", NotGeoreferencedWarning)
    if given.read:
        print(*read(given.read, given.file))
        return
    report = Report(is_smoke=given.smoke)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "large.tif"
        write(path, given.side)
        (ours_s, ours_mb), (theirs_s, theirs_mb) = (read_apart(reader, path) for reader in READERS)
        ours, theirs = readable(Path(folder), decode), readable(Path(folder), by_gdal)
    print(f"{given.side}×{given.side}: gpupipe {ours_s:.1f} s of CPU and {ours_mb:.0f} MB", end=", ")
    print(f"GDAL {theirs_s:.1f} s and {theirs_mb:.0f} MB")
    print(f"of {len(COMPRESSIONS)} compressions: gpupipe reads {len(ours)}, GDAL {len(theirs)}", end="; ")
    print(f"not {', '.join(name for name in ours if name not in theirs)}")
    report.bar("GDAL's CPU beside ours", theirs_s / ours_s, MOST_RATIO)
    report.bar("GDAL's memory", theirs_mb, MOST_MB, "MB")
    report.ratio("images a second of CPU", "GDAL", theirs_s / ours_s)


if __name__ == "__main__":
    main()
