"""What became of items and shards, as it is written to S3: the commit and what it holds."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpuworker.contract.documents import Document, Item, Place, without_no_value
from gpuworker.contract.errors import ContractError
from gpuworker.contract.sums import summed

_UNPACKED_BYTES, _UNPACKED_TIMES = 64 << 20, 100
"""A packed document may take the larger of the two, the second being times its length: masks and boxes as JSON pack 5
to 20 times, and what is made to fill a memory a thousand times."""
_GZIP = 16
"""Tells zlib that gzip's header comes first."""


@dataclass(frozen=True, kw_only=True)
class Artifact(Document):
    """One file of a result, pinned by version and checksum."""

    key: str
    size: int
    sha256: str
    """Hex digest of the bytes."""
    version_id: str = ""


@dataclass(frozen=True, kw_only=True)
class ItemResult(Document):
    """One finished item. `artifacts` by path below the item's folder; the record is one of them."""

    output: str
    key: str
    etag: str
    artifacts: Mapping[str, Artifact]
    fragment: Mapping[str, Any]
    """What the item adds to the merged result; for COCO `{"image": {...}, "annotations": [...]}`, local ids."""
    counts: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage: download, decode, infer, encode, upload."""
    value: Mapping[str, Any] | None = field(default=None, hash=False)
    """The input, where it is a value."""

    def stored(self) -> Mapping[str, Any]:
        return without_no_value(vars(self))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ItemResult:
        artifacts = {name: Artifact.from_dict(value) for name, value in data.get("artifacts", {}).items()}
        try:
            return cls(**{**data, "artifacts": artifacts})
        except TypeError as error:
            raise ContractError(f"not an ItemResult document: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Failure(Document):
    """One item that could not be processed; `code` as in `gpuworker.contract.items.ItemError`."""

    output: str
    key: str
    etag: str
    code: str
    message: str
    value: Mapping[str, Any] | None = field(default=None, hash=False)
    """The input, where it is a value."""

    @classmethod
    def of(cls, item: Item, *, code: str, message: str) -> Failure:
        """What became of this item."""
        return cls(output=item.output, key=item.key, etag=item.etag, code=code, message=message, value=item.value)

    def stored(self) -> Mapping[str, Any]:
        return without_no_value(vars(self))


@dataclass(frozen=True, kw_only=True)
class ShardResult(Document):
    """The commit of a shard: all of it becomes visible with this one conditional write."""

    job: str
    number: int
    generation: int
    machine: str
    engine: Mapping[str, Any]
    header: Mapping[str, Any]
    """What all fragments share; for COCO `info`, `licenses` and `categories`."""
    started_at: float
    finished_at: float
    items: Sequence[ItemResult]
    failures: Sequence[Failure]
    timings: Mapping[str, float] = field(default_factory=dict)
    """Seconds by stage, summed over the items, and `wall`."""

    @property
    def place(self) -> Place:
        return self.job, self.number, self.generation

    @property
    def counts(self) -> Mapping[str, int]:
        """What its items count, summed by name: `{"annotations": 31}`."""
        return summed(item.counts for item in self.items)

    @property
    def made_by(self) -> str:
        """The engine's name, and why it was this one where the job left the choice."""
        name, why = str(self.engine.get("name", "")), self.engine.get("chosen")
        return f"{name}: {why}" if why else name

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ShardResult:
        items = tuple(ItemResult.from_dict(item) for item in data.get("items", ()))
        failures = tuple(Failure.from_dict(failure) for failure in data.get("failures", ()))
        try:
            return cls(**{**data, "items": items, "failures": failures})
        except TypeError as error:
            raise ContractError(f"not a ShardResult document: {error}") from error

    def to_gzip(self) -> bytes:
        """As stored; deterministic (no time stamp in the gzip header)."""
        return gzip.compress(self.to_json().encode(), compresslevel=5, mtime=0)

    @classmethod
    def from_gzip(cls, data: bytes) -> ShardResult:
        try:
            return cls.from_json(_unpacked(data))
        except (OSError, EOFError, zlib.error) as error:
            raise ContractError(f"not a ShardResult document: {error}") from error


def _unpacked(data: bytes) -> bytes:
    """Raises ContractError for what becomes larger than any document of ours of that length."""
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | _GZIP)
    text = unpacker.decompress(data, max(_UNPACKED_BYTES, _UNPACKED_TIMES * len(data)))
    if not unpacker.eof:
        raise ContractError("not a ShardResult document: it is cut off, or unpacks to more than one would")
    return text
