"""Which engine a worker loads ahead of time, which it uses for a job, and what it says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from gpuworker.contract import ModelSource
from gpuworker.engines import Engine
from gpuworker.models import FolderModels
from gpuworker.segment_engines import Engines
from gpuworker.segment_options import Options
from gpuworker.tasks import ItemError

WEIGHTS = ModelSource(weights="/weights/sam3")
AUTO = Options(engine="auto")
TREES = Options(engine="auto", prompts=("tree",))


class Known(Engine):
    """Knows trees, and finds none."""

    name = "nanodet"

    def load(self, device: str) -> None:
        """Nothing is needed."""

    @property
    def info(self) -> Mapping[str, Any]:
        return {"name": self.name}

    def categories(self, options: Options) -> Sequence[str]:
        if set(options.prompts) - {"tree"}:
            raise ValueError("it knows trees only")
        return options.prompts or ("tree",)

    def detect(self, prepared: Sequence[Any], options: Options) -> Sequence[Any]:
        return [[] for _ in prepared]


class Told(Known):
    """Finds what it is told."""

    name = "sam3"

    def categories(self, options: Options) -> Sequence[str]:
        return options.prompts


def engines(*, device: str, source: ModelSource = WEIGHTS) -> Engines:
    made = Engines({"nanodet": f"{__name__}:Known", "sam3": f"{__name__}:Told"})
    made.device, made.models = device, FolderModels(source)
    return made


def test_jobs_bring_prompts_so_that_sam3_is_loaded_ahead_of_time_where_it_can_run() -> None:
    assert engines(device="cuda").foreseen(AUTO).engine.info["name"] == "sam3"
    assert engines(device="cpu").foreseen(AUTO).engine.info["name"] == "nanodet"
    assert engines(device="cuda", source=ModelSource()).foreseen(AUTO).engine.info["name"] == "nanodet"


def test_a_job_is_told_which_engine_it_got_and_why() -> None:
    on_gpu = engines(device="cuda")
    assert on_gpu.info(TREES) == {"name": "sam3", "chosen": "there is a GPU (cuda), and weights are named"}
    assert on_gpu.info(AUTO)["chosen"].startswith("sam3 looks for what a prompt names")
    assert "no GPU" in engines(device="cpu").info(TREES)["chosen"]
    assert on_gpu.info(Options(engine="nanodet")) == {"name": "nanodet"}


def test_the_same_engine_is_loaded_once() -> None:
    made = engines(device="cuda")
    assert made.foreseen(AUTO) is made.of(TREES) is made.of(Options(engine="sam3"))


def test_prompts_that_do_not_suit_the_chosen_engine_are_told_with_the_choice() -> None:
    with pytest.raises(
        ItemError, match=r"it knows trees only \(engine \"auto\" chose nanodet: there is no GPU"
    ) as caught:
        engines(device="cpu").names(Options(engine="auto", prompts=("car",)))
    assert caught.value.code == "unsuitable"
