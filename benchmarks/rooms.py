"""The room detector on 200 synthetic plans that nothing was tuned on, beside plain contour passes.

A plain pass is what one writes first: blur, an adaptive threshold, a closing, contours with hierarchy, areas from
1,000 to 1,000,000 pixels, `approxPolyDP` with 0.01. The closing decides what becomes of it, so there are several, and
one that knows how small a room may be. All see the same pictures, on one core. A true room that nothing was matched
to counts as an IoU of 0; `exact` asks for as many rooms as there are, each of them matched.
Bars: mean IoU 0.90, exact in 0.90 of the plans, 0.3 s a plan.

    python -m benchmarks.rooms [PLANS]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from benchmarks.plans import HELD_OUT, make_plan
from benchmarks.plans.measure import Agreement, agreement
from benchmarks.report import Report, parsed
from numpy.typing import NDArray

from gpuworker.tasks.detect_rooms.options import Options
from gpuworker.tasks.detect_rooms.rooms import rooms_of

IOU_BAR, EXACT_BAR, BAR_S = 0.90, 0.90, 0.3

Finder = Callable[[NDArray[np.uint8]], list[NDArray[np.float64]]]


def ours(rgb: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """gpupipe's rooms, without reading text."""
    return [room.corners for room in rooms_of(rgb, Options(labels="off")).rooms]


def plain(closing_px: int, least_area: float = 1_000) -> Finder:
    """Every contour of paper in the ink that encloses the most of them: those of walls, not those of furniture."""

    def found(rgb: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
        grey = cv2.GaussianBlur(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY), (5, 5), 0)
        ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 31, 10)
        ink = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((closing_px, closing_px), np.uint8))
        contours, hierarchy = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        parents = [int(parent) for *_, parent in hierarchy[0]] if hierarchy is not None else []
        enclosing = Counter(parent for parent in parents if parent >= 0)
        walls = max(enclosing, key=lambda parent: enclosing[parent], default=-2)
        rooms = [
            cv2.approxPolyDP(contour, 0.01 * cv2.arcLength(contour, True), True)[:, 0, :].astype(np.float64) + 0.5
            for contour, parent in zip(contours, parents, strict=True)
            if parent == walls and least_area <= cv2.contourArea(contour) <= 1_000_000
        ]
        return [corners for corners in rooms if len(corners) >= 3]

    return found


OURS = "gpupipe detect-rooms"
FINDERS: dict[str, Finder] = {
    "plain, closing 7 px": plain(7),
    "plain, closing 11 px": plain(11),
    "plain, closing 15 px": plain(15),
    "plain, 11, areas >= 4000": plain(11, 4_000),
    OURS: ours,
}


@dataclass(kw_only=True)
class Score:
    """What one finder did: how each plan went, and CPU seconds for all of them."""

    agreements: list[Agreement] = field(default_factory=list)
    seconds: float = 0.0

    def row(self) -> tuple[float, float, float, float]:
        """Mean IoU, share of plans with the right count, share that is exact, CPU seconds a plan."""
        plans = len(self.agreements)
        return (
            sum(one.iou for one in self.agreements) / plans,
            sum(one.true == one.found for one in self.agreements) / plans,
            sum(one.exact for one in self.agreements) / plans,
            self.seconds / plans,
        )


def measured(seeds: Sequence[int]) -> dict[str, Score]:
    """Every finder on the same plans, each of which is made once."""
    scores = {name: Score() for name in FINDERS}
    for seed in seeds:
        plan = make_plan(seed)
        for name, finder in FINDERS.items():
            begin = time.process_time()
            found = finder(plan.rgb)
            scores[name].seconds += time.process_time() - begin
            scores[name].agreements.append(agreement(plan.rooms, found, plan.rgb.shape[:2]))
    return scores


def main() -> None:
    """Print the table, and the seeds that went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("plans", type=int, nargs="?", default=len(HELD_OUT))
    given = parsed(parser, smoke={"plans": 1})
    cv2.setNumThreads(1)
    report, seeds = Report(is_smoke=given.smoke), HELD_OUT[: given.plans]
    scores = measured(seeds)
    agreements = scores[OURS].agreements
    rooms = sum(one.true for one in agreements) / len(seeds)
    print(f"{len(seeds)} plans, seeds {seeds[0]}..{seeds[-1]}, {rooms:.1f} rooms a plan")
    print(f"{'':26}{'mean IoU':>10}{'count equal':>13}{'exact':>8}{'s a plan':>10}")
    for name, score in scores.items():
        iou, counts, exact, seconds = score.row()
        print(f"{name:26}{iou:10.3f}{counts:13.3f}{exact:8.3f}{seconds:10.3f}")
    print(f"not exact: {[seed for seed, one in zip(seeds, agreements, strict=True) if not one.exact]}")
    iou, _, exact, seconds = scores[OURS].row()
    plain_iou, best = max((score.row()[0], name) for name, score in scores.items() if name != OURS)
    report.ratio("mean IoU", best, iou / plain_iou)
    report.bar("mean IoU", iou, IOU_BAR, at_least=True)
    report.bar("share of plans that are exact", exact, EXACT_BAR, at_least=True)
    report.bar("CPU a plan", seconds, BAR_S, "s")


if __name__ == "__main__":
    main()
