"""Which of the instances that an engine found in one image are its results."""

from __future__ import annotations

from collections.abc import Sequence

from gpuworker.engines.base import Engine
from gpuworker.engines.options import Options
from gpuworker.masks.box_grid import BoxGrid
from gpuworker.masks.packed import Packed

COVERED = 0.5
"""The share of an instance that something unwanted may cover."""


def select(found: Sequence[Packed], names: Sequence[str], options: Options) -> list[Packed]:
    """What passes its prompt's threshold and no negative prompt has claimed, the surest first; however many.

    `names` are the categories of `options.searched()`: the negative prompts are the last of them.
    """
    wanted = len(names) - len(options.negative_prompts)
    sure = [one for one in found if one.score >= options.threshold_of(names[one.category_id - 1])]
    unwanted = [one for one in sure if one.category_id > wanted]
    kept = _unclaimed([one for one in sure if one.category_id <= wanted], unwanted)
    return _surest_first(kept)


def suppress(found: Sequence[Packed], *, iou: float) -> list[Packed]:
    """Without those that overlap a surer one of their category by more than `iou` of their masks, the surest first."""
    grids = {
        category: BoxGrid.for_boxes(one.box for one in found if one.category_id == category)
        for category in {one.category_id for one in found}
    }
    kept: list[Packed] = []
    for one in _surest_first(found):
        grid = grids[one.category_id]
        if not any(_overlap(kept[i], one, iou) for i in grid.meeting(one.box)):
            grid.add(len(kept), one.box)
            kept.append(one)
    return kept


def thin(found: Sequence[Packed], engine: Engine, options: Options) -> Sequence[Packed]:
    """What was found in one picture, `suppress` if the engine has not seen to that itself."""
    return found if engine.suppresses_overlaps else suppress(found, iou=options.nms_iou)


def _surest_first(found: Sequence[Packed]) -> list[Packed]:
    return sorted(found, key=lambda one: -one.score)


def _overlap(one: Packed, other: Packed, iou: float) -> bool:
    could = min(one.area, other.area) > iou * max(one.area, other.area)
    return could and one.iou(other) > iou


def _unclaimed(wanted: Sequence[Packed], unwanted: Sequence[Packed]) -> list[Packed]:
    if not unwanted:
        return list(wanted)
    grid = BoxGrid.for_boxes(one.box for one in unwanted)
    for number, one in enumerate(unwanted):
        grid.add(number, one.box)
    return [one for one in wanted if not any(_claims(unwanted[i], one) for i in grid.meeting(one.box))]


def _claims(other: Packed, one: Packed) -> bool:
    return other.score >= one.score and one.shared_with(other) > COVERED * one.area
