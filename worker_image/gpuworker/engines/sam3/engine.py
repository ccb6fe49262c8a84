"""SAM3 as an engine: batches of pictures, each encoded once for all of its prompts."""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import metadata
from typing import Any

import torch

from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError
from gpuworker.engines.base import Engine
from gpuworker.engines.options import Options
from gpuworker.engines.sam3.compiling import CompiledLater, compiled_name
from gpuworker.engines.sam3.detection import Detection, by_picture, nothing
from gpuworker.engines.sam3.dtype import dtype_of
from gpuworker.engines.sam3.masks import placed
from gpuworker.engines.sam3.memory import measured
from gpuworker.engines.sam3.network import Box, Outputs, Prompt, Sam3Network
from gpuworker.engines.sam3.resize import resized
from gpuworker.engines.sam3.transfer import collector, mark, to_device
from gpuworker.engines.sam3.weights import identity
from gpuworker.images.decoding import BoxPrompt, Image
from gpuworker.masks.instances import Instance
from gpuworker.models import FolderModels, Models
from gpuworker.tiles.scene import Window

VISUAL = "visual"
"""What SAM3 is told, and instances are called, where examples are drawn and nothing is named."""
BATCH_WAIT_S = 0.05
"""Half a batch's time on the fastest GPUs; the other thread's batch is computed meanwhile."""
SATURATED_FROM = 0.8
"""Of the model's queries: where more name instances, some instances probably found no query."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prepared:
    """A picture as `detect` takes it."""

    pixels: torch.Tensor
    """3×1008×1008 bytes on the host."""
    boxes: tuple[Box, ...]


class Sam3(Engine, own={"network", "prompts_at_once"}):
    """Batches of pictures through the vision encoder, then all their prompts, so many at a time, through the rest."""

    takes_boxes = True
    prompts_at_once = 1
    """Pictures times prompts that go through the decoder together; a processor gains nothing from more."""

    def __init__(self) -> None:
        self._models: Models = FolderModels(ModelSource())
        self._network: Sam3Network | None = None
        self._exact: Sam3Network | None = None
        self._later: CompiledLater | None = None
        self._launching = threading.Lock()
        """Held while work is given to the device, not while it is waited for: batches are queued whole and in order."""

    def use_models(self, models: Models) -> None:
        self._models = models

    def load(self, device: str) -> None:
        """Raises ModelError where the weights cannot be had or are not SAM3's."""
        self._network = Sam3Network(self._models.folder(), device=device, dtype=dtype_of(device))
        if device != "cpu":
            # What is left to the processor is done by many threads at once; a pool of threads in each call would fight.
            torch.set_num_threads(1)
        if torch.device(device).type == "cuda":
            self._use_gpu_well(self._network)

    def _use_gpu_well(self, network: Sam3Network) -> None:
        """As many pictures at once as fit; a batch in the GPU's queue while the one before is still computed."""
        self.infer_threads, self.batch_wait_s = 2, BATCH_WAIT_S
        with torch.inference_mode():
            self.batch_size, seconds_each = measured(network.try_out, network.device)
        self.prompts_at_once = self.batch_size
        self._later = CompiledLater(
            network.encoder,
            lambda: network.noise(self.batch_size),
            name=compiled_name(network.device, network.dtype, self.batch_size, shape=network.shape),
            batch_size=self.batch_size,
            seconds_each=seconds_each,
            models=self._models,
        )
        network.encoder = self._later

    def expect(self, items: int) -> None:
        if self._later is not None:
            self._later.expect(items)

    @property
    def network(self) -> Sam3Network:
        """The loaded model."""
        if self._network is None:
            raise RuntimeError("load comes first")
        return self._network

    @cached_property
    def info(self) -> Mapping[str, Any]:
        libraries = ", ".join(f"{name} {metadata.version(name)}" for name in ("transformers", "torch"))
        return {
            "name": "sam3",
            "version": f"weights {identity(self._models.folder())}, {libraries}",
            "notes": "finds every instance of what a prompt names; at most 200 of one prompt in one look",
        }

    def categories(self, options: Options) -> Sequence[str]:
        if any(not prompt.strip() for prompt in options.prompts):
            raise ValueError("a prompt is empty; sam3 finds what a prompt names")
        return options.prompts or (VISUAL,)

    def prepare(self, image: Image, options: Options) -> Prepared:
        boxes = tuple(_box(box, image, options) for box in image.boxes)
        return Prepared(pixels=resized(image.rgb), boxes=boxes)

    def detect(self, prepared: Sequence[Prepared], options: Options) -> Sequence[Detection | ItemError]:
        return self._detect(prepared, options, prompts_at_once=self.prompts_at_once)

    def detect_frugally(self, prepared: Prepared, options: Options) -> Detection | ItemError:
        """One prompt at a time."""
        [found] = self._detect([prepared], options, prompts_at_once=1)
        return found

    def _detect(
        self, prepared: Sequence[Prepared], options: Options, *, prompts_at_once: int
    ) -> Sequence[Detection | ItemError]:
        with torch.inference_mode():
            found = self._find(self.network, prepared, options, prompts_at_once)
            again = [i for i, one in enumerate(found) if one is None]
            if again and self.network.dtype != torch.float32:
                exact = self._find(self._exact_network(), [prepared[i] for i in again], options, 1)
                for i, one in zip(again, exact, strict=True):
                    found[i] = one
        return [one if one is not None else _not_finite() for one in found]

    def _exact_network(self) -> Sam3Network:
        """The same in float32, for pictures that overflow the fast format; loaded when the first one does."""
        with self._launching:
            if self._exact is None:
                self._exact = Sam3Network(self._models.folder(), device=self.network.device, dtype=torch.float32)
            return self._exact

    def _find(
        self, network: Sam3Network, prepared: Sequence[Prepared], options: Options, prompts_at_once: int
    ) -> list[Detection | None]:
        """None for a picture whose outputs are not all finite numbers."""
        prompts = [one for i, picture in enumerate(prepared) for one in _prompts_of(i, picture, options)]
        batches = _batches(prompts, prompts_at_once)
        if not batches:
            return [nothing()] * len(prepared)
        pixels = to_device([one.pixels for one in prepared], network.device)
        outputs: list[Outputs] = []
        with collector(network.device) as collecting:
            with self._launching:
                features = network.encode(pixels)
                raw, moment = network.decode(features, batches[0]), mark(network.device)
                for batch in batches[1:]:  # the device is given the next prompts before the last are waited for
                    following, later = network.decode(features, batch), mark(network.device)
                    with collecting.behind(moment):
                        outputs.append(raw.above_threshold())
                    raw, moment = following, later
            with collecting.behind(moment):
                outputs.append(raw.above_threshold())
                return by_picture(len(prepared), batches, outputs)

    def finish(self, found: Detection, image: Image, options: Options) -> list[Instance]:
        order = torch.argsort(found.scores, descending=True, stable=True).tolist()
        return [one for i in order if (one := _instance(found, i, image)) is not None]

    def is_saturated(self, found: Detection, options: Options) -> bool:
        return found.most_of_a_prompt > SATURATED_FROM * self.network.queries


