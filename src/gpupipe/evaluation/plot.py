"""Precision over recall, drawn by matplotlib: how many false finds each further true one costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from gpupipe.evaluation.figures import Curve, Evaluation

RECALLS = [percent / 100 for percent in range(101)]
THRESHOLDS = (0.5, 0.75, 0.9)
CATEGORIES_AT_MOST = 8
"""More lines than this nobody can tell apart; the mean stands for the rest."""
COLOURS = ("#1b6ca8", "#d95f02", "#1b9e77", "#e7298a", "#7570b3", "#a6761d", "#66a61e", "#444444")
DASHES = ("-", "--", ":")
MARKERS = "osD^vPX*"
"""Lines differ in dashes or markers as well: meaning is never in a colour alone."""


def draw(evaluation: Evaluation, path: Path) -> None:
    """Write the plot to `path`, in the format that its ending names; nothing is left to settings of the machine."""
    with matplotlib.style.context("default"), matplotlib.rc_context({"svg.hashsalt": "gpupipe"}):
        figure = Figure(figsize=(7, 5.4), dpi=144, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        for curve, style in _lines(evaluation):
            axes.plot(RECALLS, curve.precision, label=f"{curve.category}: {curve.ap:.3f}", **style)
        _furnish(axes, evaluation)
        figure.savefig(path, metadata={"Date": None} if path.suffix.lower() == ".svg" else None)


def _lines(evaluation: Evaluation) -> Iterator[tuple[Curve, dict[str, Any]]]:
    """The mean over categories at three thresholds; of a few categories each one at 0.50 as well."""
    for threshold, dashes in zip(THRESHOLDS, DASHES, strict=True):
        mean = _mean([curve for curve in evaluation.curves if abs(curve.iou - threshold) < 1e-6], threshold)
        yield mean, {"color": "black", "linestyle": dashes, "linewidth": 2.0, "clip_on": False, "zorder": 3}
    single = [curve for curve in evaluation.curves if abs(curve.iou - THRESHOLDS[0]) < 1e-6]
    if 1 < len(single) <= CATEGORIES_AT_MOST:
        for curve, colour, marker in zip(single, COLOURS, MARKERS, strict=False):
            named = replace(curve, category=f"IoU 0.50, {curve.category}")
            yield named, {"color": colour, "marker": marker, "markevery": 10, "linewidth": 1.2, "clip_on": False}


def _mean(curves: Sequence[Curve], threshold: float) -> Curve:
    columns = zip(*(curve.precision for curve in curves), strict=True)
    precision = [sum(column) / len(curves) for column in columns]
    name = f"IoU {threshold:.2f}" + ("" if len(curves) == 1 else ", all")
    return Curve(category=name, iou=threshold, precision=precision or [0.0] * len(RECALLS))


def _furnish(axes: Any, evaluation: Evaluation) -> None:
    total, pairing = evaluation.total, evaluation.pairing
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
    axes.grid(True, color="#dddddd", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    images = f"{len(pairing.pictures):,} image{'' if len(pairing.pictures) == 1 else 's'}"
    what = "masks" if evaluation.iou_type == "segm" else "boxes"
    axes.set_title(
        f"{images}, {total.true:,} true and {total.found:,} found, {what}: AP {_told(total.ap)}, AR {_told(total.ar)}",
        loc="left",
        fontsize=11,
    )
    axes.legend(title="average precision", loc="best", fontsize=9, frameon=True, framealpha=0.9)


def _told(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
