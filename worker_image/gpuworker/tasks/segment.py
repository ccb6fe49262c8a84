"""The task `segment`: find things in images; give COCO annotations, masks, an overlay and a thumbnail of each."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from gpuworker import coco
from gpuworker.engines import Engine, make_engine
from gpuworker.images import Image, decode, decoding_bytes
from gpuworker.mask_tiff import label_tiff, stack_tiff
from gpuworker.masks import Instance
from gpuworker.overlays import OVERLAY_PX, overlay_jpeg, thumb_jpeg
from gpuworker.segment_options import Options
from gpuworker.tasks import Decoded, Encoded, File, ItemError, Source

_OVERLAY_SCRATCH_BYTES = OVERLAY_PX * OVERLAY_PX * 3 * 2
_MASK_BYTES_PER_PIXEL = 2
_MASK_NAME_BYTES = 200
"""The masks' crops, which overlap, and what is made of the largest; label images exist a band at a time only."""


class Segment:
    """Engines are made when a job first asks for them; `load` makes the one of the worker's pipeline ahead of time."""

    record_name: ClassVar[str] = "annotations.json"

    def __init__(self) -> None:
        self.infer_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.batch_size = 1
        self._device = "cpu"
        self._engines: dict[str, Engine] = {}
        self._loading = threading.Lock()

    def load(self, device: str, options: Mapping[str, Any]) -> None:
        """Load the engine that `options` name. Raises ValueError for an unknown engine or prompt."""
        self._device = device
        chosen = Options.of(options)
        engine = self._engine(chosen)
        engine.categories(chosen)
        self.infer_threads, self.batch_size = engine.infer_threads, engine.batch_size

    def _engine(self, options: Options) -> Engine:
        with self._loading:
            if options.engine not in self._engines:
                engine = make_engine(options.engine)
                engine.load(self._device)
                self._engines[options.engine] = engine
            return self._engines[options.engine]

    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._engine(Options.of(options)).info

    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        chosen = Options.of(options)
        engine = self._engine(chosen)
        return coco.header(engine=engine.info, options=chosen.as_plain(), names=engine.categories(chosen))

    def answer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same without the files beside the record."""
        return {**options, "masks": "none", "overlays": False, "thumbnails": False}

    def decoded_bytes(self, data: bytes, source: Source, options: Mapping[str, Any]) -> int:
        """The most memory that `decode` will take, read from the header, so that the stream can wait for it."""
        chosen = Options.of(options)
        return decoding_bytes(data, chosen.limits, enough_px=self._engine(chosen).enough_px)

    def decode(self, data: bytes, source: Source, options: Mapping[str, Any]) -> Decoded:
        chosen = Options.of(options)
        image = decode(data, chosen.limits, enough_px=self._engine(chosen).enough_px)
        return Decoded(source=source, payload=image, cost_bytes=_cost_bytes(image, chosen))

    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[list[Instance] | ItemError]:
        chosen = Options.of(options)
        return self._engine(chosen).detect([item.payload for item in batch], chosen)

    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        chosen = Options.of(options)
        image: Image = decoded.payload
        found: Sequence[Instance] = result
        instances = [tight for one in found if (tight := one.tight()) is not None]
        files: dict[str, File] = {}
        hidden = _add_masks(files, decoded.source, image, instances, chosen)
        head = self.shard_header(options)
        if chosen.overlays:
            names = [category["name"] for category in head["categories"]]
            files["overlay.jpg"] = File(data=overlay_jpeg(image, instances, names), content_type="image/jpeg")
        if chosen.thumbnails:
            files["thumb.jpg"] = File(data=thumb_jpeg(image, instances), content_type="image/jpeg")
        fragment = coco.fragment(
            instances,
            file_name=decoded.source.file_name,
            height=image.height,
            width=image.width,
            segmentation=chosen.segmentation,
            hidden_pixels=hidden,
        )
        return Encoded(
            files=files,
            record=coco.record(head, fragment),
            fragment=fragment,
            counts={"annotations": len(instances)},
        )


def _add_masks(
    files: dict[str, File], source: Source, image: Image, instances: Sequence[Instance], options: Options
) -> Sequence[int] | None:
    """Add the masks TIFF; give the hidden pixels of each instance where it is a label image."""
    # The folder is named in full; a very long name would not fit into S3's 1,024 bytes a second time.
    name = source.output.rpartition("/")[2].encode()[:_MASK_NAME_BYTES].decode(errors="ignore")
    path = f"masks/{name}_masks.tif"
    if options.masks == "labels":
        labels = label_tiff(instances, height=image.height, width=image.width, geo=image.geo)
        files[path] = File(data=labels.tiff, content_type="image/tiff")
        return labels.hidden_pixels
    if options.masks == "stack":
        stack = stack_tiff(instances, height=image.height, width=image.width, geo=image.geo)
        files[path] = File(data=stack, content_type="image/tiff")
    return None


def _cost_bytes(image: Image, options: Options) -> int:
    """The pixels, and what inference and encoding will add to them before the item is done."""
    masks = image.height * image.width * _MASK_BYTES_PER_PIXEL
    return image.rgb.nbytes + masks + (_OVERLAY_SCRATCH_BYTES if options.overlays else 0)