def _batches(prompts: Sequence[Prompt], at_once: int) -> list[Sequence[Prompt]]:
    """Those with boxes apart: they take another path through the model."""
    kinds = ([one for one in prompts if not one.boxes], [one for one in prompts if one.boxes])
    return [kind[start : start + at_once] for kind in kinds for start in range(0, len(kind), at_once)]


def _not_finite() -> ItemError:
    return ItemError("internal_error", "the model's outputs are not finite numbers, even in float32")


def _box(drawn: BoxPrompt, image: Image, options: Options) -> Box:
    """In shares of the picture, cut to its edges. Raises ItemError: anybody may write a request to an endpoint."""
    if drawn.prompt and drawn.prompt not in options.prompts:
        raise ItemError("unsuitable", f"a box belongs to the prompt {drawn.prompt!r}, which the job does not have")
    numbers = (drawn.x, drawn.y, drawn.width, drawn.height)
    if not all(isinstance(number, int | float) and math.isfinite(number) for number in numbers):
        raise ItemError("unsuitable", f"a box is not of numbers: {drawn}")
    box = drawn.inside(Window(top=0, left=0, height=image.height, width=image.width))
    if box is None:
        raise ItemError("unsuitable", f"a box lies outside of the image of {image.width}×{image.height}: {drawn}")
    return Box(
        centre_x=(box.x + box.width / 2) / image.width,
        centre_y=(box.y + box.height / 2) / image.height,
        width=box.width / image.width,
        height=box.height / image.height,
        is_positive=box.is_positive,
        prompt=box.prompt,
    )


def _prompts_of(picture: int, prepared: Prepared, options: Options) -> list[Prompt]:
    """Every prompt with its boxes; where there is none, what the boxes show."""
    if not options.prompts and not any(box.is_positive for box in prepared.boxes):
        return []
    return [
        Prompt(
            picture=picture,
            category_id=number,
            text=text,
            boxes=tuple(box for box in prepared.boxes if box.prompt in ("", text)),
            threshold=options.threshold_of(text),
        )
        for number, text in enumerate(options.prompts or (VISUAL,), 1)
    ]


def _instance(found: Detection, number: int, image: Image) -> Instance | None:
    """One instance in full-size pixels; None where its mask is empty."""
    mask = placed(found.masks[number], height=image.height, width=image.width)
    if mask is None:
        return None
    category_id = int(found.category_ids[number])
    score = float(found.scores[number])
    return Instance(x=mask.x, y=mask.y, mask=mask.mask, score=score, category_id=category_id, source="sam3")
