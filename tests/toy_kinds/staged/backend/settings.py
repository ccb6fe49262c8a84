"""What the functions of a `staged` pipeline are told."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.functions.settings import FunctionSettings


@dataclass(frozen=True, kw_only=True)
class StagedSettings(FunctionSettings):
    """With the stages, and the topic that is told how an execution ended."""

    prepare_function: str
    finish_function: str
    topic_arn: str
    stage_timeout_s: float
    wait_max_s: float
    """So long Lambda keeps a call that it cannot begin."""
    at_once: int
