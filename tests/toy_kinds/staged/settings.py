"""`[pipelines.<name>]` with kind = "staged"."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gpupipe.settings import PipelineSettings


class StagedPipeline(PipelineSettings):
    """`[pipelines.<name>]` with kind = "staged"."""

    kind: Literal["staged"] = Field(description="Shape: S3 -> an execution of two stages for each shard -> S3.")
    at_once: int = Field(10, ge=1, le=1000, description="The most executions at once.")
    max_tries: int = Field(3, ge=1, le=10, description="Tries of a shard before it is dead.")
