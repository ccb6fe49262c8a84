"""The task `segment`: find things in images; give COCO annotations, masks, an overlay and a thumbnail of each."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gpuworker import coco
from gpuworker.contract import ModelSource
from gpuworker.engines import Engine, make_engine
from gpuworker.engines.auto import AUTO, choose
from gpuworker.geo import georeference
from gpuworker.geojson import geojson_files
from gpuworker.images import BoxPrompt, decode, decoding_bytes
from gpuworker.mask_tiff import label_tiff, stack_tiff
from gpuworker.masks import Instance
from gpuworker.models import FolderModels, Models
from gpuworker.overlays import OVERLAY_PX, overlay_jpeg, thumb_jpeg
from gpuworker.scene import Scene, WholeScene, Window
from gpuworker.segment_options import Options
from gpuworker.selection import selected
from gpuworker.tasks import Decoded, Encoded, File, ItemError, Source
from gpuworker.tiling import Found, search, tiles_of

_OVERLAY_SCRATCH_BYTES = OVERLAY_PX * OVERLAY_PX * 3 * 2
_MASK_BYTES_PER_PIXEL = 2
_MASK_NAME_BYTES = 200
"""The masks' crops, which overlap, and what is made of the largest; label images exist a band at a time only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Opened:
    """One input between decoding and the model."""

    scene: Scene
    tiles: Sequence[Window]
    prepared: Any
    """What the engine takes, of an image that it looks at whole; None of one that it looks at by tiles."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Detected:
    """What the engine found in an image that it looked at whole, before `finish`."""

    found: Any


@dataclass(frozen=True, kw_only=True, eq=False)
class _Running:
    """An engine that is loaded, and how many threads may be inside it."""

    engine: Engine
    gate: threading.Semaphore


class Segment:
    """Engines are made when a job first asks for them; `load` makes the one of the worker's pipeline ahead of time."""

    record_name: ClassVar[str] = "annotations.json"

    def __init__(self) -> None:
        self.infer_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.batch_size = 1
        self.batch_wait_s = 0.0
        self._device = "cpu"
        self._models: Models = FolderModels(ModelSource())
        self._engines: dict[str, _Running] = {}
        self._loading = threading.Lock()

    # --- engines ---

    def use_models(self, models: Models) -> None:
        """Where engines find their weights."""
        self._models = models

    def load(self, device: str, options: Mapping[str, Any]) -> None:
        """Load the engine that `options` name. Raises ValueError for an unknown engine or prompt."""
        self._device = device
        chosen = Options.of(options)
        engine = self._running(chosen).engine
        if chosen.prompts:  # else jobs bring them
            engine.categories(chosen)
        self.infer_threads, self.batch_size = engine.infer_threads, engine.batch_size
        self.batch_wait_s = engine.batch_wait_s

    def expect(self, items: int) -> None:
        """So many items are still to come."""
        for running in list(self._engines.values()):
            running.engine.expect(items)

    def _name_and_reason(self, options: Options) -> tuple[str, str]:
        if options.engine != AUTO:
            return options.engine, ""
        choice = choose(options, device=self._device, model=self._models.source)
        return choice.engine, choice.reason

    def _running(self, options: Options) -> _Running:
        name, _ = self._name_and_reason(options)
        with self._loading:
            if name not in self._engines:
                engine = make_engine(name)
                engine.use_models(self._models)
                engine.load(self._device)
                self._engines[name] = _Running(engine=engine, gate=threading.Semaphore(engine.infer_threads))
            return self._engines[name]

    def _names(self, options: Options) -> list[str]:
        """Categories of `searched()`. Raises ItemError: prompts may not suit the engine that `auto` chose."""
        name, reason = self._name_and_reason(options)
        try:
            return list(self._running(options).engine.categories(options.searched()))
        except ValueError as error:
            because = f' (engine "auto" chose {name}: {reason})' if reason else ""
            raise ItemError("unsupported", f"{error}{because}") from error

    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        chosen = Options.of(options)
        _, reason = self._name_and_reason(chosen)
        return {**self._running(chosen).engine.info, **({"chosen": reason} if reason else {})}

    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        chosen = Options.of(options)
        try:
            names = self._names(chosen)[: -len(chosen.negative_prompts) or None]
        except ItemError:  # which every item of the shard fails with
            names = list(chosen.prompts)
        return coco.header(engine=self.engine_info(options), options=chosen.as_plain(), names=names)

    def answer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same without the files beside the record."""
        return {**options, "masks": "none", "overlays": False, "thumbnails": False, "geojson": False}

    # --- the steps ---

    def decoded_bytes(self, data: bytes, source: Source, options: Mapping[str, Any]) -> int:
        """The most memory that `decode` will take, read from the header, so that the stream can wait for it."""
        chosen = Options.of(options)
        return decoding_bytes(data, chosen.limits, enough_px=self._enough_px(chosen))

    def decode(self, data: bytes, source: Source, options: Mapping[str, Any]) -> Decoded:
        chosen = Options.of(options)
        self._names(chosen)
        image = decode(data, chosen.limits, enough_px=self._enough_px(chosen))
        scene: Scene = WholeScene(image=replace(image, boxes=_boxes(source)))
        tiles = tiles_of(scene, chosen)
        engine = self._running(chosen).engine
        prepared = engine.prepare(scene.whole(), chosen.searched()) if len(tiles) == 1 else None
        opened = _Opened(scene=scene, tiles=tiles, prepared=prepared)
        return Decoded(source=source, payload=opened, cost_bytes=_cost_bytes(scene, chosen), units=len(tiles))

    def _enough_px(self, options: Options) -> int | None:
        """Images that are looked at by tiles are looked at in all their pixels."""
        return self._running(options).engine.enough_px if options.tile_size in ("auto", "whole") else None

    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[_Detected | Found | ItemError]:
        searched = Options.of(options).searched()
        running = self._running(searched)
        with running.gate:
            whole = iter(self._detected([one for one in batch if one.payload.prepared is not None], searched))
            return [
                next(whole) if one.payload.prepared is not None else self._searched(one.payload, searched)
                for one in batch
            ]

    def _detected(self, batch: Sequence[Decoded], options: Options) -> Sequence[_Detected | Found | ItemError]:
        engine = self._running(options).engine
        results: list[_Detected | Found | ItemError] = []
        for start in range(0, len(batch), engine.batch_size):
            part = batch[start : start + engine.batch_size]
            for one, found in zip(part, engine.detect([item.payload.prepared for item in part], options), strict=True):
                if isinstance(found, ItemError):
                    results.append(found)
                elif engine.is_saturated(found, options):
                    results.append(self._searched(one.payload, options))
                else:
                    results.append(_Detected(found=found))
        return results

    def _searched(self, opened: _Opened, options: Options) -> Found | ItemError:
        try:
            return search(opened.scene, opened.tiles, self._running(options).engine, options)
        except ItemError as error:
            return error

    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        chosen = Options.of(options)
        scene: Scene = decoded.payload.scene
        found = self._finished(scene, result, chosen)
        kept = selected(found.instances, self._names(chosen), chosen)
        instances = [tight for one in kept if (tight := one.tight()) is not None]
        files: dict[str, File] = {}
        hidden = _add_masks(files, decoded.source, scene, instances, chosen)
        head = self.shard_header(options)
        names = [category["name"] for category in head["categories"]]
        place = georeference(scene.geo)
        warnings = (*found.warnings, *(place.warnings if place else ()))
        if chosen.overlays:
            files["overlay.jpg"] = File(data=overlay_jpeg(scene.preview(), instances, names), content_type="image/jpeg")
        if chosen.thumbnails:
            files["thumb.jpg"] = File(data=thumb_jpeg(scene.preview(), instances), content_type="image/jpeg")
        fragment = coco.fragment(
            instances,
            file_name=decoded.source.file_name,
            height=scene.height,
            width=scene.width,
            segmentation=chosen.segmentation,
            hidden_pixels=hidden,
            warnings=warnings,
            place=place,
        )
        if chosen.geojson:
            files |= geojson_files(instances, fragment, names, place)
        return Encoded(
            files=files,
            record=coco.record(head, fragment),
            fragment=fragment,
            counts={"annotations": len(instances), **dict.fromkeys(warnings, 1)},
        )

    def _finished(self, scene: Scene, result: _Detected | Found, options: Options) -> Found:
        if isinstance(result, Found):
            return result
        searched = options.searched()
        instances = self._running(searched).engine.finish(result.found, scene.whole(), searched)
        return Found(instances=instances)


def _boxes(source: Source) -> tuple[BoxPrompt, ...]:
    """The examples that came beside the image; the person's side has validated them."""
    return tuple(BoxPrompt(**box) for box in source.sidecar.get("boxes", ()))


def _add_masks(
    files: dict[str, File], source: Source, scene: Scene, instances: Sequence[Instance], options: Options
) -> Sequence[int] | None:
    """Add the masks TIFF; give the hidden pixels of each instance where it is a label image."""
    # The folder is named in full; a very long name would not fit into S3's 1,024 bytes a second time.
    name = source.output.rpartition("/")[2].encode()[:_MASK_NAME_BYTES].decode(errors="ignore")
    path = f"masks/{name}_masks.tif"
    if options.masks == "labels":
        labels = label_tiff(instances, height=scene.height, width=scene.width, geo=scene.geo)
        files[path] = File(data=labels.tiff, content_type="image/tiff")
        return labels.hidden_pixels
    if options.masks == "stack":
        stack = stack_tiff(instances, height=scene.height, width=scene.width, geo=scene.geo)
        files[path] = File(data=stack, content_type="image/tiff")
    return None


def _cost_bytes(scene: Scene, options: Options) -> int:
    """The pixels, and what inference and encoding will add to them before the item is done."""
    masks = scene.height * scene.width * _MASK_BYTES_PER_PIXEL
    return scene.cost_bytes + masks + (_OVERLAY_SCRATCH_BYTES if options.overlays else 0)
