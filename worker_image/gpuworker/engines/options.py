"""What a person may ask of the task `segment`, with every default in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal

from gpuworker.checks.option_rules import FLAG, PAGES, PROMPTS, SHARES, TEXT, Rule, list_of, number, one_of, whole
from gpuworker.images.limits import Limits

TUPLES = ("prompts", "negative_prompts", "bands", "stretch_percent")


_TWO_PERCENTS = list_of("two percentiles", number(0, 100)[1], lengths=[2])


def _is_tile_size(value: Any) -> bool:
    return value in ("auto", "whole") if isinstance(value, str) else whole(64)[1](value)


def _is_rising(value: Any) -> bool:
    return _TWO_PERCENTS[1](value) and bool(value[0] < value[1])


RULES: Mapping[str, Rule] = {
    "engine": TEXT,
    "prompts": PROMPTS,
    "negative_prompts": PROMPTS,
    "score_threshold": number(0, 1),
    "prompt_thresholds": SHARES,
    "nms_iou": number(0, 1, above=True),
    "max_instances": whole(1, 1_000_000),
    "tile_size": ("a whole number of pixels from 64, auto or whole", _is_tile_size),
    "tile_overlap": number(0.02, 0.5),
    "bands": list_of("three bands or one, from 1", whole(1)[1], lengths=[0, 1, 3]),
    "stretch": one_of("auto", "percentile", "minmax", "none"),
    "stretch_percent": ("two percentiles from 0 to 100, rising", _is_rising),
    "alpha": one_of("auto", "ignore", "use"),
    "pages": PAGES,
    "segmentation": one_of("rle", "polygons"),
    "masks": one_of("labels", "stack", "none"),
    **dict.fromkeys(("geojson", "overlays", "thumbnails"), FLAG),
    "max_bytes": whole(1),
    "max_pixels": whole(0),
}
"""The same limits as `gpupipe.tasks.segment` has; a test holds the two against each other."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The job's options, which were validated before the upload; a missing one has the default below."""

    engine: str = "nanodet"
    prompts: tuple[str, ...] = ()
    """What to look for; empty means everything that the engine knows."""
    negative_prompts: tuple[str, ...] = ()
    """What not to take for it: what these find suppresses what it overlaps."""
    score_threshold: float = 0.4
    prompt_thresholds: Mapping[str, float] = field(default_factory=dict)
    """Prompt -> its own threshold, in place of `score_threshold`."""
    nms_iou: float = 0.5
    """Of two instances that overlap by more than this the surer one stays."""
    max_instances: int = 10_000
    """The most instances of one image, the surest first."""
    tile_size: int | Literal["auto", "whole"] = "auto"
    """Native pixels; auto: 1008 where the image is georeferenced, else the whole image at once."""
    tile_overlap: float = 0.125
    """Of a tile's side, shared with its neighbour."""
    bands: tuple[int, ...] = ()
    """From 1: which become red, green and blue, or the one that is grey; empty: the first three."""
    stretch: Literal["auto", "percentile", "minmax", "none"] = "auto"
    """How samples become bytes; auto: bytes as they are, all else by percentile."""
    stretch_percent: tuple[float, float] = (2.0, 98.0)
    alpha: Literal["auto", "ignore", "use"] = "auto"
    """What a band marked as opacity is for: auto: opacity where nearly all of it is nothing or full."""
    pages: int | Literal["first", "all"] = "first"
    """Of a TIFF with several: the picture it shows first, one of them from 1, or each, as an image of its own."""
    segmentation: Literal["rle", "polygons"] = "rle"
    masks: Literal["labels", "stack", "none"] = "labels"
    geojson: bool = True
    """Polygons on the map, and in the image's own coordinate reference system, where it has one."""
    overlays: bool = True
    thumbnails: bool = True
    max_bytes: int = Limits.max_bytes
    max_pixels: int | None = None
    """None: an image that is decoded whole may have as many as memory allows."""

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Read the job's plain options; those of other tasks and engines are left alone."""
        known = {f.name: options[f.name] for f in fields(cls) if options.get(f.name) is not None}
        return cls(**known | {name: tuple(known[name]) for name in TUPLES if name in known})

    def as_plain(self) -> dict[str, Any]:
        """All of them as JSON knows it, as written into results."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def limits(self, memory_bytes: int | None = None) -> Limits:
        """`memory_bytes`: what images may take; None: this machine's budget."""
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels or None, memory_bytes=memory_bytes)

    def searched(self) -> Options:
        """As the engine is asked: what is to be suppressed is looked for too, after all that is wanted."""
        return replace(self, prompts=(*self.prompts, *self.negative_prompts), negative_prompts=())

    @property
    def lowest_threshold(self) -> float:
        """What scores below it is of no use to any prompt; `threshold_of` decides about the rest."""
        return min(self.score_threshold, *self.prompt_thresholds.values(), 1.0)

    def threshold_of(self, prompt: str) -> float:
        """The score below which instances of this prompt are dropped."""
        return self.prompt_thresholds.get(prompt, self.score_threshold)
