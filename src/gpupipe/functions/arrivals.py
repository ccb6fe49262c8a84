"""What the event queue's messages say arrived: manifests, dropped-in objects, and what is neither; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus

from gpuworker.contract import (
    INCOMING,
    MESSAGE_BYTES,
    PLACE_MAX,
    ContractError,
    is_job_name,
    is_project_name,
    read_json,
)
from gpuworker.ledger.records import padded

_MANIFEST = re.compile(r"jobs/([^/]+)/(?:retries/([1-9]\d{0,8})/)?manifest\.json")


@dataclass(frozen=True, kw_only=True)
class ManifestArrived:
    """The start signal of a job's generation."""

    message: str
    job: str
    generation: int


@dataclass(frozen=True, kw_only=True)
class ObjectArrived:
    """A new version of an object under `incoming/<project>/`."""

    message: str
    """Id of the SQS message that told of it, to be redelivered where taking it fails."""
    project: str
    key: str
    etag: str
    size: int
    version_id: str = ""
    sequencer: str = ""
    """Padded; "" where it comes from a listing."""

    @property
    def path(self) -> str:
        """Below the project."""
        return self.key.split("/", 2)[2]


@dataclass(frozen=True, kw_only=True)
class NotTaken:
    """Something that is no input, and why."""

    message: str
    key: str
    reason: str
    project: str = ""
    is_noteworthy: bool = True
    """A person may wonder where it went."""


Arrival = ManifestArrived | ObjectArrived | NotTaken


def arrivals(records: Iterable[Mapping[str, Any]], *, bucket: str, suffixes: Sequence[str]) -> Iterator[Arrival]:
    """Everything that a batch of SQS records tells of.

    A body is an S3 notification (several records a message; keys URL-encoded with + for a space), S3's test event, or
    our CLI's `{"gpupipe": "rescan", "objects": […]}` and `{"gpupipe": "manifest", "job": …, "generation": …}`.
    """
    for record in records:
        message, body = record["messageId"], _parsed(record["body"])
        if body is None:
            yield NotTaken(message=message, key="", reason="not_json")
        elif "gpupipe" in body:
            yield from _from_cli(message, body, suffixes)
        elif body.get("Event") != "s3:TestEvent":
            for part in body.get("Records", ()):
                yield _from_s3(message, part, bucket, suffixes)


def _parsed(body: str) -> Mapping[str, Any] | None:
    try:
        document = read_json(body, limit_bytes=MESSAGE_BYTES)
    except ContractError:
        return None
    return document if isinstance(document, Mapping) else None


def _from_cli(message: str, body: Mapping[str, Any], suffixes: Sequence[str]) -> Iterator[Arrival]:
    if body["gpupipe"] == "rescan":
        for thing in body["objects"]:
            yield _object(message, thing, suffixes)
    elif body["gpupipe"] == "manifest":
        yield _manifest(message, body["job"], int(body.get("generation", 0)))
    else:
        yield NotTaken(message=message, key="", reason="unknown_request")


def _from_s3(message: str, record: Mapping[str, Any], bucket: str, suffixes: Sequence[str]) -> Arrival:
    thing = record["s3"]["object"]
    key = unquote_plus(thing["key"])
    if record["s3"]["bucket"]["name"] != bucket:
        return NotTaken(message=message, key=key, reason="other_bucket")
    if not record["eventName"].startswith("ObjectCreated:"):
        return NotTaken(message=message, key=key, reason="not_created", is_noteworthy=False)
    manifest = _MANIFEST.fullmatch(key)
    if manifest:
        return _manifest(message, manifest[1], int(manifest[2] or 0))
    fields = {"key": key, "etag": thing.get("eTag", ""), "size": thing.get("size", 0)}
    version = {"version_id": thing.get("versionId", ""), "sequencer": thing.get("sequencer", "")}
    return _object(message, {**fields, **version}, suffixes)


def _manifest(message: str, job: Any, generation: int) -> ManifestArrived:
    """Raises ContractError for what can be no job's: its name becomes part of keys, and of folders of a person's."""
    if not is_job_name(job) or not 0 <= generation <= PLACE_MAX:
        raise ContractError(f"there can be no job {job!r} of generation {generation}")
    return ManifestArrived(message=message, job=job, generation=generation)


def _object(message: str, thing: Mapping[str, Any], suffixes: Sequence[str]) -> ObjectArrived | NotTaken:
    key = thing["key"]
    project, slash, path = key.removeprefix(INCOMING).partition("/")
    if not key.startswith(INCOMING):
        return NotTaken(message=message, key=key, reason="elsewhere", is_noteworthy=False)
    if key.endswith("/"):
        return NotTaken(message=message, key=key, reason="folder", is_noteworthy=False)
    if not slash:
        return NotTaken(message=message, key=key, reason="no_project")
    if not is_project_name(project):
        return NotTaken(message=message, key=key, reason="bad_project_name")
    name = path.rpartition("/")[2]
    if name.startswith(".") or not name.lower().endswith(tuple(suffixes)):
        return NotTaken(message=message, key=key, reason="not_an_input", project=project)
    return ObjectArrived(
        message=message,
        project=project,
        key=key,
        etag=str(thing["etag"]).strip('"'),
        size=int(thing["size"]),
        version_id=thing.get("version_id") or "",
        sequencer=padded(thing.get("sequencer") or ""),
    )
