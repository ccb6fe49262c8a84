"""What is written about a plan: its record, and the COCO fragment with the same outlines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gpuworker.contract.items import Source
from gpuworker.images.decoding import Image
from gpuworker.images.notes import Notes
from gpuworker.masks.coco import warnings_told
from gpuworker.masks.instances import polygon_area
from gpuworker.tasks.detect_rooms.absence import Absence, why_no_rooms
from gpuworker.tasks.detect_rooms.labels import Text, label_of
from gpuworker.tasks.detect_rooms.polarity import DARK_ON_LIGHT, Reading
from gpuworker.tasks.detect_rooms.rooms import Rooms

NO_ROOMS = "no_rooms"
"""The word of `contract.CAVEATS`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledRoom:
    """`corners`: n×2, x and y; `enclosed`: share of the outline that is wall; `label`: "" where nothing was read."""

    corners: NDArray[np.float64]
    enclosed: float
    label: str


@dataclass(frozen=True, kw_only=True, eq=False)
class FoundPlan:
    """The rooms of one picture and how they were found."""

    rooms: list[LabelledRoom]
    rejected: Mapping[str, int]
    skew_deg: float
    wall_px: float
    gaps: int
    reading: Reading = DARK_ON_LIGHT
    has_ink: bool = True

    @property
    def absence(self) -> Absence | None:
        """Why there are no rooms; None where there are."""
        if self.rooms:
            return None
        return why_no_rooms(
            polarity=self.reading.polarity, has_ink=self.has_ink, wall_px=self.wall_px, rejected=self.rejected
        )


def plan_of(found: Rooms, texts: Sequence[Text]) -> FoundPlan:
    """Rooms with what is written in them."""
    rooms = [
        LabelledRoom(corners=room.corners, enclosed=room.enclosed, label=label_of(room.corners, texts))
        for room in found.rooms
    ]
    return FoundPlan(
        rooms=rooms,
        rejected=found.rejected,
        skew_deg=found.skew_deg,
        wall_px=found.wall_px,
        gaps=found.gaps,
        reading=found.reading,
        has_ink=found.has_ink,
    )


def full_size(plan: FoundPlan, image: Image) -> FoundPlan:
    """The same in pixels of the picture as it was sent; corners are kept inside it, to a tenth of a pixel."""
    scale = np.array([image.width / image.rgb.shape[1], image.height / image.rgb.shape[0]])
    rooms = [
        replace(room, corners=np.round(np.clip(room.corners * scale, 0, (image.width, image.height)), 1))
        for room in plan.rooms
    ]
    kept = [room for room in rooms if _area(room) > 0]
    lost = Counter({"too_small": len(rooms) - len(kept)} if len(kept) < len(rooms) else {})
    rejected = Counter(plan.rejected) + lost
    return replace(plan, rooms=kept, rejected=rejected, wall_px=plan.wall_px * float(scale[0]))


def fragment_of(plan: FoundPlan, *, file_name: str, image: Image) -> dict[str, Any]:
    """COCO's `image` and `annotations`; category 1 is the room. An image without rooms has the warning `no_rooms`, and
    says why (`reason`, `hint`)."""
    annotations = [
        {
            "id": number,
            "image_id": 1,
            "category_id": 1,
            "segmentation": [[float(value) for value in room.corners.ravel()]],
            "area": _area(room),
            "bbox": _box(room),
            "iscrowd": 0,
            "score": round(room.enclosed, 4),
            **({"label": room.label} if room.label else {}),
        }
        for number, room in enumerate(plan.rooms, 1)
    ]
    entry = {"id": 1, "file_name": file_name, "width": image.width, "height": image.height}
    why = {"reason": plan.absence.reason, "hint": plan.absence.hint} if plan.absence else {}
    return {"image": {**entry, **_notes(plan, image).as_keys, **why}, "annotations": annotations}


def _notes(plan: FoundPlan, image: Image) -> Notes:
    """What has to be known of a plan's result."""
    return image.notes.and_warnings((NO_ROOMS,) if plan.absence else ())


def record_of(plan: FoundPlan, *, image: Image, source: Source, info: Mapping[str, Any]) -> dict[str, Any]:
    """The answer for one picture; `polygon` is a list of [x, y], and `metadata` says how it was found.

    Where there are no rooms, `reason_code`, `reason` and `hint` say why and what to try.
    """
    rooms = [
        {
            "id": number,
            "polygon": [[float(x), float(y)] for x, y in room.corners],
            "bbox": _box(room),
            "area": _area(room),
            "enclosed": round(room.enclosed, 4),
            **({"label": room.label} if room.label else {}),
        }
        for number, room in enumerate(plan.rooms, 1)
    ]
    return {
        "status": "success",
        "room_count": len(rooms),
        "rooms": rooms,
        **_why(plan.absence),
        **_noted(_notes(plan, image)),
        "image_shape": [image.height, image.width, image.bands],
        "metadata": {
            "file_name": source.file_name,
            "skew_deg": plan.skew_deg,
            "wall_px": round(plan.wall_px, 1),
            "gaps_closed": plan.gaps,
            "polarity": plan.reading.polarity,
            "read_from": plan.reading.read_from,
            "engine": info["engine"],
            "options": info["options"],
        },
        "rejected": dict(sorted(plan.rejected.items())),
    }


def record_of_pages(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The answer for a file of several plans: all rooms, each with its `page`, and in `pages` what is said of each."""
    rooms = [{**room, "page": record["page"]} for record in records for room in record["rooms"]]
    warnings = {word: words for record in records for word, words in record.get("warnings", {}).items()}
    of_first = {name: records[0][name] for name in ("status", "image_shape", "metadata")}
    return {
        **of_first,
        "room_count": len(rooms),
        "rooms": [{**room, "id": number} for number, room in enumerate(rooms, 1)],
        **({"warnings": warnings} if warnings else {}),
        "rejected": dict(sum((Counter(record["rejected"]) for record in records), Counter())),
        "pages": [{name: value for name, value in record.items() if name != "rooms"} for record in records],
    }


def _noted(notes: Notes) -> dict[str, Any]:
    """The keys of COCO's image, warnings with their meaning."""
    meanings = {"warnings": warnings_told([{"image": notes.as_keys}])} if notes.warnings else {}
    return {**notes.as_keys, **meanings}


def _why(absence: Absence | None) -> dict[str, str]:
    return {"reason_code": absence.code, "reason": absence.reason, "hint": absence.hint} if absence else {}


def _area(room: LabelledRoom) -> float:
    return round(polygon_area([float(value) for value in room.corners.ravel()]), 1)


def _box(room: LabelledRoom) -> list[float]:
    (left, top), (right, bottom) = room.corners.min(0), room.corners.max(0)
    return [float(left), float(top), round(float(right - left), 1), round(float(bottom - top), 1)]
