"""`[pipelines.<name>]` with kind = "pushed"."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gpupipe.settings import PipelineSettings


class PushedPipeline(PipelineSettings):
    """`[pipelines.<name>]` with kind = "pushed"."""

    kind: Literal["pushed"] = Field(description="Shape: S3 -> a call of a function for each shard -> S3.")
    at_once: int = Field(10, ge=1, le=1000, description="The most calls at once.")
    max_tries: int = Field(3, ge=1, le=10, description="Tries of a shard before it is dead.")
