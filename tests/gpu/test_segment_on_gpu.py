"""SAM3 on a GPU: the same answers as on a processor, alone, in batches, from two threads, compiled."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from gpuworker.contract import ModelSource
from gpuworker.engines.options import Options
from gpuworker.engines.sam3.compiling import CompiledLater
from gpuworker.engines.sam3.detection import Detection
from gpuworker.engines.sam3.engine import Sam3
from gpuworker.engines.sam3.memory import AT_MOST
from gpuworker.engines.sam3.network import Prompt, Sam3Network
from gpuworker.images.decoding import BoxPrompt, Image
from gpuworker.models import FolderModels

pytestmark = pytest.mark.gpu

OPTIONS = Options(prompts=("tree", "car"), score_threshold=0.3)
SAME = 1e-3
"""Of a score: sums in another order, in float32."""
ROUNDED = 0.1
"""Of a score, on average, in 16 bits: the tiny model's weights are drawn so that small differences grow."""
COMPILE_S = 120.0


def picture(seed: int, *, boxes: Sequence[BoxPrompt] = ()) -> Image:
    rgb = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)
    return Image(rgb=rgb, height=60, width=80, bands=3, dtype="uint8", boxes=tuple(boxes))


def scores(network: Sam3Network, images: Sequence[torch.Tensor]) -> torch.Tensor:
    """Every query's score for `tree`, pictures × queries."""
    asked = [Prompt(picture=i, category_id=1, text="tree", boxes=(), threshold=0.3) for i in range(len(images))]
    with torch.inference_mode():
        seen = network.encode(torch.stack(list(images)).to(network.device))
        return network.decode(seen, asked).scores.cpu()


@pytest.fixture(scope="module")
def pixels(engine: Sam3) -> list[torch.Tensor]:
    return [engine.prepare(picture(seed), OPTIONS).pixels for seed in range(2)]


@pytest.fixture(scope="module")
def expected(weights: Path, pixels: list[torch.Tensor]) -> torch.Tensor:
    """By the processor, in float32."""
    return scores(Sam3Network(weights, device="cpu", dtype=torch.float32), pixels)


def test_float32_answers_as_the_processor_does(
    weights: Path, device: str, pixels: list[torch.Tensor], expected: torch.Tensor
) -> None:
    here = scores(Sam3Network(weights, device=device, dtype=torch.float32), pixels)
    assert float((here - expected).abs().max()) < SAME


def test_the_cards_own_format_is_near_it(engine: Sam3, pixels: list[torch.Tensor], expected: torch.Tensor) -> None:
    here = scores(engine.network, pixels)
    assert torch.isfinite(here).all()
    assert float((here - expected).abs().mean()) < ROUNDED


def test_as_many_pictures_go_together_as_fit(engine: Sam3, device: str) -> None:
    assert 1 <= engine.batch_size <= AT_MOST
    assert engine.batch_size & (engine.batch_size - 1) == 0
    assert engine.infer_threads == (2 if device == "cuda" else engine.infer_threads)


def test_two_threads_answer_as_one(engine: Sam3, device: str) -> None:
    # given batches of different fill, with and without boxes, and what each finds by itself
    count, rounds = (6, 3) if device == "cuda" else (3, 1)
    box = BoxPrompt(x=5, y=5, width=30, height=30)
    batches = [
        [engine.prepare(picture(10 * i + j, boxes=[box] * (i % 2)), OPTIONS) for j in range(1 + i % 3)]
        for i in range(count)
    ]
    alone = [engine.detect(batch, OPTIONS) for batch in batches]
    # when two threads have them, again and again: memory of one batch is taken by the next
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda batch: engine.detect(batch, OPTIONS), batches * rounds))
    # then each has its own answers, number by number
    for number, batch in enumerate(together):
        for one, other in zip(alone[number % len(batches)], batch, strict=True):
            assert isinstance(one, Detection)
            assert isinstance(other, Detection)
            assert other.category_ids.tolist() == one.category_ids.tolist()
            assert other.scores.tolist() == pytest.approx(one.scores.tolist(), abs=SAME)
            for mask, again in zip(one.masks, other.masks, strict=True):
                assert (mask.top, mask.left, mask.logits.shape) == (again.top, again.left, again.logits.shape)


def test_masks_come_to_their_place_in_the_picture(engine: Sam3) -> None:
    image = picture(3)
    [found] = engine.detect([engine.prepare(image, OPTIONS)], OPTIONS)
    assert isinstance(found, Detection)
    instances = engine.finish(found, image, OPTIONS)
    assert instances
    for one in instances:
        assert one.mask.any()
        assert one.y + one.mask.shape[0] <= image.height
        assert one.x + one.mask.shape[1] <= image.width


class Kept(FolderModels):
    """Keeps compiled code in memory, as a machine after the first would find it."""

    def __init__(self, data: dict[str, bytes] | None = None) -> None:
        super().__init__(ModelSource())
        self.data = data if data is not None else {}

    def kept(self, name: str) -> bytes | None:
        return self.data.get(name)

    def keep(self, name: str, data: bytes) -> None:
        self.data[name] = data


def test_the_encoder_compiles_and_the_next_machine_loads_it(cuda: str, weights: Path) -> None:
    network = Sam3Network(weights, device=cuda, dtype=torch.bfloat16)
    kept: dict[str, bytes] = {}
    try:
        for number in range(2):
            later = CompiledLater(
                network.encoder,
                lambda: network.noise(2),
                name="tiny",
                batch_size=2,
                seconds_each=10.0**6,
                models=Kept(kept),
            )
            later.expect(2)
            assert later.wait(COMPILE_S) == "compiled", number
            assert list(kept) == ["tiny"]
    finally:
        torch.compiler.set_stance("default")
