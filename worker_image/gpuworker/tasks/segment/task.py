"""The task `segment`: find things in images; give COCO annotations, masks, an overlay and a thumbnail of each."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2

from gpuworker.checks.option_rules import mistake_in
from gpuworker.contract import InputKind
from gpuworker.contract.items import ItemError, Source
from gpuworker.engines import ENGINES
from gpuworker.engines.base import Engine
from gpuworker.engines.options import RULES, Options
from gpuworker.images.decoding import BoxPrompt
from gpuworker.masks import coco
from gpuworker.masks.overlays import OVERLAY_PX
from gpuworker.masks.packed import Packed, packed
from gpuworker.models import Models
from gpuworker.tasks.base import Decoded, Encoded, Task
from gpuworker.tasks.pages import as_one, pages_to_look_at, require_together
from gpuworker.tasks.segment.engines import Engines
from gpuworker.tasks.segment.opening import bytes_to_open, open_scene, rendering_of
from gpuworker.tasks.segment.results import encoded, world_of
from gpuworker.tasks.segment.selection import select, suppress, thin
from gpuworker.tasks.segment.tile_search import Ready, Subject, read, search, working_bytes
from gpuworker.tasks.segment.tiling import pieces_of, split, tiles_of, whole_of
from gpuworker.tiles.scene import Scene, Window
from gpuworker.tiles.seams import Tile, joined

SATURATED = "saturated"
"""The warning that a model had no room for all that is in an image, or in some tile of it."""
MORE_FOUND = "more_found"
"""The warning that `max_instances` has left some out."""
_OVERLAY_SCRATCH_BYTES = OVERLAY_PX * OVERLAY_PX * 3 * 2
_MASK_BYTES_PER_PIXEL = 2
"""The masks' crops, which overlap, and what is made of the largest; label images exist a band at a time only."""


@dataclass(frozen=True, kw_only=True, eq=False)
class _Opened:
    """One input between decoding and the model."""

    scene: Scene
    windows: Sequence[Window]
    """One for an image that is looked at whole."""
    first: Ready | None
    """The first of them; None where nothing in it counts."""
    splits: list[int] = field(default_factory=list)
    """How many windows more are looked at, a number for each crowded one that was split."""
    tiles_done: list[int] = field(default_factory=list)
    """How many windows the model has done, in several numbers."""

    @property
    def is_whole(self) -> bool:
        return len(self.windows) == 1


@dataclass(frozen=True, kw_only=True, eq=False)
class _Whole:
    """What the engine found in an image that it looked at whole, before `finish`."""

    found: Any
    is_complete: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class _Tiled:
    """What it found in the tiles of an image, before they are joined."""

    tiles: Sequence[Tile]


_Result = _Whole | _Tiled | ItemError


