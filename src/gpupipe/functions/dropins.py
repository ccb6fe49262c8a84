"""Objects dropped into `incoming/<project>/` become shards of the project's open drop-in job.

A job's options are those that the settings have for its project when it opens; they stand in its job.json, and all of
its shards have them, whatever the settings say by then.

The order of writes, and why nothing is lost or taken twice, is told in `gpuworker.ledger.dropins`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gpupipe.functions import log
from gpupipe.functions.arrivals import ObjectArrived
from gpupipe.functions.context import AnyContext
from gpupipe.functions.sending import send_shards
from gpuworker.contract import (
    NO_OBJECT,
    OVERTAKEN,
    Item,
    JobSpec,
    Shard,
    error_code,
    job_key,
    make_job_id,
    output_candidates,
    read_spec,
    shard_key,
)
from gpuworker.ledger import KeyRecord, ShardRecord, job_of
from gpuworker.ledger.table import chunks

ROUNDS = 8
"""How often keys are looked at again because somebody else was faster."""

Known = Mapping[str, KeyRecord]
Rows = Mapping[tuple[str, int], ShardRecord]


class ContendedError(Exception):
    """Others changed the same keys again and again; the message is left to be redelivered."""


@dataclass(frozen=True, kw_only=True)
class Taking:
    """A key that this invocation takes, and what was known of it when it decided so."""

    arrival: ObjectArrived
    known: KeyRecord | None


def take_dropins(ctx: AnyContext, project: str, arrivals: Iterable[ObjectArrived]) -> int:
    """Make shards of those that are new; how many were taken. Raises ContendedError, SendError, ClientError."""
    waiting = newest(arrivals)
    taken = 0
    for _ in range(ROUNDS):
        if not waiting:
            return taken
        known = ctx.ledger.keys(ctx.settings.pipeline, project, waiting)
        rows = ctx.ledger.some_shards({(record.job, record.shard) for record in known.values()})
        _send_unsent(ctx, rows.values())
        wanted = list(_wanted(ctx, waiting.values(), known, rows))
        again: list[ObjectArrived] = []
        for chunk in chunks(wanted, ctx.settings.items_of_dropins(project)):
            missed = _take_chunk(ctx, project, chunk)
            taken += len(chunk) - len(missed)
            again += missed
        waiting = newest(again)
    raise ContendedError(f"{len(waiting)} keys of project {project} changed hands {ROUNDS} times")


def newest(arrivals: Iterable[ObjectArrived]) -> dict[str, ObjectArrived]:
    """The newest version of each key; in the order of their first mention."""
    by_key: dict[str, ObjectArrived] = {}
    for arrival in arrivals:
        rival = by_key.get(arrival.key)
        if rival is None or arrival.sequencer >= rival.sequencer:
            by_key[arrival.key] = arrival
    return by_key


# --- which keys are new ---


def _wanted(ctx: AnyContext, arrivals: Iterable[ObjectArrived], known: Known, rows: Rows) -> Iterable[Taking]:
    for arrival in arrivals:
        record = known.get(arrival.key)
        if record is None:
            yield Taking(arrival=arrival, known=None)
        elif is_same(arrival, record):
            row = rows.get((record.job, record.shard))
            # The invocation that noted the key died before its shard was registered, or is slow: void_shard decides.
            if (row is None or row.items == 0) and ctx.ledger.void_shard(record.job, record.shard):
                yield Taking(arrival=arrival, known=record)
        elif is_newer(arrival, record) or _is_current(ctx, arrival, record):
            yield Taking(arrival=arrival, known=record)


def is_same(arrival: ObjectArrived, record: KeyRecord) -> bool:
    """Is this the version that is on record? Listings know no sequencer."""
    if arrival.sequencer and record.sequencer:
        return arrival.sequencer == record.sequencer
    if arrival.version_id and record.version_id:
        return arrival.version_id == record.version_id
    return arrival.etag == record.etag


def is_newer(arrival: ObjectArrived, record: KeyRecord) -> bool:
    """Is this surely newer than what is on record?"""
    return bool(arrival.sequencer and record.sequencer) and arrival.sequencer > record.sequencer


def _is_current(ctx: AnyContext, arrival: ObjectArrived, record: KeyRecord) -> bool:
    """Where event and listing cannot be compared, the object itself decides: is it still what arrived?"""
    from botocore.exceptions import ClientError

    if arrival.sequencer and record.sequencer:
        return False
    try:
        head = ctx.s3.head_object(**ctx.in_bucket, Key=arrival.key)
    except ClientError as error:
        if error_code(error) not in NO_OBJECT:
            raise
        return False
    return bool(head["ETag"].strip('"') == arrival.etag)


# --- a shard of new keys ---


def _take_chunk(ctx: AnyContext, project: str, chunk: Sequence[Taking]) -> list[ObjectArrived]:
    """Make one shard of `chunk`; those whose keys somebody else took meanwhile are to be looked at again."""
    ledger, settings = ctx.ledger, ctx.settings
    job, number = _allocate(ctx, project, len(chunk))
    outputs = _outputs(ctx, job, [taking.arrival for taking in chunk])
    records = [(_record(taking.arrival, job, number), taking.known) for taking in chunk]
    lost = ledger.record_keys(settings.pipeline, project, records)
    won = [taking.arrival for taking in chunk if taking.arrival.key not in lost]
    again = [taking.arrival for taking in chunk if taking.arrival.key in lost]
    if not won:
        ledger.void_shard(job, number)
        return again
    _write_shard(ctx, _spec(ctx, job), number, won, outputs)
    row = ShardRecord(job=job, number=number, items=len(won), created_at=ctx.clock())
    if not ledger.put_shards([row]):
        return [*again, *won]
    _send_unsent(ctx, [row])
    log.info("dropins_taken", job=job, shard=number, project=project, items=len(won))
    return again


def _allocate(ctx: AnyContext, project: str, items: int) -> tuple[str, int]:
    """A shard number in the project's open job, opened if need be."""
    for _ in range(ROUNDS):
        job = ctx.ledger.dropin_job(ctx.settings.pipeline, project) or _open_job(ctx, project)
        while (number := ctx.ledger.allocate_shard(job, items)) is not None:
            if not _is_written(ctx, shard_key(job, number)):
                return job, number
            # The ledger has lost its newest rows (the local emulator was killed) and gives numbers out again.
            log.warning("shard_number_skipped", job=job, shard=number)
    raise ContendedError(f"the drop-in job of project {project} was closed {ROUNDS} times in a row")


