"""How an execution goes from one stage to the next: what each is called with, and what it leaves in the bucket."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpupipe.functions.context import Context
from gpuworker.contract import JOBS, ContractError, Document, Message, Place
from tests.toy_kinds.staged.backend.settings import StagedSettings

Ctx = Context[StagedSettings]


@dataclass(frozen=True, kw_only=True)
class Step(Document):
    """A shard on its way through the stages: what a stage is called with, and what the topic is told."""

    job: str
    number: int
    generation: int
    execution: str
    """Holds the shard's row, as a machine does."""
    problem: str = ""
    """Why the execution failed; "" where it did not."""

    @property
    def place(self) -> Place:
        return self.job, self.number, self.generation

    @classmethod
    def first(cls, message: Message, execution: str) -> Step:
        """Of an execution that begins."""
        return cls(job=message.job, number=message.number, generation=message.generation, execution=execution)


@dataclass(frozen=True, kw_only=True)
class StageState(Document):
    """What a stage leaves for the next, and for the guard to tell of."""

    execution: str
    next_stage: str
    tries: int
    """Which execution of the shard's generation it is, counted from 1."""
    sizes: Mapping[str, int]
    """Bytes by output, as `prepare` found them."""


def state_key(place: Place) -> str:
    """Where an execution's state lies."""
    job, number, generation = place
    return f"{JOBS}{job}/stages/{number:05d}.{generation}.json"


def draft_key(place: Place) -> str:
    """Where its results lie until callback commits them."""
    return f"{state_key(place)}.gz"


def leave(ctx: Ctx, place: Place, state: StageState) -> None:
    """Write down how far it is."""
    ctx.s3.put_object(**ctx.in_bucket, Key=state_key(place), Body=state.to_json().encode())


def state_of(ctx: Ctx, place: Place) -> StageState | None:
    """How far it is; None where nothing says so yet."""
    try:
        return StageState.from_json(ctx.s3.get_object(**ctx.in_bucket, Key=state_key(place))["Body"].read())
    except (ctx.s3.exceptions.NoSuchKey, ContractError):
        return None