class Segment(Task):
    """`load` makes the engine of the worker's pipeline; others are made when a job first asks for them."""

    record_name: ClassVar[str] = "annotations.json"
    takes: ClassVar[frozenset[InputKind]] = frozenset({"object"})
    takes_files: ClassVar[bool] = True

    def __init__(self, engines: Mapping[str, str] = ENGINES) -> None:
        """`engines`: name -> "module:Class"."""
        self.infer_threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._engines = Engines(engines)
        self._memory_bytes: int | None = None

    # --- engines ---

    def use_models(self, models: Models) -> None:
        """Where engines find their weights."""
        self._engines.models = models

    def load(self, device: str, options: Mapping[str, Any]) -> None:
        """Load the engine that `options` name. Raises ValueError for an unknown engine or prompt."""
        # The stream's threads work side by side, one a core; a pool of cv2's own inside each call would only fight with
        # them, whatever the engine: decoding, masks and overlays are cv2's as well.
        cv2.setNumThreads(1)
        self._engines.device = device
        chosen = Options.of(options)
        engine = self._engines.foreseen(chosen).engine
        if chosen.prompts:  # else jobs bring them
            engine.categories(chosen)
        self.infer_threads, self.batch_size = engine.infer_threads, engine.batch_size
        self.batch_wait_s = engine.batch_wait_s

    def mistake_in(self, options: Mapping[str, Any]) -> str:
        """What the configuration would refuse of these options; "" where nothing."""
        engine = options.get("engine")
        if isinstance(engine, str) and not self._engines.knows(engine):
            return f"there is no engine {engine!r}"
        return mistake_in(options, RULES)

    def expect(self, items: int) -> None:
        """So many items are still to come."""
        self._engines.expect(items)

    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._engines.info(Options.of(options))

    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        chosen = Options.of(options)
        names = self._engines.wanted_names(chosen)
        return coco.header(engine=self._engines.info(chosen), options=chosen.as_plain(), names=names)

    def answer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same without the files beside the record."""
        return {**options, "masks": "none", "overlays": False, "thumbnails": False, "geojson": False}

    # --- decode ---

    def use_memory(self, memory_bytes: int) -> None:
        """What all images in flight may take together, and so one alone."""
        self._memory_bytes = memory_bytes

    def decoded_bytes(self, data: bytes | Path, source: Source, options: Mapping[str, Any]) -> int:
        """The most memory that `decode` will take, read from the header, and masks, so that the stream can wait."""
        chosen = Options.of(options)
        try:
            pages = _by_page(data, chosen)
        except ItemError:
            return 0
        return sum(self._decoded_bytes(data, source, page) for page in pages)

    def _decoded_bytes(self, data: bytes | Path, source: Source, page: Options) -> int:
        return bytes_to_open(
            data,
            page,
            max_decode_px=self._max_decode_px(page),
            world=world_of(source),
            memory_bytes=self._memory_bytes,
            result_bytes_per_pixel=_MASK_BYTES_PER_PIXEL,
        )

    def decode(self, data: bytes | Path, source: Source, options: Mapping[str, Any]) -> Decoded:
        chosen = Options.of(options)
        _require_prompts_for_negative_ones(chosen)
        self._engines.names(chosen)
        engine = self._engines.of(chosen).engine
        boxes = _for_what_is_wanted(_boxes(source), chosen)
        _require_something_to_look_for(engine, chosen, boxes)
        pages = _by_page(data, chosen)
        if len(pages) > 1:
            require_together(self.decoded_bytes(data, source, options), chosen.limits(self._memory_bytes), len(pages))
        opened = tuple(self._open_page(data, source, page, boxes) for page in pages)
        return Decoded(
            source=source,
            payload=opened,
            cost_bytes=sum(_cost_bytes(one, engine, chosen) for one in opened),
            weight=sum(len(one.windows) for one in opened),
            extra_weight=lambda: sum(sum(one.splits) for one in opened),
            weight_done=lambda: sum(sum(one.tiles_done) for one in opened),
        )

    def _open_page(self, data: bytes | Path, source: Source, page: Options, boxes: tuple[BoxPrompt, ...]) -> _Opened:
        scene = open_scene(
            data,
            page,
            name=source.file_name,
            max_decode_px=self._max_decode_px(page),
            boxes=boxes,
            world=world_of(source),
            memory_bytes=self._memory_bytes,
        )
        windows = tiles_of(scene, page)
        return _Opened(
            scene=scene, windows=windows, first=_first(scene, windows, self._engines.of(page).engine, page.searched())
        )

    def _max_decode_px(self, options: Options) -> int | None:
        """For images that are looked at whole; those that are looked at by tiles are had in all their pixels."""
        return self._engines.of(options).engine.max_decode_px

    # --- run ---

    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[Sequence[_Result] | ItemError]:
        """The results of each item's pages."""
        searched = Options.of(options).searched()
        opened: list[_Opened] = [page for one in batch for page in one.payload]
        results = self._looked_at_whole([one for one in opened if one.is_whole], searched)
        subjects = {
            page: replace(subject, is_wanted=one.is_wanted)
            for one in batch
            for page in one.payload
            if (subject := _subject(page, results.get(page), searched)) is not None
        }
        results |= self._search(subjects, searched)
        return [_of_pages([results[page] for page in one.payload]) for one in batch]

    def _looked_at_whole(self, opened: Sequence[_Opened], options: Options) -> dict[_Opened, _Result]:
        loaded = self._engines.of(options)
        detected = loaded.detect([one.first.prepared for one in opened if one.first is not None], options)
        results: dict[_Opened, _Result] = {}
        for one, found in zip(opened, detected, strict=True):
            if isinstance(found, ItemError):
                results[one] = found
            else:
                results[one] = _Whole(found=found, is_complete=not loaded.engine.is_saturated(found, options))
        return results

    def _search(self, subjects: Mapping[_Opened, Subject], options: Options) -> dict[_Opened, _Result]:
        if not subjects:
            return {}
        found = search(list(subjects.values()), self._engines.of(options), options)
        return {
            one: tiles if isinstance(tiles, ItemError) else _Tiled(tiles=tiles)
            for one, tiles in zip(subjects, found, strict=True)
        }

    # --- encode ---

    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        head, chosen = self.shard_header(options), Options.of(options)
        pages = [
            self._encode_page(decoded.source, page.scene, its_result, head, chosen)
            for page, its_result in zip(decoded.payload, result, strict=True)
        ]
        if len(pages) == 1:
            return pages[0]
        fragments = [page.fragment for page in pages]
        return as_one(pages, record=coco.record(head, *fragments), counts=coco.counts(*fragments))

    def _encode_page(
        self, source: Source, scene: Scene, result: _Whole | _Tiled, head: Mapping[str, Any], chosen: Options
    ) -> Encoded:
        if isinstance(result, _Tiled):
            found, is_complete = self._join(scene, result, chosen), all(tile.is_complete for tile in result.tiles)
        else:
            found, is_complete = self._finish(scene, result, chosen), result.is_complete
        sure = select(found, self._engines.names(chosen), chosen)
        warned = {SATURATED: not is_complete, MORE_FOUND: len(sure) > chosen.max_instances}
        return encoded(
            sure[: chosen.max_instances],
            scene=scene,
            source=source,
            head=head,
            options=chosen,
            warnings=[word for word, is_so in warned.items() if is_so],
        )

    def _join(self, scene: Scene, result: _Tiled, options: Options) -> Sequence[Packed]:
        return suppress(joined(result.tiles, height=scene.height, width=scene.width), iou=options.nms_iou)

    def _finish(self, scene: Scene, result: _Whole, options: Options) -> Sequence[Packed]:
        searched = options.searched()
        engine = self._engines.of(searched).engine
        return thin(packed(engine.finish(result.found, scene.whole(), searched)), engine, options)


