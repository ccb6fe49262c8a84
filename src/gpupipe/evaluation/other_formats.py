"""Files by other programs that are taken for COCO's: what they are, and how they become it."""

from __future__ import annotations

import json
from typing import Any

_AS_COCO = "Export it as COCO."


def told_of(content: bytes) -> tuple[str, str] | None:
    """What a file is that is no COCO file, and what to do; None where that is not known."""
    start = content.lstrip()[:2000]
    if start.startswith(b"<"):
        return _of_xml(start)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return _of_list(document) if isinstance(document, list) else _of_object(document)


def _of_xml(start: bytes) -> tuple[str, str]:
    if b"<annotations" in start:
        return "CVAT's own XML", "Export the task as COCO 1.0."
    if b"<annotation" in start:
        return "an XML file of one image, as Pascal VOC has it", _AS_COCO
    return "XML", _AS_COCO


def _of_list(document: list[Any]) -> tuple[str, str] | None:
    first = document[0] if document and isinstance(document[0], dict) else {}
    if "image_id" in first:
        return "a list of annotations only", "Put it into an object with `images`, `categories` and `annotations`."
    if "data" in first or "image" in first:
        return "Label Studio's own JSON", "Export the project as COCO (or COCO with Images)."
    return None


def _of_object(document: Any) -> tuple[str, str] | None:
    if not isinstance(document, dict) or "images" in document:
        return None
    if "shapes" in document:
        return (
            "labelme's file of one image",
            "Make one COCO file of all of them, for example with labelme's labelme2coco.",
        )
    if document.get("type") == "FeatureCollection":
        return "GeoJSON", "Its polygons are on the map; draw the truth in pixels and export it as COCO."
    if "_via_img_metadata" in document or any(isinstance(one, dict) and "regions" in one for one in document.values()):
        return "VIA's own JSON", _AS_COCO
    return None
