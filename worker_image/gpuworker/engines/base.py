"""What an engine is: the model behind the task `segment`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gpuworker.checks.hooks import Hooks

if TYPE_CHECKING:
    from gpuworker.engines.options import Options
    from gpuworker.images.decoding import Image
    from gpuworker.masks.instances import Instance
    from gpuworker.models import Models


class Engine(Hooks, ABC):
    """A model that finds instances in pictures; made once a process with no arguments.

    A picture is a whole image or a tile of one; an engine cannot tell and need not. Three steps, so that the model's
    thread does nothing but the model: `prepare` and `finish` run in any thread, many at once; `detect` in at most
    `infer_threads`. An engine whose model is all there is to it writes `detect` alone.
    """

    infer_threads: int = 1
    """How many threads may be inside `detect` at once (1 where the model owns a GPU)."""
    batch_size: int = 1
    """The most pictures `detect` gains from at once."""
    batch_wait_s: float = 0.0
    """How long a batch that is not full may wait for pictures that are on their way."""
    max_decode_px: int | None = None
    """A long side beyond which more pixels bring nothing, so that files may be decoded smaller; None: all count."""
    takes_boxes: bool = False
    """Whether it looks at `Image.boxes`, the examples that a person has drawn."""
    suppresses_overlaps: bool = False
    """Whether it has already chosen between instances that overlap; else that is done for it, class by class."""

    def use_models(self, models: Models) -> None:
        """Where the weights are; called once, before `load`."""

    @abstractmethod
    def load(self, device: str) -> None:
        """Load the model onto `device` ("cpu", "cuda"). Raises on failure."""

    @property
    @abstractmethod
    def info(self) -> Mapping[str, Any]:
        """`name`, `version` and `notes` for people, as written into every result; known before `load`."""

    @abstractmethod
    def categories(self, options: Options) -> Sequence[str]:
        """What instances are called: category i is the i-th, from 1. Raises ValueError for a prompt it cannot take."""

    def prepare(self, image: Image, options: Options) -> Any:
        """What `detect` takes of a picture. Raises ItemError."""
        return image

    @abstractmethod
    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        """What was found in each picture, in a form that `finish` takes; an ItemError in place of one that failed."""

    def detect_frugally(self, prepared: Any, options: Options) -> Any:
        """One picture with as little memory as can be, for when `detect` ran out of it with this one alone."""
        [found] = self.detect([prepared], options)
        return found

    def finish(self, found: Any, image: Image, options: Options) -> list[Instance]:
        """The instances of a picture, the surest first, in its own full-size coordinates."""
        instances: list[Instance] = found
        return instances

    def is_saturated(self, found: Any, options: Options) -> bool:
        """Whether the picture held so many instances that the model probably left some out."""
        return False

    def expect(self, items: int) -> None:
        """About so many items are still to come: an engine may spend time now that the backlog repays."""
