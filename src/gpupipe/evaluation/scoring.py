"""COCO's figures by pycocotools' COCOeval, and with them precision, recall and mean IoU of what it matched."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from gpupipe.errors import InputError
from gpupipe.evaluation.figures import Curve, Evaluation, Figures, IouType
from gpupipe.evaluation.objects import Thing
from gpupipe.evaluation.pairing import Pairing

EVERY_AREA = (0.0, 1e10)
AT_50 = 0
"""The first of COCO's IoU thresholds is 0.50, the sixth 0.75."""
AT_75 = 5


def score(pairing: Pairing, *, iou_type: IouType, max_detections: int) -> Evaluation:
    """All figures of a pairing. Raises InputError for a mask of another size than its image."""
    if iou_type == "segm":
        _require_fitting_masks(pairing)
    evaluated = _evaluated(pairing, iou_type, max_detections)
    precision = evaluated.eval["precision"][:, :, :, 0, 0]
    recall = evaluated.eval["recall"][:, :, 0, 0]
    matches = [_matches(evaluated, number) for number in range(len(pairing.categories))]
    return Evaluation(
        pairing=pairing,
        iou_type=iou_type,
        max_detections=max_detections,
        total=_figures("all", precision, recall, _Matches.of_all(matches)),
        categories=[
            _figures(name, precision[:, :, i : i + 1], recall[:, i : i + 1], matches[i])
            for i, name in enumerate(pairing.categories)
        ],
        curves=[
            Curve(category=name, iou=float(iou), precision=precision[at, :, i].tolist())
            for i, name in enumerate(pairing.categories)
            for at, iou in enumerate(evaluated.params.iouThrs)
            if precision[at, 0, i] >= 0
        ],
    )


def _evaluated(pairing: Pairing, iou_type: IouType, max_detections: int) -> COCOeval:
    with contextlib.redirect_stdout(io.StringIO()):  # it tells every step
        evaluated = _CocoEval(_coco(pairing, pairing.true), _coco(pairing, pairing.found), iou_type)
        evaluated.params.maxDets = [max_detections]
        evaluated.params.areaRng, evaluated.params.areaRngLbl = [list(EVERY_AREA)], ["all"]
        evaluated.evaluate()
        evaluated.accumulate()
    return evaluated


def _coco(pairing: Pairing, things: Sequence[Thing]) -> COCO:
    """A COCO index of these objects, ids from 1: COCOeval takes an object with id 0 for one that is not matched."""
    images = {one.file_name: number for number, one in enumerate(pairing.pictures, 1)}
    categories = {name: number for number, name in enumerate(pairing.categories, 1)}
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": number, "width": one.width, "height": one.height} for number, one in enumerate(pairing.pictures, 1)
        ],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "annotations": [
            {
                "id": number,
                "image_id": images[one.file_name],
                "category_id": categories[one.category],
                "bbox": list(one.box),
                "area": one.box[2] * one.box[3],
                "segmentation": one.segmentation,
                "score": one.score,
                "iscrowd": int(one.is_crowd),
            }
            for number, one in enumerate(things, 1)
        ],
    }
    coco.createIndex()
    return coco


