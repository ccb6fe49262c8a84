"""Commits as tests need them: so many items of a shard done, so many failed."""

from __future__ import annotations

from collections.abc import Mapping

from gpuworker.contract import Failure, ItemResult, ShardResult


def a_result(
    job: str,
    number: int = 0,
    generation: int = 0,
    *,
    done: int,
    failed: int = 0,
    counts: Mapping[str, int] | None = None,
    seconds: Mapping[str, float] | None = None,
    machine: str = "i-1",
    engine: str = "testing",
) -> ShardResult:
    """The commit of a shard of `done` + `failed` items; `counts` are those of the first item that is done."""
    return ShardResult(
        job=job,
        number=number,
        generation=generation,
        machine=machine,
        engine={"name": engine},
        header={},
        started_at=0.0,
        finished_at=1.0,
        items=[
            ItemResult(
                output=f"{item}",
                key=f"inputs/field7/{item}.jpg",
                etag="e",
                artifacts={},
                fragment={},
                counts=counts or {} if item == 0 else {},
            )
            for item in range(done)
        ],
        failures=[
            Failure(output=f"{item}", key=f"inputs/field7/{item}.jpg", etag="e", code="unreadable", message="it is")
            for item in range(done, done + failed)
        ],
        timings=seconds or {},
    )
