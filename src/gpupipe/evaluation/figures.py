"""How good results are, in numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gpupipe.evaluation.pairing import Pairing

IouType = Literal["bbox", "segm"]


@dataclass(frozen=True, kw_only=True)
class Figures:
    """Of one category, or of all; None where there is nothing to tell it from."""

    category: str
    true: int
    """Objects in the truth, without crowds."""
    found: int
    """Instances in the results; none of those that lie in a crowd."""
    ap: float | None
    """Average precision, mean over IoU 0.50, 0.55, … 0.95; of all categories: the mean of theirs. COCO's AP."""
    ap50: float | None
    ap75: float | None
    ar: float | None
    """Recall, mean over the same IoU thresholds and categories. COCO's AR."""
    precision: float | None
    """Share of the instances found that match an object at IoU 0.50."""
    recall: float | None
    """Share of the objects that are found at IoU 0.50."""
    mean_iou: float | None
    """Mean over the objects of the IoU with the instance matched at 0.50; 0 of an object that is missed."""
    mean_iou_matched: float | None
    """The same over those that are matched."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Precision at recall 0.00, 0.01, … 1.00, interpolated as COCO does, at one IoU threshold."""

    category: str
    iou: float
    precision: Sequence[float]

    @property
    def ap(self) -> float:
        """Its mean."""
        return sum(self.precision) / len(self.precision)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Results held against the truth."""

    pairing: Pairing
    iou_type: IouType
    max_detections: int
    """The most instances of a category and image that count, the surest first."""
    total: Figures
    categories: Sequence[Figures]
    curves: Sequence[Curve]
    """Of each category at each threshold."""
