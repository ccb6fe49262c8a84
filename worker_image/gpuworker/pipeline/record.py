"""An item's artefacts and its record: written when it is finished, read when its shard comes a second time.

The record (for images a COCO file) is written last: where it is, the item is finished. Under `info.gpupipe` it carries
all that a commit says of the item, so that a redelivered shard goes on where the killed worker stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gpuworker.contract import Artifact, ContractError, Item, ItemResult, Shard, output_prefix, require_own_artifacts
from gpuworker.storage.objects import Object, Storage
from gpuworker.tasks.base import Encoded

SECTION = "gpupipe"


def publish(
    storage: Storage, shard: Shard, item: Item, encoded: Encoded, *, record_name: str, seconds: Mapping[str, float]
) -> ItemResult:
    """Upload an item's files and then its record; what the commit will say of it. Raises StorageError."""
    prefix = output_prefix(shard.project, shard.job, item.output)
    artifacts = {
        name: storage.put(prefix + name, file.data, file.content_type) for name, file in sorted(encoded.files.items())
    }
    record = document_of(encoded, shard, item, artifacts, seconds)
    data = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
    artifacts[record_name] = storage.put(prefix + record_name, data)
    return ItemResult(
        output=item.output,
        key=item.key,
        etag=item.etag,
        artifacts=artifacts,
        fragment=encoded.fragment,
        counts=encoded.counts,
        seconds=seconds,
        value=item.value,
    )


def document_of(
    encoded: Encoded, shard: Shard, item: Item, artifacts: Mapping[str, Artifact], seconds: Mapping[str, float]
) -> dict[str, Any]:
    """The task's record with our section in it; parts of the fragment that the record holds anyway are named only."""
    shared = [
        name for name, part in encoded.fragment.items() if name in encoded.record and part == encoded.record[name]
    ]
    section = {
        "job": shard.job,
        "generation": shard.generation,
        "etag": item.etag,
        "artifacts": {name: vars(artifact) for name, artifact in artifacts.items()},
        "fragment": {name: part for name, part in encoded.fragment.items() if name not in shared},
        "fragment_from_record": shared,
        "counts": encoded.counts,
        "seconds": seconds,
        **({} if item.value is None else {"value": item.value}),
    }
    record = dict(encoded.record)
    info = record.get("info")
    if isinstance(info, Mapping):
        record["info"] = {**info, SECTION: section}
    else:
        record[SECTION] = section
    return record


def find_finished(storage: Storage, shard: Shard, item: Item, *, record_name: str) -> ItemResult | None:
    """What this job and generation already made of this item in this version; None where it has to be done.

    Raises StorageError.
    """
    found = storage.read(output_prefix(shard.project, shard.job, item.output) + record_name)
    return None if found is None else read_record(found, shard, item, record_name=record_name)


def read_record(found: Object, shard: Shard, item: Item, *, record_name: str) -> ItemResult | None:
    """The result a record tells of; None where it is of another generation or input, or no record of ours: one of ours
    names files of its own folder only."""
    try:
        record = json.loads(found.data)
        section = record.get("info", record)[SECTION]
        if (section["job"], section["generation"], section["etag"]) != (shard.job, shard.generation, item.etag):
            return None
        artifacts = {name: Artifact.from_dict(artifact) for name, artifact in section["artifacts"].items()}
        fragment = {**section["fragment"], **{name: record[name] for name in section["fragment_from_record"]}}
        counts, seconds = section["counts"], section["seconds"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    artifacts[record_name] = Artifact(
        key=output_prefix(shard.project, shard.job, item.output) + record_name,
        size=len(found.data),
        sha256=hashlib.sha256(found.data).hexdigest(),
        version_id=found.version_id,
    )
    result = ItemResult(
        output=item.output,
        key=item.key,
        etag=item.etag,
        artifacts=artifacts,
        fragment=fragment,
        counts=counts,
        seconds=seconds,
        value=item.value,
    )
    return result if _is_ours(result, shard) else None


def _is_ours(result: ItemResult, shard: Shard) -> bool:
    try:
        require_own_artifacts(result, job=shard.job)
    except ContractError:
        return False
    return True
