"""The files and records that `segment` makes of one image's instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gpuworker import coco
from gpuworker.geo import georeference
from gpuworker.geojson import geojson_files
from gpuworker.mask_tiff import label_tiff, stack_tiff
from gpuworker.overlays import overlay_jpeg, thumb_jpeg
from gpuworker.packed import Packed, Unpacked
from gpuworker.scene import Scene
from gpuworker.segment_options import Options
from gpuworker.tasks import Encoded, File, Source

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
    notes = scene.notes.and_warnings((*warnings, *(place.warnings if place else ())))
    unpacked = Unpacked(instances)
    if options.overlays:
        files["overlay.jpg"] = File(data=overlay_jpeg(scene.preview(), unpacked, names), content_type="image/jpeg")
    if options.thumbnails:
        files["thumb.jpg"] = File(data=thumb_jpeg(scene.preview(), unpacked), content_type="image/jpeg")
    fragment = coco.fragment(
        unpacked,
        file_name=source.file_name,
        height=scene.height,
        width=scene.width,
        segmentation=options.segmentation,
        hidden_pixels=hidden_pixels,
        notes=notes,
        place=place,
    )
    if options.geojson:
        files |= geojson_files(unpacked, fragment, names, place)
    return Encoded(
        files=files,
        record=coco.record(head, fragment),
        fragment=fragment,
        counts=coco.counts(fragment),
    )


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
