"""The task `detect-rooms`: the rooms of a floor plan as polygons, with their areas and the names written in them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np

from gpuworker.checks.option_rules import mistake_in
from gpuworker.contract import InputKind
from gpuworker.contract.items import File, ItemError, Source
from gpuworker.images.decoding import Image, decode, decoding_bytes
from gpuworker.images.rendering import Rendering
from gpuworker.masks import coco
from gpuworker.masks.instances import Instance
from gpuworker.masks.overlays import OVERLAY_PX, overlay_jpeg, thumb_jpeg
from gpuworker.tasks.base import Decoded, Encoded, Task
from gpuworker.tasks.detect_rooms.labels import Reader, make_reader
from gpuworker.tasks.detect_rooms.options import RULES, Options
from gpuworker.tasks.detect_rooms.results import FoundPlan, fragment_of, full_size, plan_of, record_of, record_of_pages
from gpuworker.tasks.detect_rooms.rooms import MAX_DECODE_PX, VERSION, rooms_of
from gpuworker.tasks.pages import as_one, pages_to_look_at, require_together

_RENDERING = Rendering(backdrop="contrast")
_SCRATCH_BYTES_PER_PIXEL = 28
"""A sheet without what lies round it, grey, flat, turned, ink, runs along rows and columns, labels of 4 bytes."""
_OVERLAY_SCRATCH_BYTES = OVERLAY_PX * OVERLAY_PX * 3 * 2


class DetectRooms(Task):
    """No model is loaded but that which reads text, and that only where it is installed and asked for."""

    record_name: ClassVar[str] = "rooms.json"
    takes: ClassVar[frozenset[InputKind]] = frozenset({"object"})
    takes_files: ClassVar[bool] = True

    def __init__(self) -> None:
        self.infer_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._readers: dict[str, Reader] = {}
        self._memory_bytes: int | None = None

    def load(self, device: str, options: Mapping[str, Any]) -> None:
        """Load what reads labels. Raises ValueError where `labels` is "on" and the OCR package is missing."""
        chosen = Options.of(options)
        # Threads of the stream work side by side; cv2's own would only fight with them.
        cv2.setNumThreads(1)
        self._reader(chosen).load()

    def mistake_in(self, options: Mapping[str, Any]) -> str:
        """What the configuration would refuse of these options; "" where nothing."""
        if mistake := mistake_in(options, RULES):
            return mistake
        chosen = Options.of(options)
        return "its option min_area is more than max_area" if chosen.min_area > chosen.max_area else ""

    def _reader(self, options: Options) -> Reader:
        """Made twice by two threads at worst, which harms nobody: the later one stays."""
        if options.labels not in self._readers:
            self._readers[options.labels] = make_reader(options.labels)
        return self._readers[options.labels]

    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        chosen = Options.of(options)
        return {
            "name": "opencv-rooms",
            "version": VERSION,
            "notes": "Walls by stroke width with OpenCV; no model. " + self._reader(chosen).notes,
        }

    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        chosen = Options.of(options)
        return coco.header(engine=self.engine_info(options), options=chosen.as_plain(), names=["room"])

    def answer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same without the files beside the record."""
        return {**options, "overlays": False, "thumbnails": False}

    def use_memory(self, memory_bytes: int) -> None:
        """What all images in flight may take together, and so one alone."""
        self._memory_bytes = memory_bytes

    def decoded_bytes(self, data: bytes | Path, source: Source, options: Mapping[str, Any]) -> int:
        """The most memory that an image will take, read from the header, so that the stream can wait for it."""
        chosen = Options.of(options)
        try:
            pages = pages_to_look_at(data, chosen.pages, _RENDERING)
        except ItemError:
            return 0
        limits = chosen.limits(self._memory_bytes)
        return sum(
            decoding_bytes(
                data,
                limits,
                max_decode_px=MAX_DECODE_PX,
                work_bytes_per_pixel=_SCRATCH_BYTES_PER_PIXEL,
                rendering=replace(_RENDERING, page=page),
            )
            for page in pages
        )

    def decode(self, data: bytes | Path, source: Source, options: Mapping[str, Any]) -> Decoded:
        chosen = Options.of(options)
        limits, pages = chosen.limits(self._memory_bytes), pages_to_look_at(data, chosen.pages, _RENDERING)
        if len(pages) > 1:
            require_together(self.decoded_bytes(data, source, options), limits, len(pages))
        images = tuple(
            decode(data, limits, max_decode_px=MAX_DECODE_PX, rendering=replace(_RENDERING, page=page))
            for page in pages
        )
        pixels = sum(image.rgb.shape[0] * image.rgb.shape[1] for image in images)
        cost = 3 * pixels + pixels * _SCRATCH_BYTES_PER_PIXEL + (_OVERLAY_SCRATCH_BYTES if chosen.overlays else 0)
        return Decoded(source=source, payload=images, cost_bytes=cost, weight=len(images))

    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[Sequence[FoundPlan] | ItemError]:
        """The plans of each item's pages."""
        chosen = Options.of(options)
        return [[self._plan(image, chosen) for image in item.payload] for item in batch]

    def _plan(self, image: Image, options: Options) -> FoundPlan:
        scale = image.rgb.shape[1] / image.width
        found = rooms_of(image.rgb, options, scale=scale)
        texts = self._reader(options).read(image.rgb) if found.rooms else []
        return plan_of(found, texts)

    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        info, chosen = self.shard_header(options)["info"], Options.of(options)
        pages = [
            _encode_page(image, plan, decoded.source, info, chosen)
            for image, plan in zip(decoded.payload, result, strict=True)
        ]
        if len(pages) == 1:
            return pages[0]
        return as_one(
            pages,
            record=record_of_pages([page.record for page in pages]),
            counts=_counts([page.fragment for page in pages]),
        )


