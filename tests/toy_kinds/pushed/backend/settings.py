"""What the functions of a `pushed` pipeline are told."""

from __future__ import annotations

from dataclasses import dataclass

from gpupipe.functions.settings import FunctionSettings


@dataclass(frozen=True, kw_only=True)
class PushedSettings(FunctionSettings):
    """With the function that is called for each shard."""

    work_function: str
    work_timeout_s: float
    wait_max_s: float
    """So long Lambda keeps a call that it cannot begin."""
    at_once: int
