"""`evaluate`: how good results are, held against what a person has drawn."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpupipe.cli.matches import matching_document, tell_boxes, tell_matches, tell_what_is_left_out
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, add_row, new_table, plural

if TYPE_CHECKING:
    from rich.table import Table

    from gpupipe.evaluation.figures import Evaluation, Figures

COLUMNS = ("true", "found", "AP", "AP50", "AP75", "AR", "precision", "recall", "mean IoU")


class IouTypes(StrEnum):
    """What is compared."""

    bbox = "bbox"
    segm = "segm"


def evaluate(
    results: Annotated[Path, typer.Argument(metavar="RESULTS", help="A folder of fetched results, or a COCO file.")],
    truth: Annotated[
        Path,
        typer.Option(
            "--truth", metavar="FILE", help="COCO file, or CSV with image_path, xmin, ymin, xmax, ymax, label."
        ),
    ],
    iou_type: Annotated[
        IouTypes | None,
        typer.Option(
            "--iou-type",
            metavar="TYPE",
            help="bbox or segm: boxes or masks; default: masks where both sides have them.",
        ),
    ] = None,
    ignore_categories: Annotated[
        bool, typer.Option("--ignore-categories", help="Match objects whatever they are called.")
    ] = False,
    max_detections: Annotated[
        int | None,
        typer.Option(
            "--max-detections",
            metavar="COUNT",
            min=1,
            help="Surest of an image and category; default: all. COCO's: 100.",
        ),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw precision over recall: PNG, SVG or PDF.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold results against drawn boxes or masks: COCO's AP and AR, precision, recall and mean IoU.

    Images are matched by file name, also as Label Studio and Roboflow change it, categories by name. It is said which
    were matched by more than the very same name, and what is not plain is left out. AP and AR are means over IoU 0.50
    to 0.95; precision, recall and mean IoU are taken at 0.50, and an object that is missed counts as IoU 0.

    Example: gpupipe evaluate field7-results --truth boxes.csv --plot curve.png
    """
    from gpupipe.evaluation import draw_plot, require_plot
    from gpupipe.evaluation import evaluate as held_against

    screen = Screen(as_json=as_json)
    if plot is not None:
        require_plot(plot)
    evaluation = held_against(
        results,
        truth,
        iou_type=iou_type.value if iou_type else None,
        ignore_categories=ignore_categories,
        max_detections=max_detections,
    )
    tell_matches(screen, evaluation.pairing)
    tell_what_is_left_out(screen, evaluation.pairing)
    if evaluation.iou_type == "bbox" and iou_type is None:
        tell_boxes(screen, evaluation.pairing)
    if plot is not None:
        draw_plot(evaluation, plot)
    screen.answer(_document(evaluation, plot), table=_table(evaluation), text=_text(evaluation, plot))


def _document(evaluation: Evaluation, plot: Path | None) -> dict[str, Any]:
    pairing = evaluation.pairing
    total = asdict(evaluation.total)
    del total["category"]
    return {
        "images": len(pairing.pictures),
        "iou_type": evaluation.iou_type,
        "max_detections": evaluation.max_detections,
        **total,
        "categories": [asdict(figures) for figures in evaluation.categories],
        "images_only_in_truth": list(pairing.images_only_in_truth),
        "images_only_in_results": list(pairing.images_only_in_results),
        "categories_only_in_results": dict(pairing.categories_only_in_results),
        **matching_document(pairing),
        "plot": None if plot is None else str(plot),
    }


def _table(evaluation: Evaluation) -> Table:
    table = new_table("category", *COLUMNS, right=COLUMNS)
    for figures in evaluation.categories:
        add_row(table, figures.category, *_cells(figures))
    if len(evaluation.categories) > 1:
        table.add_section()
        add_row(table, "all", *_cells(evaluation.total))
    return table


def _cells(figures: Figures) -> list[str]:
    shares = (figures.ap, figures.ap50, figures.ap75, figures.ar, figures.precision, figures.recall, figures.mean_iou)
    return [f"{figures.true:,}", f"{figures.found:,}", *("–" if one is None else f"{one:.3f}" for one in shares)]


def _text(evaluation: Evaluation, plot: Path | None) -> str:
    what = "masks" if evaluation.iou_type == "segm" else "boxes"
    images = plural(len(evaluation.pairing.pictures), "image")
    matched = evaluation.total.mean_iou_matched
    lines = [f"{images}, {what}" + ("" if matched is None else f"; mean IoU of those that match: {matched:.3f}")]
    if plot is not None:
        lines.append(f"plot: {plot}")
    return "\n".join(lines)