def _encode_page(image: Image, plan: FoundPlan, source: Source, info: Mapping[str, Any], options: Options) -> Encoded:
    """The result of one page."""
    whole = full_size(plan, image)
    fragment = fragment_of(whole, file_name=source.file_name, image=image)
    return Encoded(
        files=_pictures(image, plan, options),
        record=record_of(whole, image=image, source=source, info=info),
        fragment=fragment,
        counts=_counts([fragment]),
    )


def _counts(fragments: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {**coco.counts(*fragments), "rooms": sum(len(fragment["annotations"]) for fragment in fragments)}


def _pictures(image: Image, plan: FoundPlan, options: Options) -> dict[str, File]:
    """Drawn on the picture as it was worked on, so that a gigantic plan needs no gigantic masks."""
    height, width = image.rgb.shape[:2]
    worked_on = Image(rgb=image.rgb, height=height, width=width, bands=image.bands, dtype=image.dtype)
    instances = [_instance(number, plan, height, width) for number in range(len(plan.rooms))]
    files: dict[str, File] = {}
    if options.overlays:
        names = [room.label or f"room {number}" for number, room in enumerate(plan.rooms, 1)]
        files["overlay.jpg"] = File(data=overlay_jpeg(worked_on, instances, names), content_type="image/jpeg")
    if options.thumbnails:
        files["thumb.jpg"] = File(data=thumb_jpeg(worked_on, instances), content_type="image/jpeg")
    return files


def _instance(number: int, plan: FoundPlan, height: int, width: int) -> Instance:
    """A room as the pictures' code knows it, each in a colour of its own."""
    room = plan.rooms[number]
    corners = np.round(np.clip(room.corners, 0, (width, height))).astype(np.int32)
    left, top = (int(value) for value in np.minimum(corners.min(0), (width - 1, height - 1)))
    right, bottom = (int(value) for value in corners.max(0))
    mask = np.zeros((max(1, bottom - top), max(1, right - left)), np.uint8)
    cv2.fillPoly(mask, [corners - (left, top)], 1)
    return Instance(
        x=left, y=top, mask=mask.astype(bool), score=room.enclosed, category_id=number + 1, source="outline"
    )
