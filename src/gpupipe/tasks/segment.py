"""Options of `segment`: instance segmentation by an engine, with prompts that name what to find."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
)

from gpupipe.errors import InputError, UsageError
from gpupipe.tasks import Place, TaskOptions, boxes
from gpupipe.tasks.engines import (
    ENGINES,
    EngineName,
    canonical,
    fallback,
    foretold,
    instead_of_sam3,
    made,
    notice,
    require_few,
)
from gpupipe.tasks.pixels import IMAGE_SUFFIXES, MAX_PIXELS_ABOUT, PAGES_ABOUT, UNSET, MaxPixels, Pages, either
from gpuworker.contract import InputKind

AUTO_TILE_PX = 1008
RASTER_BYTES_PER_PIXEL, PHOTO_BYTES_PER_PIXEL = 2.0, 0.4
"""On disk: maps are compressed without loss and have several bands, photographs are JPEG."""


TileSize = Annotated[
    Annotated[int, Field(ge=64)] | Literal["auto", "whole"],
    either('a whole number of pixels from 64, "auto" or "whole"'),
]


class SegmentOptions(TaskOptions):
    """Options of task `segment`."""

    takes: ClassVar[frozenset[InputKind]] = frozenset({"object"})
    input_suffixes: ClassVar[frozenset[str]] = IMAGE_SUFFIXES
    sidecar_suffix: ClassVar[str] = boxes.SUFFIX
    takes_places: ClassVar[bool] = True
    example: ClassVar[Mapping[str, Any]] = {"prompts": ("car",)}

    engine: EngineName = Field(
        "nanodet",
        description='Model that finds instances: "nanodet" knows 80 everyday things; "sam3" finds what prompts name, '
        "with "
        'weights from `model`; "vegetation" finds green plants; "auto" is sam3 where it can run, else nanodet.',
    )
    prompts: tuple[str, ...] = Field(
        (), description="What to find, one category a prompt; empty: all that the engine knows."
    )
    negative_prompts: tuple[str, ...] = Field(
        (),
        description="What not to take for what prompts name; instances of a negative prompt suppress those that "
        "they overlap.",
    )
    score_threshold: float = Field(
        0.4, ge=0.0, le=1.0, description="Instances with a lower score are left out of results."
    )
    prompt_thresholds: Mapping[str, Annotated[float, Field(ge=0.0, le=1.0)]] = Field(
        default_factory=dict,
        description='Score thresholds of single prompts, as {"oak crown" = 0.3}; the others have score_threshold.',
    )
    nms_iou: float = Field(
        0.5,
        gt=0.0,
        le=1.0,
        description="Two instances of one category with a greater IoU (intersection over union) are one: the better "
        "one stays.",
    )
    max_instances: int = Field(
        10_000,
        ge=1,
        le=1_000_000,
        description="The most instances of an image that results hold, those of the best scores.",
    )
    tile_size: TileSize = Field(
        "auto",
        description='Side of the tiles that an image is cut into, in its own pixels; "whole": the image at once; '
        '"auto": '
        "1008 where the image is georeferenced, else whole.",
    )
    tile_overlap: float = Field(
        0.125, ge=0.02, le=0.5, description="Share of a tile's side by which neighbouring tiles overlap."
    )
    bands: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (),
        description="Bands of the image that become red, green and blue, counted from 1; one alone is grey; empty: "
        "the first three.",
    )
    stretch: Literal["auto", "percentile", "minmax", "none"] = Field(
        "auto",
        description="How samples of the image become bytes; auto: bytes stay as they are, all else by percentile.",
    )
    stretch_percent: tuple[float, float] = Field(
        (2.0, 98.0),
        description="Percentiles of the samples that become black and white, where stretch is by percentile.",
    )
    alpha: Literal["auto", "ignore", "use"] = Field(
        "auto",
        description="What a band that is marked as opacity is for; auto: opacity where 95 % of it is 0 or full, else "
        "an "
        "ordinary band (infrared is often marked so).",
    )
    pages: Pages = Field("first", description=PAGES_ABOUT)
    segmentation: Literal["rle", "polygons"] = Field(
        "rle", description="How masks are written into results in COCO's format."
    )
    masks: Literal["labels", "stack", "none"] = Field(
        "labels",
        description="How masks are written as a TIFF: one label image, a stack with a page an instance, or not at all.",
    )
    geojson: bool = Field(
        True,
        description="Whether a georeferenced image's instances are written as polygons on the map (WGS 84) and in "
        "its own CRS.",
    )
    overlays: bool = Field(
        True, description="Whether overlay.jpg, the image with what was found, is written beside each result."
    )
    thumbnails: bool = Field(
        True, description="Whether thumb.jpg, which the report shows, is written beside each result."
    )
    max_bytes: int = Field(4 * 1024**3, ge=1, description="Files of more bytes fail as too_large.")
    max_pixels: MaxPixels = Field(UNSET, ge=0, description=MAX_PIXELS_ABOUT)

    @field_validator("prompts")
    @classmethod
    def _prompts_suit_the_engine(cls, prompts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "engine" not in info.data:
            return prompts
        asked = canonical(info.data["engine"], prompts)
        require_few(info.data["engine"], asked)
        return asked

    @field_validator("negative_prompts")
    @classmethod
    def _negatives_differ(cls, negatives: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if "engine" not in info.data or "prompts" not in info.data:
            return negatives
        engine = info.data["engine"]
        if negatives and not ENGINES[engine].takes_negative_prompts:
            raise ValueError(f"engine {engine} takes no negative prompts")
        unwanted = canonical(engine, negatives)
        wanted = {prompt.casefold() for prompt in info.data["prompts"]}
        if both := [prompt for prompt in unwanted if prompt.casefold() in wanted]:
            raise ValueError(f"{both[0]!r} is a prompt and a negative prompt at once")
        return unwanted

    @field_validator("prompt_thresholds")
    @classmethod
    def _thresholds_are_of_prompts(cls, thresholds: Mapping[str, float], info: ValidationInfo) -> Mapping[str, float]:
        if not {"engine", "prompts", "negative_prompts"} <= set(info.data):
            return thresholds
        asked = (*info.data["prompts"], *info.data["negative_prompts"])
        spelled = {prompt.casefold(): prompt for prompt in asked}
        own: dict[str, float] = {}
        for key, value in thresholds.items():
            (text,) = canonical(info.data["engine"], [key])
            if info.data["prompts"] and text.casefold() not in spelled:
                raise ValueError(f"{key!r} is no prompt; the prompts are {', '.join(asked)}")
            own[spelled.get(text.casefold(), text)] = value
        return own

    @field_validator("bands")
    @classmethod
    def _bands_make_a_picture(cls, bands: tuple[int, ...]) -> tuple[int, ...]:
        if len(bands) not in (0, 1, 3):
            raise ValueError(f"{len(bands)} bands make no picture: name three (red, green, blue) or one (grey)")
        return bands

    @field_validator("stretch_percent")
    @classmethod
    def _percentiles_rise(cls, percent: tuple[float, float]) -> tuple[float, float]:
        low, high = percent
        if not 0 <= low < high <= 100:
            raise ValueError(f"{low:g} and {high:g} are no percentiles from black to white: 0 <= black < white <= 100")
        return percent

    # --- a job ---

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """What the pipeline says of prompts that the job replaces goes with them."""
        more = {**self._without_what_is_replaced(changes), **changes} if "prompts" in changes else changes
        return super().changed(more)

    def _without_what_is_replaced(self, changes: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            new = canonical(changes.get("engine", self.engine), changes["prompts"])
            asked = {prompt.casefold() for prompt in new}
            negatives = tuple(one for one in self.negative_prompts if one.casefold() not in asked)
            known = {*asked, *(prompt.casefold() for prompt in changes.get("negative_prompts", negatives))}
        except (ValueError, KeyError, TypeError, AttributeError):  # which validation tells better: 5 is no prompt
            return {}
        kept = {prompt: value for prompt, value in self.prompt_thresholds.items() if prompt.casefold() in known}
        return {"negative_prompts": negatives, "prompt_thresholds": kept}

    def at_place(self, place: Place) -> Self:
        if self.engine == "sam3" and not place.weights:
            raise UsageError(
                f"engine sam3 needs weights, and pipeline {place.pipeline} names none.",
                hint=f"Name them in [pipelines.{place.pipeline}.model] of gpupipe.toml and run `gpupipe up`, "
                f"or choose another engine{f': {other}' if (other := instead_of_sam3(self.prompts)) else ''}.",
            )
        if self.negative_prompts and not self.prompts:
            raise UsageError(
                f"negative prompts ({', '.join(self.negative_prompts)}) take away from what prompts find, "
                "and there is no prompt.",
                hint="Add --prompt TEXT, or leave the negative ones out.",
            )
        return self._as_nanodet_knows_it(place) if self.engine == "auto" else self

    def _as_nanodet_knows_it(self, place: Place) -> Self:
        """`auto` that can only be nanodet is held to what nanodet knows, before anything is uploaded."""
        why = fallback(weights=place.weights, has_prompts=bool(self.prompts))
        if not why:
            return self
        try:
            canonical("nanodet", (*self.prompts, *self.negative_prompts))
        except ValueError as error:
            raise InputError(
                f"engine auto is nanodet here, because {why}; {error}.",
                hint="Ask for what nanodet knows, or name weights in "
                f"[pipelines.{place.pipeline}.model] of gpupipe.toml and run `gpupipe up`.",
            ) from error
        return self

    def reads_sidecars(self, place: Place) -> bool:
        if self.engine == "auto" and fallback(weights=place.weights, has_prompts=bool(self.prompts)):
            return False
        return ENGINES[self.engine].takes_boxes

    def read_sidecar(self, data: bytes) -> Mapping[str, Any]:
        return boxes.read_boxes(data, self.prompts)

    def has_aim(self, sidecar: Mapping[str, Any]) -> bool:
        return self.engine != "sam3" or bool(self.prompts) or boxes.has_example(sidecar)

    def seconds_per_item(self) -> float:
        about = ENGINES[self.engine]
        more = max(0, len(self.prompts) + len(self.negative_prompts) - 1)
        return about.item_s + about.prompt_s * more

    def weight(self, path: str, size_bytes: int) -> float:
        """The tiles that an image of this size on disk probably has."""
        is_raster = path.lower().endswith((".tif", ".tiff"))
        if self.tile_size == "whole" or (self.tile_size == "auto" and not is_raster):
            return 1.0
        side = AUTO_TILE_PX if self.tile_size == "auto" else self.tile_size
        tile_bytes = side**2 * (RASTER_BYTES_PER_PIXEL if is_raster else PHOTO_BYTES_PER_PIXEL)
        return max(1.0, size_bytes / tile_bytes)

    def notice(self, place: Place | None = None, *, made_by: Sequence[str] = ()) -> str:
        if self.engine != "auto":
            return notice(self.engine, self.prompts)
        return made(made_by) if place is None else foretold(place, has_prompts=bool(self.prompts))
