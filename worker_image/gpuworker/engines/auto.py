"""`engine = "auto"`: the best engine that can run here, and why it was that one."""

from __future__ import annotations

from dataclasses import dataclass

from gpuworker.contract import ModelSource
from gpuworker.engines.options import Options

AUTO = "auto"


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which engine, and the reason in words for people."""

    engine: str
    reason: str


def choose(options: Options, *, device: str, model: ModelSource) -> Choice:
    """sam3 on a GPU, sam3 on the CPU where that was asked for, nanodet otherwise."""
    if not model.weights:
        return Choice(engine="nanodet", reason="no weights of sam3 are named ([pipelines.<name>.model] weights)")
    if not options.prompts:
        return Choice(engine="nanodet", reason="sam3 looks for what a prompt names, and there is none")
    if device != "cpu":
        return Choice(engine="sam3", reason=f"there is a GPU ({device}), and weights are named")
    if model.on_cpu:
        return Choice(engine="sam3", reason="there is no GPU, and model.on_cpu asks for sam3 on the CPU")
    return Choice(engine="nanodet", reason="there is no GPU, and sam3 on the CPU (model.on_cpu) was not asked for")
