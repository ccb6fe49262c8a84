"""The files and records that `segment` makes of one image's instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpuworker.contract import WORLD
from gpuworker.contract.items import File, ItemError, Source
from gpuworker.engines.options import Options
from gpuworker.geo.georeference import georeference
from gpuworker.geo.world_files import OTHER_PLACE, contradicts
from gpuworker.images.notes import BLANK
from gpuworker.masks import coco
from gpuworker.masks.geojson import Drawn, drawn, geojson_files
from gpuworker.masks.overlays import overlay_jpeg, thumb_jpeg
from gpuworker.masks.packed import Packed
from gpuworker.masks.tiff import label_tiff, stack_tiff
from gpuworker.tasks.base import Encoded
from gpuworker.tiles.scene import Scene

_MASK_NAME_BYTES = 200


def encoded(
    instances: Sequence[Packed],
    *,
    scene: Scene,
    source: Source,
    head: Mapping[str, Any],
    options: Options,
    warnings: Sequence[str],
) -> Encoded:
    """What is written of an image; `head` is the shard's COCO header."""
    files, hidden_pixels = _masks(instances, scene, source, options)
    names = [category["name"] for category in head["categories"]]
    place = georeference(scene.geo)
    on_map = drawn(instances, place, height=scene.height, width=scene.width) if options.geojson else Drawn()
    warnings = (*warnings, *(place.warnings if place else ()), *on_map.warnings)
    if contradicts(world_of(source), place, height=scene.height, width=scene.width):
        warnings = (*warnings, OTHER_PLACE)
    notes = scene.notes.and_warnings(tuple(warnings))
    if options.overlays:
        files["overlay.jpg"] = File(data=overlay_jpeg(scene.preview(), instances, names), content_type="image/jpeg")
    if options.thumbnails:
        files["thumb.jpg"] = File(data=thumb_jpeg(scene.preview(), instances), content_type="image/jpeg")
    fragment = coco.fragment(
        instances,
        file_name=source.file_name,
        height=scene.height,
        width=scene.width,
        segmentation=options.segmentation,
        hidden_pixels=hidden_pixels,
        notes=notes.without(BLANK) if instances else notes,
        place=place,
    )
    if options.geojson:
        files |= geojson_files(on_map, fragment, names, place)
    return Encoded(
        files=files,
        record=coco.record(head, fragment),
        fragment=fragment,
        counts=coco.counts(fragment),
    )


def world_of(source: Source) -> Mapping[str, Any]:
    """What lies beside an image of its place (`contract.world`); {} where nothing does. Raises ItemError."""
    world = source.sidecar.get(WORLD, {})
    if not isinstance(world, Mapping):
        raise ItemError("unsuitable", f"what lies beside the image has no object as {WORLD!r}")
    return world


def _masks(
    instances: Sequence[Packed], scene: Scene, source: Source, options: Options
) -> tuple[dict[str, File], Sequence[int] | None]:
    """The masks TIFF, and the hidden pixels of each instance where it is a label image."""
    # The folder is named in full; a very long name would not fit into S3's 1,024 bytes a second time.
    name = source.output.rpartition("/")[2].encode()[:_MASK_NAME_BYTES].decode(errors="ignore")
    path = f"masks/{name}_masks.tif"
    if options.masks == "labels":
        labels = label_tiff(instances, height=scene.height, width=scene.width, geo=scene.geo)
        return {path: File(data=labels.tiff, content_type="image/tiff")}, labels.hidden_pixels
    if options.masks == "stack":
        stack = stack_tiff(instances, height=scene.height, width=scene.width, geo=scene.geo)
        return {path: File(data=stack, content_type="image/tiff")}, None
    return {}, None
