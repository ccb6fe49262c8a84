"""What the ledger should know of dropped-in objects: who took each, and that none was missed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpupipe.functions.arrivals import ObjectArrived, arrivals
from gpupipe.functions.dropins import is_same
from gpupipe.jobs import JobsContext
from gpupipe.jobs.events import announce_objects
from gpupipe.jobs.rescan import newest_objects
from gpuworker.contract import INCOMING, Item, Shard, incoming_prefix, is_project_name
from gpuworker.ledger import KeyRecord
from gpuworker.ledger.table import chunks

LOOKED_UP_AT_ONCE = 1_000


def claim_keys(ctx: JobsContext, shard: Shard) -> int:
    """Note that `shard` took its items, unless another took the same version, or a newer one; how many are its own."""
    known = ctx.ledger.keys(shard.pipeline, shard.project, [item.key for item in shard.items])
    claims: list[tuple[KeyRecord, KeyRecord | None]] = []
    own = 0
    for item in shard.items:
        before, record = known.get(item.key), _record(shard, item)
        if before is not None and _place(before) == _place(record):
            own += 1
        elif before is None or (not _is_same_version(before, item) and _place(before) < _place(record)):
            claims.append((record, before))
    return own + len(claims) - len(ctx.ledger.record_keys(shard.pipeline, shard.project, claims))


def _record(shard: Shard, item: Item) -> KeyRecord:
    return KeyRecord(key=item.key, etag=item.etag, version_id=item.version_id, job=shard.job, shard=shard.number)


def _place(record: KeyRecord) -> tuple[str, int]:
    """Rises with time: job ids begin with theirs."""
    return record.job, record.shard


def _is_same_version(record: KeyRecord, item: Item) -> bool:
    if record.version_id and item.version_id:
        return record.version_id == item.version_id
    return record.etag == item.etag


def announce_unknown(ctx: JobsContext) -> int:
    """Tell dispatch of every object under incoming/ that no shard took; how many those are."""
    projects = [name for name in ctx.folders(INCOMING) if is_project_name(name)]
    return sum(announce_objects(ctx, unknown_objects(ctx, project)) for project in projects)


def unknown_objects(ctx: JobsContext, project: str, *, since: float = 0.0) -> Iterator[Mapping[str, Any]]:
    """Those in the project's incoming/ that dispatch would take and has not, of what was written since (Unix time)."""
    for objects in chunks(newest_objects(ctx, incoming_prefix(project), since=since), LOOKED_UP_AT_ONCE):
        inputs = {one.key: one for one in _inputs(ctx, objects)}
        with ctx.at_ledger():
            known = ctx.ledger.keys(ctx.pipeline, project, inputs)
            rows = ctx.ledger.some_shards({(record.job, record.shard) for record in known.values()})
        for one in objects:
            arrival, record = inputs.get(one["key"]), known.get(one["key"])
            row = rows.get((record.job, record.shard)) if record else None
            is_taken = arrival and record and is_same(arrival, record) and row and row.items
            if arrival and not is_taken:
                yield one


def _inputs(ctx: JobsContext, objects: Sequence[Mapping[str, Any]]) -> Iterator[ObjectArrived]:
    """Those that dispatch would take."""
    request = {"messageId": "", "body": json.dumps({"gpupipe": "rescan", "objects": objects})}
    suffixes = sorted(ctx.settings.task_options.input_suffixes)
    for arrival in arrivals([request], bucket=ctx.bucket, suffixes=suffixes):
        if isinstance(arrival, ObjectArrived):
            yield arrival