def _is_written(ctx: AnyContext, key: str) -> bool:
    from botocore.exceptions import ClientError

    try:
        ctx.s3.head_object(**ctx.in_bucket, Key=key)
    except ClientError as error:
        if error_code(error) not in NO_OBJECT:
            raise
        return False
    return True


def _open_job(ctx: AnyContext, project: str) -> str:
    """Open the project's drop-in job; the id of the one that is open now, a rival's perhaps."""
    spec = _write_spec(ctx, project)
    opened = ctx.ledger.open_dropin_job(job_of(spec))
    if opened != spec.job:
        ctx.s3.delete_object(**ctx.in_bucket, Key=job_key(spec.job))
    else:
        log.info("dropin_job_opened", job=opened, project=project)
    return opened


def _write_spec(ctx: AnyContext, project: str) -> JobSpec:
    """A new job's job.json, under an id that nobody else has."""
    from botocore.exceptions import ClientError

    settings, now = ctx.settings, ctx.clock()
    for _ in range(ROUNDS):
        spec = JobSpec(
            job=make_job_id(project, now),
            pipeline=settings.pipeline,
            project=project,
            task=settings.task,
            options=settings.options_of_dropins(project),
            kind="drop-in",
            created_at=now,
            submitter="drop-in",
        )
        place = {**ctx.in_bucket, "Key": job_key(spec.job), "ContentType": "application/json"}
        try:
            ctx.s3.put_object(**place, Body=spec.to_json().encode(), IfNoneMatch="*")
        except ClientError as error:
            if error_code(error) not in OVERTAKEN:
                raise
        else:
            return spec
    raise ContendedError(f"no id for a job of project {project} was free")


def _spec(ctx: AnyContext, job: str) -> JobSpec:
    settings = ctx.settings
    text = _spec_text(ctx.s3, settings.bucket, settings.account, job)
    return read_spec(text, job=job, pipeline=settings.pipeline)


@lru_cache(maxsize=64)
def _spec_text(s3: Any, bucket: str, account: str, job: str) -> bytes:
    # Kept between invocations: job.json never changes once written.
    body: bytes = s3.get_object(Bucket=bucket, ExpectedBucketOwner=account, Key=job_key(job))["Body"].read()
    return body


def _record(arrival: ObjectArrived, job: str, number: int) -> KeyRecord:
    return KeyRecord(
        key=arrival.key,
        etag=arrival.etag,
        sequencer=arrival.sequencer,
        version_id=arrival.version_id,
        job=job,
        shard=number,
    )


def _outputs(ctx: AnyContext, job: str, arrivals: Sequence[ObjectArrived]) -> dict[str, str]:
    """Output name by key: the first free of a path's candidates, so the later of `a.jpg`, `a.png` is called whole."""
    chosen: dict[str, str] = {}
    for choice in range(3):
        claims: dict[str, str] = {}
        for arrival in arrivals:
            if arrival.key not in chosen:
                claims.setdefault(output_candidates(arrival.path)[choice], arrival.key)
        refused = ctx.ledger.claim_outputs(job, claims)
        chosen |= {key: output for output, key in claims.items() if output not in refused}
    return chosen


def _write_shard(
    ctx: AnyContext, spec: JobSpec, number: int, arrivals: Sequence[ObjectArrived], outputs: Mapping[str, str]
) -> None:
    items = [
        Item(key=one.key, etag=one.etag, size=one.size, output=outputs[one.key], version_id=one.version_id)
        for one in arrivals
    ]
    shard = Shard(
        job=spec.job,
        pipeline=spec.pipeline,
        project=spec.project,
        number=number,
        task=spec.task,
        options=spec.options,
        items=items,
    )
    key = shard_key(spec.job, number)
    ctx.s3.put_object(**ctx.in_bucket, Key=key, Body=shard.to_json().encode(), ContentType="application/json")


def _send_unsent(ctx: AnyContext, rows: Iterable[ShardRecord]) -> None:
    """Send the messages of shards that were registered by an invocation which then died, or just now."""
    send_shards(ctx, [row for row in rows if row.is_unsent])
