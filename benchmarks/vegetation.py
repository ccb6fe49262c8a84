"""The engine `vegetation` on drawn tree crowns, beside what one writes first with OpenCV.

Through the whole task: decoding, engine, thresholds, COCO; then `gpupipe evaluate`'s figures of the boxes. The image is
tests/data/osbs (61 crowns, 0.1 m a pixel, from the DeepForest package), on which the engine's sizes and its score were
chosen; the same at other sizes shows how much hangs on that. Any other image says more: name it with its boxes.
The peers threshold the same index by Otsu; one takes connected components, two OpenCV's watershed: with the markers of
its tutorial, and from local peaks. Their score is the area, the best of the simple ones.

    python -m benchmarks.vegetation [IMAGE TRUTH]
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from benchmarks.report import Report, parsed
from numpy.typing import NDArray

from gpupipe.evaluation import evaluate
from gpupipe.evaluation.figures import Figures
from gpupipe.evaluation.labelled import Labelled, read_labelled
from gpuworker.contract.items import Source
from gpuworker.engines.vegetation import excess_green
from gpuworker.images.decoding import decode
from gpuworker.tasks.segment.task import Segment

CROWNS = Path(__file__).parents[1] / "tests" / "data" / "osbs"
SIZES = (0.75, 1.5, 2.0, 3.0)
LEAST_AREA_PX = 200
"""The peers are told what a speck is; without it they are worse."""

Rgb = NDArray[np.uint8]
Found = list[tuple[Sequence[float], float]]
"""x, y, width, height and score of each."""


def ours(rgb: Rgb) -> Found:
    """Through the task, with its default options."""
    task, options = Segment(), {"engine": "vegetation", "tile_size": "whole", "overlays": False, "thumbnails": False}
    task.load("cpu", options)
    _, png = cv2.imencode(".png", rgb[:, :, ::-1])
    decoded = task.decode(png.tobytes(), Source(output="image", file_name="image"), options)
    encoded = task.encode(decoded, task.run([decoded], options)[0], options)
    return [(one["bbox"], one["score"]) for one in encoded.fragment["annotations"]]


def _green(rgb: Rgb) -> Rgb:
    grey = np.clip(excess_green(rgb) * 256 + 64, 0, 255).astype(np.uint8)
    _, mask = cv2.threshold(grey, 0, 1, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    return np.asarray(cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8), iterations=2), np.uint8)


def components(rgb: Rgb) -> Found:
    """Otsu's threshold, connected components."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(_green(rgb))
    return _sizeable(stats[1:])


def tutorial(rgb: Rgb) -> Found:
    """Otsu's threshold, all beyond half of the greatest distance from an edge as markers, cv2.watershed."""
    mask = _green(rgb)
    inside = cv2.distanceTransform(mask, cv2.DIST_L2, 5)
    return _flooded(rgb, mask, inside > 0.5 * inside.max())


def peaks(rgb: Rgb) -> Found:
    """The same from the local peaks of the smoothed distance, which knows how large a crown is in this picture."""
    mask = _green(rgb)
    inside = cv2.GaussianBlur(cv2.distanceTransform(mask, cv2.DIST_L2, 5), (0, 0), 3)
    highest = cv2.dilate(inside, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (21, 21)))
    return _flooded(rgb, mask, (inside == highest) & (mask > 0))


def _flooded(rgb: Rgb, mask: Rgb, is_marker: NDArray[np.bool_]) -> Found:
    # Soil is no marker but cut off afterwards: as one it would flow into crowns whose leaves differ in colour.
    count, markers = cv2.connectedComponents(is_marker.astype(np.uint8))
    labels = cv2.watershed(np.ascontiguousarray(rgb[:, :, ::-1]), markers)
    labels[mask == 0] = 0
    parts = [cv2.connectedComponentsWithStats((labels == label).astype(np.uint8))[2][1:] for label in range(1, count)]
    return _sizeable(np.concatenate([np.zeros((0, 5), np.int32), *parts]))


def _sizeable(stats: NDArray[Any]) -> Found:
    largest = max(1, int(stats[:, 4].max(initial=1)))
    return [(row[:4].tolist(), row[4] / largest) for row in stats if row[4] >= LEAST_AREA_PX]


OURS = "gpupipe vegetation"
FINDERS: dict[str, Callable[[Rgb], Found]] = {
    "Otsu, components": components,
    "Otsu, cv2.watershed": tutorial,
    "Otsu, peaks, cv2.watershed": peaks,
    OURS: ours,
}


def figures(found: Found, truth: Labelled, size: float) -> Figures:
    """Of boxes found in the picture at `size`, which are brought back to the size that the truth was drawn in."""
    name = next(iter(truth.pictures))
    document = {
        "images": [{"id": 1, "file_name": name}],
        "categories": [{"id": 1, "name": "found"}],
        "annotations": [
            {"image_id": 1, "category_id": 1, "bbox": [value / size for value in box], "score": float(score)}
            for box, score in found
        ],
    }
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        results.write_text(json.dumps(document))
        return evaluate(results, truth.path, iou_type="bbox", ignore_categories=True).total


def row(label: str, one: Figures) -> str:
    """A line of the table."""
    shares = (one.ap, one.ap50, one.ar, one.precision, one.recall, one.mean_iou)
    return f"{label:28}{one.found:11}" + "".join(f"{share or 0.0:11.3f}" for share in shares)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", type=Path, metavar="IMAGE TRUTH", help="default: tests/data/osbs")
    parser.add_argument(
        "--sizes", type=float, nargs="+", default=SIZES, help="of the picture that ours looks at as well"
    )
    given = parsed(parser, smoke={"sizes": ()})
    image, path = given.files or (CROWNS / "OSBS_029.tif", CROWNS / "OSBS_029.csv")
    report, truth = Report(is_smoke=given.smoke), read_labelled(path)
    rgb = decode(image.read_bytes()).rgb
    print(f"{image.name}, {rgb.shape[1]} x {rgb.shape[0]} pixels, {len(truth.things)} drawn boxes")
    columns = ("found", "AP", "AP50", "AR", "precision", "recall", "mean IoU")
    print(f"{'':28}" + "".join(f"{name:>11}" for name in columns))
    found = {name: figures(finder(rgb), truth, 1.0) for name, finder in FINDERS.items()}
    for name, one in found.items():
        print(row(name, one))
    for size in given.sizes:
        shrinks = cv2.INTER_AREA if size < 1 else cv2.INTER_CUBIC
        picture = np.asarray(cv2.resize(rgb, None, fx=size, fy=size, interpolation=shrinks))
        print(row(f"{OURS} at {size:g}x", figures(ours(picture), truth, size)))
    ap50 = {name: one.ap50 or 0.0 for name, one in found.items()}
    best = max((name for name in FINDERS if name != OURS), key=lambda name: ap50[name])
    report.ratio("AP50", best, ap50[OURS] / ap50[best] if ap50[best] else math.inf)


if __name__ == "__main__":
    main()
