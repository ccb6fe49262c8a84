"""The engines of a process: loaded once, named by the job or chosen, and what is said when prompts do not suit."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

import pytest
from tests.colour_engine import Colour

from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.models import FolderModels, Models
from gpuworker.tasks.segment.engines import Engines


class Noted(Colour, own={"loads"}):
    """Notes how it was loaded."""

    loads: ClassVar[list[str]] = []

    def use_models(self, models: Models) -> None:
        self.loads.append(f"weights {models.source.weights}")

    def load(self, device: str) -> None:
        self.loads.append(f"on {device}")


class Slow(Colour, own={"begun", "let_go"}):
    """Is loaded when it is let go."""

    begun: ClassVar[threading.Event] = threading.Event()
    let_go: ClassVar[threading.Event] = threading.Event()

    def load(self, device: str) -> None:
        self.begun.set()
        assert self.let_go.wait(20)


TABLE: Mapping[str, str] = {
    "slow": "tests.gpuworker.tasks.segment.test_engines:Slow",
    "noted": "tests.gpuworker.tasks.segment.test_engines:Noted",
    "nanodet": "tests.colour_engine:Colour",
}


def test_an_engine_is_loaded_once_though_many_ask_at_once() -> None:
    Noted.loads.clear()
    engines = Engines(TABLE)
    engines.device, engines.models = "cuda", FolderModels(ModelSource(weights="/weights"))
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda _: engines.of(Options(engine="noted")), range(16)))
    assert len(set(map(id, loaded))) == 1
    assert Noted.loads == ["weights /weights", "on cuda"]


def test_an_engine_that_is_there_waits_for_no_other_that_is_being_loaded() -> None:
    engines = Engines(TABLE)
    there = engines.of(Options(engine="noted"))
    with ThreadPoolExecutor(2) as pool:
        try:
            loading = pool.submit(engines.of, Options(engine="slow"))
            assert Slow.begun.wait(20)
            assert pool.submit(engines.of, Options(engine="noted")).result(20) is there
            assert not loading.done()
        finally:
            Slow.let_go.set()
        assert loading.result(20) is engines.of(Options(engine="slow"))


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="there is no engine 'sam9'; there is nanodet, noted, slow"):
        Engines(TABLE).of(Options(engine="sam9"))


def test_what_was_chosen_is_told_and_why() -> None:
    info = Engines(TABLE).info(Options(engine="auto", prompts=("red",)))
    assert info["name"] == "colour"
    assert "no weights" in info["chosen"]
    assert "chosen" not in Engines(TABLE).info(Options(engine="nanodet"))


def test_prompts_that_do_not_suit_name_the_engine_that_was_chosen() -> None:
    options = Options(engine="auto", prompts=("violet",))
    with pytest.raises(ItemError, match=r"not violet.*auto.*chose nanodet") as caught:
        Engines(TABLE).names(options)
    assert caught.value.code == "unsuitable"
    assert Engines(TABLE).wanted_names(options) == ("violet",)


def test_negative_prompts_are_looked_for_and_are_no_category() -> None:
    options = Options(engine="nanodet", prompts=("red",), negative_prompts=("blue",))
    assert Engines(TABLE).names(options) == ["red", "blue"]
    assert list(Engines(TABLE).wanted_names(options)) == ["red"]
    assert list(Engines(TABLE).wanted_names(Options())) == ["red", "green", "blue"]
