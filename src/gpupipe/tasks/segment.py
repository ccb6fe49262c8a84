"""Options of `segment`: instance segmentation by an engine, with prompts that name what to find."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Annotated, ClassVar, Literal

from pydantic import Field, field_validator

from gpupipe.tasks import TaskOptions

IRREGULAR = {"people": "person", "mice": "mouse"}
# Words that a person may try and no spelling leads to: shown as near names, never taken for them.
RELATED = {
    "sofa": "couch",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "plane": "airplane",
    "aeroplane": "airplane",
    "television": "tv",
    "monitor": "tv",
    "smartphone": "cell phone",
    "mobile": "cell phone",
    "notebook": "laptop",
    "man": "person",
    "woman": "person",
    "child": "person",
    "human": "person",
    "pedestrian": "person",
    "table": "dining table",
    "plant": "potted plant",
    "fridge": "refrigerator",
    "lorry": "truck",
    "van": "truck",
    "ship": "boat",
    "mug": "cup",
    "flower": "potted plant",
}


@cache
def coco_names() -> tuple[str, ...]:
    """The 80 COCO category names in class order; one file, which the engine reads as well."""
    text = resources.files("gpuworker").joinpath("engines/coco80.txt").read_text(encoding="utf-8")
    return tuple(text.split("\n")[:80])


def match_category(prompt: str) -> str:
    """The COCO name that `prompt` means: case, spaces and plural forgiven. Raises ValueError with near names."""
    word = " ".join(prompt.casefold().replace("_", " ").replace("-", " ").split())
    names = coco_names()
    for guess in _spellings(word):
        if guess in names:
            return guess
    near = _near(word, names)
    raise ValueError(
        f"engine nanodet does not know {prompt!r}; it knows the 80 everyday things of COCO"
        + (f"; near: {', '.join(near)}" if near else f", such as {', '.join(names[:6])}")
    )


def _spellings(word: str) -> list[str]:
    """The word as it is, then what it may be the plural (or, as of "skis" and "scissors", the singular) of."""
    endings = (("ies", "y"), ("ves", "fe"), ("es", ""), ("s", ""), ("", "s"))
    regular = [word.removesuffix(old) + new for old, new in endings if word.endswith(old)]
    return [word, *([IRREGULAR[word]] if word in IRREGULAR else []), *regular]


def _near(word: str, names: tuple[str, ...]) -> list[str]:
    related = [RELATED[guess] for guess in _spellings(word) if guess in RELATED]
    within = [name for name in names if word and word in name.split()]
    return list(dict.fromkeys([*related, *within, *difflib.get_close_matches(word, names, n=4, cutoff=0.6)]))[:4]


class SegmentOptions(TaskOptions):
    """What `segment` can be told."""

    input_suffixes: ClassVar[frozenset[str]] = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})

    engine: Literal["nanodet"] = Field("nanodet", description="Model: nanodet knows 80 everyday things.")
    prompts: tuple[str, ...] = Field((), description="What to find, one category a prompt; empty: all 80.")
    negative_prompts: tuple[str, ...] = Field((), description="What not to take for it: suppresses what it overlaps.")
    score_threshold: float = Field(0.4, ge=0.0, le=1.0, description="Instances below this score are dropped.")
    prompt_thresholds: Mapping[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default_factory=dict, description="Prompt -> its own threshold."
    )
    nms_iou: float = Field(0.5, gt=0.0, le=1.0, description="Instances that overlap more than this are one.")
    max_instances: int = Field(10_000, ge=1, le=1_000_000, description="The most instances an image, best first.")
    tile_size: Annotated[int, Field(ge=64)] | Literal["auto", "whole"] = Field(
        "auto", description="Tile in native pixels; auto: 1008 for georeferenced images, else the whole image at once."
    )
    tile_overlap: float = Field(0.125, ge=0.0, le=0.5, description="Share of a tile's side that neighbours overlap.")
    bands: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (), description="Which bands become red, green, blue, from 1; one is grey; empty: the first three."
    )
    stretch: Literal["auto", "percentile", "minmax", "none"] = Field(
        "auto", description="How samples become bytes; auto: bytes stay, all else by percentile."
    )
    stretch_percent: tuple[float, float] = Field((2.0, 98.0), description="Percentiles that become black and white.")
    segmentation: Literal["rle", "polygons"] = Field("rle", description="How COCO holds a mask.")
    masks: Literal["labels", "stack", "none"] = Field("labels", description="Label image, a page an instance, or none.")
    geojson: bool = Field(True, description="Write polygons in the image's own CRS, where it has one.")
    overlays: bool = Field(True, description="Write overlay.jpg beside each result.")
    thumbnails: bool = Field(True, description="Write thumb.jpg, which the report shows.")
    max_bytes: int = Field(2 * 1024**3, ge=1, description="Larger files fail as too_large.")
    max_pixels: int = Field(400_000_000, ge=1, description="Larger images fail as too_large.")

    @field_validator("prompts")
    @classmethod
    def _prompts_are_categories(cls, prompts: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(match_category(prompt) for prompt in prompts))

    def seconds_per_item(self) -> float:
        """nanodet on two CPU cores with a few instances an image; measured times replace it."""
        return 0.4

    def notice(self) -> str:
        return "Engine nanodet is a small detector that knows 80 everyday things (people, cars, cups, …), nothing else."
