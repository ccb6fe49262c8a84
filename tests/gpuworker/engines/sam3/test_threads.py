"""Two of the model's threads at once, as on CUDA, where one launches while the other waits for its answers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from gpuworker.engines.options import Options
from gpuworker.engines.sam3.detection import Detection
from gpuworker.engines.sam3.engine import Sam3
from gpuworker.images.decoding import Image

OPTIONS = Options(prompts=("tree", "car", "person"), score_threshold=0.3)


def picture(seed: int) -> Image:
    rgb = np.random.default_rng(seed).integers(0, 256, (60, 80, 3), np.uint8)
    return Image(rgb=rgb, height=60, width=80, bands=3, dtype="uint8")


@pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.exhaustive)])
def test_batches_of_two_threads_do_not_mix(engine: Sam3, count: int) -> None:
    # given some batches, and what each finds by itself
    options = replace(OPTIONS, prompts=OPTIONS.prompts[: count - 1])
    batches = [[engine.prepare(picture(seed), options)] for seed in range(count)]
    alone = [engine.detect(batch, options)[0] for batch in batches]
    # when two threads have them
    with ThreadPoolExecutor(2) as threads:
        together = list(threads.map(lambda batch: engine.detect(batch, options)[0], batches))
    # then each has its own answers
    for one, other in zip(alone, together, strict=True):
        assert isinstance(one, Detection)
        assert isinstance(other, Detection)
        assert other.category_ids.tolist() == one.category_ids.tolist()
        assert other.scores.tolist() == pytest.approx(one.scores.tolist(), abs=1e-5)
    assert len({tuple(one.scores.tolist()) for one in alone if isinstance(one, Detection)}) == count


def test_one_prompt_at_a_time_finds_the_same(engine: Sam3) -> None:
    options = replace(OPTIONS, prompts=OPTIONS.prompts[:2])
    prepared = engine.prepare(picture(9), options)
    [usual] = engine.detect([prepared], options)
    frugal = engine.detect_frugally(prepared, options)
    assert isinstance(usual, Detection)
    assert isinstance(frugal, Detection)
    assert len(usual.scores) > 0
    assert frugal.category_ids.tolist() == usual.category_ids.tolist()
    assert frugal.scores.tolist() == pytest.approx(usual.scores.tolist(), abs=1e-5)
