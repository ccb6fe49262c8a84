"""What a person may ask of the task `segment`, with every default in this one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from gpuworker.images import Limits


@dataclass(frozen=True, kw_only=True)
class Options:
    """The job's options, which were validated before the upload; a missing one has the default below."""

    engine: str = "nanodet"
    prompts: tuple[str, ...] = ()
    """What to look for; empty means everything that the engine knows."""
    score_threshold: float = 0.4
    nms_iou: float = 0.5
    """Of two boxes that overlap by more than this, whatever they show, the surer one stays."""
    max_instances: int = 200
    """The most instances of one image, the surest first."""
    segmentation: Literal["rle", "polygons"] = "rle"
    masks: Literal["labels", "stack", "none"] = "labels"
    overlays: bool = True
    thumbnails: bool = True
    max_bytes: int = Limits.max_bytes
    max_pixels: int = Limits.max_pixels

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Options:
        """Read the job's plain options; those of other tasks and engines are left alone."""
        known = {f.name: options[f.name] for f in fields(cls) if options.get(f.name) is not None}
        return cls(**known | {"prompts": tuple(known.get("prompts", ()))})

    def as_plain(self) -> dict[str, Any]:
        """All of them as JSON knows it, as written into results."""
        return asdict(self) | {"prompts": list(self.prompts)}

    @property
    def limits(self) -> Limits:
        return Limits(max_bytes=self.max_bytes, max_pixels=self.max_pixels)
