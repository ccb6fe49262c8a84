"""What a stack remembers in its state bucket: what it may consist of (the inventory), written conditionally.

`IfNoneMatch` and `IfMatch` let exactly one of two writers win; the lock (`gpupipe.lock`) is written the same way.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gpupipe import __version__
from gpupipe.aws import Aws, absent_ok, error_code, explained
from gpupipe.errors import GpupipeError, IntegrityError, StalePlanError
from gpupipe.resources import Resource, identity
from gpuworker.contract import DISTRIBUTION, OVERTAKEN_OR_GONE

INVENTORY_KEY = "inventory.json"
INVENTORY_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that the stack has or was about to get."""

    kind: str
    key: str
    name: str
    """Its AWS name."""
    pipeline: str = ""

    @property
    def id(self) -> str:
        """As `Resource.id`."""
        return identity(self.kind, self.name)

    @classmethod
    def of(cls, resource: Resource) -> Entry:
        return cls(kind=resource.kind, key=resource.key, name=resource.aws_name, pipeline=resource.pipeline)


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """Everything that the stack may consist of; `etag` is "" where there is none yet."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    """By `id`."""
    serial: int = 0
    etag: str = ""

    @classmethod
    def read(cls, aws: Aws) -> Inventory:
        """As it is in the state bucket; empty where there is no bucket or no inventory in it."""
        with explained("read the stack's inventory"):
            answer = absent_ok(aws.client("s3").get_object, **object_of(aws, INVENTORY_KEY))
            if answer is None:
                return cls()
            document = _read(answer["Body"].read(), f"{INVENTORY_KEY} of stack {aws.stack.id}")
        if document["version"] > INVENTORY_VERSION:
            raise GpupipeError(
                f"stack {aws.stack.id} was last changed by gpupipe {document['gpupipe']}, newer than this one.",
                hint=f"Update gpupipe (`pip install -U {DISTRIBUTION}`) and run the command again.",
            )
        entries = [Entry(**entry) for entry in document["entries"]]
        return cls(entries={entry.id: entry for entry in entries}, serial=document["serial"], etag=answer["ETag"])

    def written(self, aws: Aws, entries: Iterable[Entry]) -> Inventory:
        """The inventory after it was written with `entries`. Raises StalePlanError where another was faster."""
        new = {entry.id: entry for entry in entries}
        document = {
            "version": INVENTORY_VERSION,
            "gpupipe": __version__,
            "stack": aws.stack.id,
            "serial": self.serial + 1,  # equal contents would have equal ETags
            "by": who(),
            "entries": [asdict(new[id_]) for id_ in sorted(new)],
        }
        with explained("write the stack's inventory"):
            etag = put_if(aws, INVENTORY_KEY, document, self.etag)
        if etag is None:
            raise stale_plan(aws)
        return Inventory(entries=new, serial=self.serial + 1, etag=etag)


def stale_plan(aws: Aws) -> StalePlanError:
    """For who would do what was decided before another changed the stack."""
    return StalePlanError(
        f"stack {aws.stack.id} was changed by somebody else meanwhile.",
        hint="Run the command again: it plans anew.",
    )


def _read(text: bytes, what: str) -> dict[str, Any]:
    """Raises IntegrityError where it is no document of ours."""
    try:
        document = json.loads(text)
        return {**document, "version": int(document["version"])}
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"{what} is damaged: {type(error).__name__}.",
            hint="Its bucket keeps older versions of it: make the last good one the newest again.",
        ) from error


def put_if(aws: Aws, key: str, document: Mapping[str, Any], etag: str) -> str | None:
    """Write `key` if it still has `etag` ("": if it does not exist); its new ETag, or None where another was faster."""
    from botocore.exceptions import ClientError

    condition = {"IfMatch": etag} if etag else {"IfNoneMatch": "*"}
    body = json.dumps(document, indent=1).encode()
    try:
        answer = aws.client("s3").put_object(
            **object_of(aws, key), Body=body, ContentType="application/json", **condition
        )
    except ClientError as error:
        if error_code(error) in OVERTAKEN_OR_GONE:
            return _written_after_all(aws, key, body)
        raise
    return str(answer["ETag"])


def _written_after_all(aws: Aws, key: str, body: bytes) -> str | None:
    """The ETag where we lost the race to ourselves: an answer got lost, and boto3 sent the request again."""
    answer = absent_ok(aws.client("s3").get_object, **object_of(aws, key))
    return str(answer["ETag"]) if answer is not None and answer["Body"].read() == body else None


def object_of(aws: Aws, key: str) -> dict[str, str]:
    """Where `key` of the state bucket is; nobody else's bucket of that name will do."""
    return {"Bucket": aws.stack.state_bucket, "Key": key, "ExpectedBucketOwner": aws.stack.account}


def who() -> str:
    """`user@host`, for those who meet our lock."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid()) if sys.platform != "win32" else "somebody"
    return f"{user}@{socket.gethostname()}"
