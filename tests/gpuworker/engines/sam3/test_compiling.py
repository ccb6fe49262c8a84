"""When the vision encoder is compiled, what is kept, and that wrong or missing compilers change nothing."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from gpuworker.contract import ModelSource
from gpuworker.engines.sam3.compiling import CompiledLater, Encoder, compiled_name, repays
from gpuworker.models import FolderModels
from gpuworker.models.kept import NAME

BATCH = 2


@pytest.fixture(autouse=True)
def default_stance() -> Iterator[None]:
    yield
    torch.compiler.set_stance("default")


@dataclass(frozen=True)
class Seen:
    fpn_hidden_states: tuple[torch.Tensor, ...]


def eager(pixels: torch.Tensor) -> Seen:
    return Seen((pixels * 2, pixels + 1))


class Kept(FolderModels):
    """Keeps in memory."""

    def __init__(self, data: bytes | None = None) -> None:
        super().__init__(ModelSource())
        self.data: dict[str, bytes] = {"encoder": data} if data else {}
        self.asked = 0

    def folder(self) -> Path:
        raise AssertionError("compiling asks for no weights")

    def kept(self, name: str) -> bytes | None:
        self.asked += 1
        return self.data.get(name)

    def keep(self, name: str, data: bytes) -> None:
        self.data[name] = data


@dataclass
class Compiler:
    """Stands for torch's; `factor` makes what it compiles wrong."""

    factor: float = 1.0
    error: Exception | None = None
    let_go: threading.Event = field(default_factory=threading.Event)
    batches: list[int] = field(default_factory=list)

    def __call__(self, encoder: Encoder) -> Callable[[torch.Tensor], Any]:
        assert self.let_go.wait(20)
        if self.error:
            raise self.error

        def compiled(pixels: torch.Tensor) -> Any:
            self.batches.append(len(pixels))
            return Seen(tuple(level * self.factor for level in encoder(pixels).fpn_hidden_states))

        return compiled


def later(compiler: Compiler, models: Kept | None = None) -> CompiledLater:
    return CompiledLater(
        eager,
        lambda: torch.ones(BATCH, 3, 4, 4),
        name="encoder",
        batch_size=BATCH,
        seconds_each=0.1,
        models=models or Kept(),
        compiler=compiler,
    )


def looked_at(encoder: CompiledLater) -> Any:
    with torch.inference_mode():
        return encoder(torch.ones(BATCH, 3, 4, 4))


MANY, SOME, FEW = 1_000_000, 5_000, 10


def test_full_batches_are_compiled_ones_once_the_compiler_is_done_and_nothing_waits_for_it() -> None:
    compiler = Compiler()
    encoder = later(compiler)
    encoder.expect(MANY)
    assert encoder.state == "compiling"
    assert torch.equal(encoder(torch.ones(BATCH, 1)).fpn_hidden_states[0], torch.full((BATCH, 1), 2.0))
    assert compiler.batches == []
    compiler.let_go.set()
    assert encoder.wait(20) == "compiled"
    compiler.batches.clear()
    encoder(torch.ones(BATCH, 1))
    encoder(torch.ones(1, 1))
    assert compiler.batches == [BATCH], "a batch that is not full has another shape"


def test_a_second_expectation_does_not_compile_again() -> None:
    compiler = Compiler()
    encoder = later(compiler)
    encoder.expect(MANY)
    compiler.let_go.set()
    encoder.wait(20)
    compiler.batches.clear()
    encoder.expect(MANY)
    encoder.wait(20)
    assert compiler.batches == []


def test_a_backlog_that_does_not_repay_it_is_done_eagerly() -> None:
    compiler, models = Compiler(), Kept()
    encoder = later(compiler, models)
    encoder.expect(FEW)
    assert (encoder.state, models.asked) == ("eager", 0)


def test_some_work_repays_reading_what_another_machine_compiled_but_not_compiling() -> None:
    models = Kept()
    encoder = later(Compiler(), models)
    encoder.expect(SOME)
    assert (encoder.wait(20), models.asked) == ("eager", 1)
    encoder.expect(SOME)
    encoder.wait(20)
    assert models.asked == 2, "another machine may have kept it meanwhile"
    compiler = Compiler()
    compiler.let_go.set()
    # what is damaged is compiled again
    encoder = later(compiler, Kept(b"damaged"))
    encoder.expect(SOME)
    assert encoder.wait(20) == "compiled"


@pytest.mark.exhaustive
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs one of C++ on a processor")
def test_torchs_own_compiler_serves_every_thread_and_what_it_made_serves_the_next_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given a machine that compiles, in this process alone, and one that comes after it
    monkeypatch.setattr("torch._inductor.config.compile_threads", 1)
    models = Kept()
    for machine in ("first", "next"):
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / machine))
        torch.compiler.reset()
        kept = models.data.get("encoder")
        encoder = CompiledLater(
            eager,
            lambda: torch.ones(BATCH, 3, 4, 4),
            name="encoder",
            batch_size=BATCH,
            seconds_each=1.0,
            models=models,
        )
        encoder.expect(MANY)
        assert encoder.wait(240) == "compiled"
        # then another thread finds the code made and need not compile
        torch.compiler.set_stance("fail_on_recompile")
        with ThreadPoolExecutor(1) as threads:
            seen = threads.submit(looked_at, encoder).result(60)
        assert torch.equal(seen.fpn_hidden_states[0], torch.full((BATCH, 3, 4, 4), 2.0))
        torch.compiler.set_stance("default")
        # and what the first has kept is all that the next needs
        assert models.data["encoder"]
        assert kept is None or models.data["encoder"] is kept


@pytest.mark.parametrize("factor", [1.2, float("nan")])
def test_compiled_code_that_answers_otherwise_is_not_used(factor: float) -> None:
    compiler = Compiler(factor=factor)
    compiler.let_go.set()
    encoder = later(compiler)
    encoder.expect(MANY)
    assert "differ" in encoder.wait(20)
    compiler.batches.clear()
    encoder(torch.ones(BATCH, 1))
    assert compiler.batches == []


def test_a_compiler_that_fails_costs_nothing_but_the_gain() -> None:
    compiler = Compiler(error=RuntimeError("no C compiler"))
    compiler.let_go.set()
    encoder = later(compiler)
    encoder.expect(MANY)
    assert encoder.wait(20) == "stays eager: RuntimeError: no C compiler"
    assert len(encoder(torch.ones(BATCH, 1)).fpn_hidden_states) == 2


def test_what_is_saved_has_to_be_more_than_what_compiling_costs() -> None:
    assert repays(20_000, seconds_each=0.12, is_kept=False)
    assert not repays(1_000, seconds_each=0.12, is_kept=False)
    assert repays(20_000, seconds_each=0.015, is_kept=True) is False
    assert repays(50_000, seconds_each=0.015, is_kept=True)
    assert not repays(10**9, seconds_each=0.0, is_kept=True)


def test_the_name_tells_all_that_compiled_code_depends_on_and_can_be_kept() -> None:
    name = compiled_name("cpu", torch.bfloat16, 8, shape="0123456789ab")
    assert NAME.fullmatch(name)
    others = [
        compiled_name("cpu", torch.float16, 8, shape="0123456789ab"),
        compiled_name("cpu", torch.bfloat16, 4, shape="0123456789ab"),
        compiled_name("cpu", torch.bfloat16, 8, shape="ba9876543210"),
    ]
    assert len({name, *others}) == 4
    assert torch.__version__.split("+")[0] in name
