"""Masks as COCO writes them in run lengths, plain or as its string; without an array library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from gpupipe.evaluation.objects import Box


def runs_of(mask: Mapping[str, Any]) -> list[int]:
    """Lengths of runs, of 0 first, down the columns. Raises ValueError where they do not make up the mask's size."""
    try:
        height, width = (int(side) for side in mask["size"])
        counts = mask["counts"]
        runs = _of_string(counts) if isinstance(counts, str) else [int(count) for count in counts]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError("its run lengths are not {'size': [height, width], 'counts': …}") from error
    if min(height, width, *runs) < 0 or sum(runs) != height * width:
        raise ValueError(f"its run lengths make up {sum(runs):,} pixels, not {width}×{height}")
    return runs


def _of_string(text: str) -> list[int]:
    """Five bits a character from "0" on, a sixth says that more follow; from the third run on the difference to the one
    two before (pycocotools, `rleFrString`)."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        value -= (bits & 16) and 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value = shift = 0
    return runs


def box_of(runs: Sequence[int], *, height: int) -> Box:
    """x, y, width, height around the ones; all 0 where there is none."""
    ends = list(accumulate(runs))
    ones = [(ends[i - 1], ends[i]) for i in range(1, len(runs), 2) if runs[i]]
    if not ones:
        return 0.0, 0.0, 0.0, 0.0
    left, right = ones[0][0] // height, (ones[-1][1] - 1) // height + 1
    if any(start // height != (end - 1) // height for start, end in ones):  # one goes round a column's end
        return float(left), 0.0, float(right - left), float(height)
    top, bottom = min(start % height for start, _ in ones), max((end - 1) % height for _, end in ones) + 1
    return float(left), float(top), float(right - left), float(bottom - top)
