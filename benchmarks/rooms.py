"""The room detector on 200 synthetic plans that nothing was tuned on, beside a plain contour pass.

The plain pass is what one writes first: an adaptive threshold, a small closing, contours with hierarchy, areas from
1,000 to 1,000,000 pixels, `approxPolyDP` with 0.01. Both see the same pictures, on one core. A true room that nothing
was matched to counts as an IoU of 0; `exact` asks for as many rooms as there are, each of them matched.
Bars: mean IoU 0.90, exact in 0.90 of the plans, 0.3 s a plan.

    python -m benchmarks.rooms [PLANS]
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from benchmarks.plans import HELD_OUT, make_plan
from benchmarks.plans.measure import Agreement, agreement
from numpy.typing import NDArray

from gpuworker.rooms import rooms_of
from gpuworker.rooms.options import Options

IOU_BAR, EXACT_BAR, SECONDS_BAR = 0.90, 0.90, 0.3

Finder = Callable[[NDArray[np.uint8]], list[NDArray[np.float64]]]


def ours(rgb: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """gpupipe's rooms, without reading text."""
    return [room.corners for room in rooms_of(rgb, Options(labels="off")).rooms]


def plain(rgb: NDArray[np.uint8]) -> list[NDArray[np.float64]]:
    """Every contour of the paper between ink that touches no edge of the page."""
    grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, 51, 15)
    ink = cv2.morphologyEx(ink, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    contours, hierarchy = cv2.findContours(ink, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    found = []
    for contour, (_, _, _, parent) in zip(contours, hierarchy[0] if hierarchy is not None else (), strict=True):
        # A hole in the ink is paper with ink all around it.
        if parent >= 0 and 1_000 <= cv2.contourArea(contour) <= 1_000_000:
            corners = cv2.approxPolyDP(contour, 0.01 * cv2.arcLength(contour, True), True)[:, 0, :]
            if len(corners) >= 3:
                found.append(corners.astype(np.float64) + 0.5)
    return found


def measured(finder: Finder, seeds: Sequence[int]) -> tuple[list[Agreement], float]:
    """How each plan went, and CPU seconds a plan."""
    agreements, seconds = [], 0.0
    for seed in seeds:
        plan = make_plan(seed)
        begin = time.process_time()
        found = finder(plan.rgb)
        seconds += time.process_time() - begin
        agreements.append(agreement(plan.rooms, found, plan.rgb.shape[:2]))
    return agreements, seconds / len(seeds)


def main() -> None:
    """Print the table, and the seeds that went wrong."""
    cv2.setNumThreads(1)
    seeds = HELD_OUT[: int(sys.argv[1])] if len(sys.argv) > 1 else HELD_OUT
    print(f"{len(seeds)} plans, seeds {seeds[0]}..{seeds[-1]}")
    print(f"{'':24}{'mean IoU':>10}{'count equal':>13}{'exact':>8}{'s a plan':>10}")
    for name, finder in (("plain contour pass", plain), ("gpupipe detect-rooms", ours)):
        agreements, seconds = measured(finder, seeds)
        iou = float(np.mean([one.iou for one in agreements]))
        counts = float(np.mean([one.true == one.found for one in agreements]))
        exact = float(np.mean([one.exact for one in agreements]))
        print(f"{name:24}{iou:10.3f}{counts:13.3f}{exact:8.3f}{seconds:10.3f}")
    wrong = [seed for seed, one in zip(seeds, agreements, strict=True) if not one.exact]
    ok = iou >= IOU_BAR and exact >= EXACT_BAR and seconds <= SECONDS_BAR
    print(f"bars: {IOU_BAR}, {EXACT_BAR}, {SECONDS_BAR} s: {'ok' if ok else 'MISSED'}; not exact: {wrong}")


if __name__ == "__main__":
    main()
