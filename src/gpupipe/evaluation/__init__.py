"""Results held against what a person has drawn: COCO's figures, by pycocotools.

Importing this loads no array library: what needs one is loaded when it is called, and asked for where it is missing.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from gpupipe.errors import GpupipeError, UsageError
from gpupipe.evaluation.figures import Evaluation, IouType
from gpupipe.evaluation.labelled import read_labelled
from gpupipe.evaluation.pairing import Pairing, paired
from gpuworker.contract import install_command

PLOT_SUFFIXES = (".png", ".svg", ".pdf")
COCO_MAX_DETECTIONS = 100


def evaluate(
    results: Path,
    truth: Path,
    *,
    iou_type: IouType | None = None,
    ignore_categories: bool = False,
    max_detections: int | None = None,
) -> Evaluation:
    """Hold the results in a folder or COCO file against a COCO file or CSV of boxes.

    `iou_type`: None compares masks where every object has one on both sides, else boxes. `max_detections`: None counts
    all of them, COCO's own figures 100 an image. Raises InputError, UsageError, or GpupipeError where pycocotools is
    missing.
    """
    scoring = _loaded("gpupipe.evaluation.scoring")
    pairing = paired(read_labelled(truth), read_labelled(results), ignore_categories=ignore_categories)
    evaluation: Evaluation = scoring.score(
        pairing, iou_type=_iou_type(pairing, iou_type), max_detections=max_detections or _all_of(pairing)
    )
    return evaluation


def require_plot(path: Path) -> None:
    """Make sure, before any work, that a plot can be drawn and kept at `path`. Raises UsageError or GpupipeError."""
    if path.suffix.lower() not in PLOT_SUFFIXES:
        raise UsageError(f"a plot cannot be written as {path.name}.", hint=f"End it with {', '.join(PLOT_SUFFIXES)}.")
    if path.is_dir() or not path.parent.is_dir():
        raise UsageError(f"{path} cannot be written.", hint="Name a file in a folder that exists.")
    _loaded("gpupipe.evaluation.plot")


def draw_plot(evaluation: Evaluation, path: Path) -> None:
    """Draw precision over recall into a PNG, SVG or PDF file."""
    _loaded("gpupipe.evaluation.plot").draw(evaluation, path)


def _loaded(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library == "gpupipe":
            raise
        raise GpupipeError(
            f"evaluate needs {library}, which this installation lacks.",
            hint=f"Install it with: {install_command('evaluate')}",
        ) from error


def _iou_type(pairing: Pairing, asked: IouType | None) -> IouType:
    sides = (("truth", pairing.true), ("results", pairing.found))
    boxes_only = [name for name, things in sides if any(thing.segmentation is None for thing in things)]
    if asked == "segm" and boxes_only:
        raise UsageError(
            f"masks cannot be compared: some objects of the {' and of the '.join(boxes_only)} have boxes only.",
            hint="Use --iou-type bbox.",
        )
    return asked or ("bbox" if boxes_only else "segm")


def _all_of(pairing: Pairing) -> int:
    """As many as an image has; never fewer than COCO's figures count, which are the same then."""
    counts: dict[tuple[str, str], int] = {}
    for thing in pairing.found:
        counts[thing.file_name, thing.category] = counts.get((thing.file_name, thing.category), 0) + 1
    return max(COCO_MAX_DETECTIONS, *counts.values()) if counts else COCO_MAX_DETECTIONS
