"""Run-length encoding of 100 masks of 12 megapixels: gpupipe's, on the mask's crop, beside pycocotools on full masks.

    python -m benchmarks.rle [--masks 100]

Masks are discs of 100 to 400 pixels' radius somewhere in a 4000×3000 image. Both results must be equal to the letter.
Bar: 0.1 s for a hundred.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from benchmarks.report import Report, parsed
from pycocotools import mask as coco_mask

from gpuworker.masks.instances import rle_texts, runs_of

HEIGHT, WIDTH, BAR_S_OF_100 = 3000, 4000, 0.1


def discs(count: int) -> list[tuple[np.ndarray, int, int]]:
    """Crops with their place (mask, x, y)."""
    random = np.random.default_rng(7)
    made = []
    for _ in range(count):
        radius = int(random.integers(100, 400))
        x, y = int(random.integers(0, WIDTH - 2 * radius)), int(random.integers(0, HEIGHT - 2 * radius))
        rows, columns = np.ogrid[-radius:radius, -radius:radius]
        made.append((rows**2 + columns**2 < radius**2, x, y))
    return made


def full_size(crop: np.ndarray, x: int, y: int) -> np.ndarray:
    """The same mask as pycocotools wants it."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    return mask


def encoded(crops: list[tuple[np.ndarray, int, int]]) -> list[str]:
    """As the worker encodes an image's masks."""
    return rle_texts([runs_of(crop, x=x, y=y, height=HEIGHT, width=WIDTH) for crop, x, y in crops])


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--masks", type=int, default=100)
    given = parsed(parser, smoke={"masks": 2})
    report, crops = Report(is_smoke=given.smoke), discs(given.masks)
    encoded(crops[:1])
    begin = time.perf_counter()
    ours = encoded(crops)
    ours_s = time.perf_counter() - begin
    theirs, theirs_s = [], 0.0
    for crop, x, y in crops:
        mask = full_size(crop, x, y)  # not counted: only the encoding is compared
        begin = time.perf_counter()
        theirs.append(coco_mask.encode(mask)["counts"].decode())
        theirs_s += time.perf_counter() - begin
    if ours != theirs:
        raise SystemExit("the encodings differ")
    print(f"{given.masks} masks of 12 megapixels, equal bytes: gpupipe {ours_s:.3f} s, pycocotools {theirs_s:.3f} s")
    report.bar("100 masks", ours_s * 100 / given.masks, BAR_S_OF_100, "s")
    report.ratio("masks encoded a second", "pycocotools", theirs_s / ours_s)


if __name__ == "__main__":
    main()