def _by_page(data: bytes | Path, options: Options) -> Sequence[Options]:
    """The options for each page that is to be looked at. Raises ItemError."""
    return [replace(options, pages=page) for page in pages_to_look_at(data, options.pages, rendering_of(options))]


def _of_pages(results: Sequence[_Result]) -> Sequence[_Result] | ItemError:
    """The results, or what was wrong with one of them."""
    return next((result for result in results if isinstance(result, ItemError)), results)


def _first(scene: Scene, windows: Sequence[Window], engine: Engine, options: Options) -> Ready | None:
    if len(windows) > 1:
        return read(scene, windows[0], engine, options)
    image = scene.whole()
    return Ready(image=image, prepared=engine.prepare(image, options))


def _subject(opened: _Opened, seen: _Result | None, options: Options) -> Subject | None:
    """What to look at by tiles; of an image that has been `seen` whole only what was too much in one piece."""
    scene, on_split, on_done = opened.scene, opened.splits.append, opened.tiles_done.append
    if seen is None:
        return Subject(scene=scene, windows=opened.windows, first=opened.first, on_split=on_split, on_done=on_done)
    windows: Sequence[Window] = ()
    if isinstance(seen, ItemError) and seen.code == "out_of_memory":
        windows = pieces_of(scene, options)
    elif isinstance(seen, _Whole) and not seen.is_complete:
        windows = split(whole_of(scene), overlap=options.tile_overlap)
    on_split(len(windows))
    return Subject(scene=scene, windows=windows, on_split=on_split, on_done=on_done) if windows else None


def _require_something_to_look_for(engine: Engine, options: Options, boxes: Sequence[BoxPrompt]) -> None:
    """A tile without a prompt may be a part of an image with one; an image may not. Raises ItemError."""
    if engine.takes_boxes and not options.prompts and not any(box.is_positive for box in boxes):
        raise ItemError(
            "unsuitable", "there is nothing to look for: there is no prompt, and no box beside it that shows an example"
        )


def _require_prompts_for_negative_ones(options: Options) -> None:
    """Or they would be all that is looked for. A job was refused before its upload; what is dropped into the bucket and
    what a request asks comes here unread. Raises ItemError."""
    if options.negative_prompts and not options.prompts:
        raise ItemError("unsuitable", "negative prompts take away from what prompts find, and there is no prompt")


def _for_what_is_wanted(boxes: Sequence[BoxPrompt], options: Options) -> tuple[BoxPrompt, ...]:
    """Examples for all prompts show nothing of the negative ones, which are looked for like the others."""
    if not options.negative_prompts:
        return tuple(boxes)
    return tuple(
        replace(box, prompt=prompt) for box in boxes for prompt in ([box.prompt] if box.prompt else options.prompts)
    )


def _boxes(source: Source) -> tuple[BoxPrompt, ...]:
    """The examples that came beside the image. Raises ItemError: of a job the person's side has validated them, but
    anybody may write a request to an endpoint."""
    try:
        return tuple(BoxPrompt(**box) for box in source.sidecar.get("boxes", ()))
    except TypeError as error:
        form = '{"boxes": [{"x": 0, "y": 0, "width": 9, "height": 9, "is_positive": true, "prompt": ""}]}'
        raise ItemError("unsuitable", f"what lies beside the image is not of the form {form}") from error


def _cost_bytes(opened: _Opened, engine: Engine, options: Options) -> int:
    """The pixels, and what inference and encoding will add to them before the item is done."""
    scene = opened.scene
    masks = scene.height * scene.width * _MASK_BYTES_PER_PIXEL
    at_work = 0 if opened.is_whole else working_bytes(opened.windows, engine)
    return scene.cost_bytes + masks + at_work + (_OVERLAY_SCRATCH_BYTES if options.overlays else 0)