class _CocoEval(COCOeval):  # type: ignore[misc]  # pycocotools has no types
    """COCOeval that also takes images of thousands of objects: the same result from those that can match at all.

    Its own loop holds every detection against every object at every threshold in Python: an hour for 10,000 of each.
    """

    def evaluateImg(self, imgId: Any, catId: Any, aRng: Any, maxDet: int) -> Any:  # noqa: N802, N803 - its names
        true, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not true and not found:
            return None
        ignored = np.array([bool(one["ignore"]) for one in true], bool)
        last = np.argsort(ignored, kind="stable")  # crowds after all else
        true, ignored = [true[i] for i in last], ignored[last]
        surest = np.argsort([-one["score"] for one in found], kind="stable")[:maxDet]
        found = [found[i] for i in surest]
        ious = np.asarray(self.ious[imgId, catId], np.float64).reshape(len(found), len(true))[:, last]
        matched = [self._matched(ious, threshold, ignored) for threshold in self.params.iouThrs]
        partner = np.array(matched, np.int64).reshape(len(self.params.iouThrs), len(found))
        ids = np.array([0, *(one["id"] for one in true)])
        return {
            "image_id": imgId,
            "category_id": catId,
            "aRng": aRng,
            "maxDet": maxDet,
            "dtIds": [one["id"] for one in found],
            "gtIds": ids[1:].tolist(),
            "dtMatches": ids[partner + 1],
            "gtMatches": None,
            "dtScores": [one["score"] for one in found],
            "gtIgnore": ignored,
            "dtIgnore": np.append(ignored, False)[partner],
            "dtIous": np.where(
                partner[AT_50] >= 0,
                np.append(ious, np.zeros((len(found), 1)), 1)[np.arange(len(found)), partner[AT_50]],
                0.0,
            ),
        }

    @staticmethod
    def _matched(ious: NDArray[np.float64], threshold: float, ignored: NDArray[np.bool_]) -> list[int]:
        """Each detection's object, -1 for none: the surest first takes the best that is left; crowds take many."""
        taken: set[int] = set()
        partners = []
        rows, columns = np.nonzero(ious >= min(threshold, 1 - 1e-10))
        starts = np.searchsorted(rows, np.arange(len(ious) + 1))
        for at in range(len(ious)):
            best, best_iou = -1, 0.0
            for column in columns[starts[at] : starts[at + 1]].tolist():
                if column in taken:
                    continue
                if best >= 0 and not ignored[best] and ignored[column]:
                    break
                if ious[at, column] >= best_iou:
                    best, best_iou = column, ious[at, column]
            partners.append(best)
            if best >= 0 and not ignored[best]:
                taken.add(best)
        return partners


# --- figures ---


class _Matches:
    """What was matched at IoU 0.50: how many objects there are, how many instances, and the IoU of each pair."""

    def __init__(self, *, true: int, found: int, ious: Sequence[float]) -> None:
        self.true, self.found, self.ious = true, found, ious

    @classmethod
    def of_all(cls, parts: Iterable[_Matches]) -> _Matches:
        parts = list(parts)
        return cls(
            true=sum(one.true for one in parts),
            found=sum(one.found for one in parts),
            ious=[iou for one in parts for iou in one.ious],
        )


def _matches(evaluated: COCOeval, number: int) -> _Matches:
    images = len(evaluated.params.imgIds)
    parts = [one for one in evaluated.evalImgs[number * images : (number + 1) * images] if one is not None]
    return _Matches.of_all(_matches_of(one) for one in parts)


def _matches_of(image: Mapping[str, Any]) -> _Matches:
    counts = ~image["dtIgnore"][AT_50]
    is_matched = (image["dtMatches"][AT_50] > 0) & counts
    return _Matches(
        true=int((~image["gtIgnore"]).sum()), found=int(counts.sum()), ious=image["dtIous"][is_matched].tolist()
    )


def _figures(category: str, precision: NDArray[Any], recall: NDArray[Any], matches: _Matches) -> Figures:
    """`precision` is thresholds × recalls × categories, `recall` thresholds × categories; -1 where nothing is true."""
    pairs = len(matches.ious)
    return Figures(
        category=category,
        true=matches.true,
        found=matches.found,
        ap=_mean(precision),
        ap50=_mean(precision[AT_50]),
        ap75=_mean(precision[AT_75]),
        ar=_mean(recall),
        precision=pairs / matches.found if matches.found else None,
        recall=pairs / matches.true if matches.true else None,
        mean_iou=sum(matches.ious) / matches.true if matches.true else None,
        mean_iou_matched=sum(matches.ious) / pairs if pairs else None,
    )


def _mean(values: NDArray[Any]) -> float | None:
    told = values[values > -1]
    return float(told.mean()) if told.size else None


# --- masks ---


def _require_fitting_masks(pairing: Pairing) -> None:
    sizes = {one.file_name: (one.height, one.width) for one in pairing.pictures}
    for thing in (*pairing.true, *pairing.found):
        size = sizes[thing.file_name]
        if not all(size):
            raise InputError(
                f"neither truth nor results tell the size of {thing.file_name}, which masks need.",
                hint="Add width and height to its entry in `images`, or use --iou-type bbox.",
            )
        told = tuple(thing.segmentation["size"]) if isinstance(thing.segmentation, Mapping) else size
        if told != size:
            raise InputError(
                f"a mask of {thing.file_name} has {told[1]}×{told[0]} pixels, the image {size[1]}×{size[0]}.",
                hint="Truth and results must be drawn in the same pixels; --iou-type bbox compares boxes only.",
            )
