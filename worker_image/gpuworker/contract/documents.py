"""Job, item, shard and result as they are written to S3 and queues.

Every document carries `version`, so that a worker can refuse what a newer CLI wrote instead of misreading it.
"""

from __future__ import annotations

import gzip
import itertools
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gpuworker.contract.errors import ContractError
from gpuworker.contract.keys import is_job_name, shard_key
from gpuworker.contract.reading import MESSAGE_BYTES, read_json
from gpuworker.contract.sums import summed

VERSION = 1
MAX_SHARD_ITEMS = 256
_UNPACKED_BYTES, _UNPACKED_TIMES = 64 << 20, 100
"""A packed document may take the larger of the two, the second being times its length: masks and boxes as JSON pack 5
to 20 times, and what is made to fill a memory a thousand times."""
_GZIP = 16
"""Tells zlib that gzip's header comes first."""
ENVIRONMENT_NAME = "GPUPIPE_WORKER"
ENVIRONMENT_PIECE = 1000
"""Characters; SageMaker lets a variable's value have 1,024."""
ITEM_SHARE_OF_INVOCATION = 0.5
"""What an item may take of an endpoint's invocation: one that hangs must not take the whole shard with it."""

JobKind = Literal["submitted", "drop-in"]
Place = tuple[str, int, int]
"""Job, number and generation of a shard."""
PLACE_MAX = 10**9
"""Of a shard's number and generation in a message."""

T = TypeVar("T", bound="Document")


@dataclass(frozen=True, kw_only=True)
class Document:
    """A JSON document of the contract."""

    def to_json(self) -> str:
        """Compact JSON with sorted keys, so that equal documents are equal bytes."""
        return json.dumps({"version": VERSION, **vars(self)}, default=vars, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls: type[T], text: str | bytes) -> T:
        """Read a document. Raises ContractError on other versions, missing or malformed fields."""
        try:
            data = json.loads(text)
            version = data.pop("version")
        except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
            raise ContractError(f"not a {cls.__name__} document: {error!r}") from error
        if version != VERSION:
            raise ContractError(f"{cls.__name__} of contract version {version!r}, this is version {VERSION}")
        try:
            return cls.from_dict(data)
        except (TypeError, AttributeError) as error:  # of what it holds: a number in place of a list
            raise ContractError(f"not a {cls.__name__} document: {error}") from error

    @classmethod
    def from_dict(cls: type[T], data: Mapping[str, Any]) -> T:
        """Build from parsed JSON; unknown keys are refused like missing ones."""
        try:
            return cls(**data)
        except TypeError as error:
            raise ContractError(f"not a {cls.__name__} document: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Item(Document):
    """One input, pinned: this object in this version goes to this output name."""

    key: str
    etag: str
    """Without the quotation marks that S3's answers put around it."""
    size: int
    output: str
    """Path below the project without extension, or whole where two inputs would share it; cut where too long."""
    version_id: str = ""
    """S3 version; "" reads the newest and compares the ETag."""
    sidecar: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What the person has written beside this one input, validated; for `segment` `{"boxes": [...]}` and where
    the image lies (`contract.world`)."""

    @property
    def file_name(self) -> str:
        """Path below the project, with its extension: what COCO calls `file_name`."""
        return self.key.split("/", 2)[2]


@dataclass(frozen=True, kw_only=True)
class JobSpec(Document):
    """What was asked for, once a job: `jobs/<job>/job.json`."""

    job: str
    pipeline: str
    project: str
    task: str
    options: Mapping[str, Any]
    """The task's options, validated and canonical; plain JSON."""
    kind: JobKind = "submitted"
    created_at: float
    """Unix time in seconds, by the submitter's clock (drop-ins: the function's)."""
    fingerprint: str = ""
    """Of pipeline, project, options and the listing of files; finds an unfinished draft again."""
    submitter: str = ""
    hold: bool = False
    """Do not start a machine for this job before `gpupipe start` or another job does."""


@dataclass(frozen=True, kw_only=True)
class Shard(Document):
    """1..256 items of one job: the unit of queueing, retry and accounting."""

    job: str
    pipeline: str
    project: str
    number: int
    generation: int = 0
    task: str
    options: Mapping[str, Any]
    items: Sequence[Item]
    carried: Mapping[str, int] = field(default_factory=dict)
    """Counts that earlier generations of this shard finished and this one does not repeat:
    `{"done": 5, "failed": 0, "annotations": 31}`. The ledger's row is their sum with this generation's."""

    @property
    def place(self) -> Place:
        return self.job, self.number, self.generation

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Shard:
        items = tuple(Item.from_dict(item) for item in data.get("items", ()))
        if not 1 <= len(items) <= MAX_SHARD_ITEMS:
            raise ContractError(f"a shard holds 1 to {MAX_SHARD_ITEMS} items, this one {len(items)}")
        try:
            return cls(**{**data, "items": items})
        except TypeError as error:
            raise ContractError(f"not a Shard document: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Manifest(Document):
    """The start signal: which shards, of which generation, a job (or a retry of it) consists of."""

    job: str
    pipeline: str
    project: str
    generation: int = 0
    shards: Mapping[str, int]
    """Shard number (as text, JSON keys are text) -> number of items. A retry names only what it sends again."""

    @property
    def items(self) -> int:
        """How many items the named shards hold."""
        return sum(self.shards.values())


@dataclass(frozen=True, kw_only=True)
class Message(Document):
    """The body of a work queue message: which shard to process, never the shard itself.

    Anybody with the right to send may have written it, so it is read more narrowly than our own documents.
    """

    job: str
    number: int
    generation: int

    @classmethod
    def of(cls, place: Place) -> Message:
        job, number, generation = place
        return cls(job=job, number=number, generation=generation)

    @classmethod
    def from_json(cls, text: str | bytes) -> Message:
        """Raises ContractError, also for what no shard's place can be."""
        document = read_json(text, limit_bytes=MESSAGE_BYTES)
        message = super().from_json(json.dumps(document))
        if not is_job_name(message.job):
            raise ContractError("not a Message document: job is not a job's name")
        for name in ("number", "generation"):
            value = getattr(message, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= PLACE_MAX:
                raise ContractError(f"not a Message document: {name} is not a whole number from 0 to {PLACE_MAX:,}")
        return message

    @property
    def place(self) -> Place:
        return self.job, self.number, self.generation

    @property
    def key(self) -> str:
        return shard_key(*self.place)


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

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ItemResult:
        artifacts = {name: Artifact.from_dict(value) for name, value in data.get("artifacts", {}).items()}
        try:
            return cls(**{**data, "artifacts": artifacts})
        except TypeError as error:
            raise ContractError(f"not an ItemResult document: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Failure(Document):
    """One item that could not be processed; `code` as in `gpuworker.tasks.ItemError`."""

    output: str
    key: str
    etag: str
    code: str
    message: str


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


@dataclass(frozen=True, kw_only=True)
class ModelSource(Document):
    """Where an engine's weights come from; the pipeline's to say, never a job's."""

    weights: str = ""
    """A hub's `owner/name`, or a folder on the machine that runs the worker; "" where no engine needs any."""
    revision: str = ""
    """The commit of the hub's repository, 40 hexadecimal digits; "" with a folder."""
    token_secret: str = ""
    """Name of the Secrets Manager secret with the hub's token; "" where none is needed."""
    on_cpu: bool = False
    """Whether `engine = "auto"` may run the model without a GPU, at minutes an image."""


@dataclass(frozen=True, kw_only=True)
class WorkerSettings(Document):
    """What a machine is told at launch (`/etc/gpupipe/worker.json`); names and limits, never a secret."""

    stack: str
    pipeline: str
    region: str
    account: str
    bucket: str
    queue_url: str
    """"" where shards do not come from a queue."""
    table: str
    log_group: str
    task: str
    task_options: Mapping[str, Any]
    """The pipeline's defaults; used to load the model before the first shard arrives."""
    idle_minutes: float = 15.0
    max_processing_hours: float = 4.0
    visibility_timeout_s: int = 600
    max_receives: int = 4
    """Receives before SQS moves a message to the dead-letter queue."""
    item_timeout_s: float = 300.0
    device: str = "auto"
    variant: str = ""
    """Which of an endpoint's variants this is; written into every result."""
    invocation_timeout_s: float = 900.0
    """How long the caller of an endpoint waits for one answer."""
    max_concurrency: int = 4
    """Shards that one instance of an endpoint works on at a time."""
    model: ModelSource = field(default_factory=ModelSource)

    @property
    def item_limit_setting(self) -> str:
        """Which setting an item's time comes from: what a person has to raise for more."""
        is_share = not self.queue_url and self.item_timeout_s >= ITEM_SHARE_OF_INVOCATION * self.invocation_timeout_s
        return "invocation_timeout_s" if is_share else "item_timeout_s"

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> WorkerSettings:
        try:
            return cls(**{**data, "model": ModelSource.from_dict(data.get("model", {}))})
        except TypeError as error:
            raise ContractError(f"not a WorkerSettings document: {error}") from error

    def to_environment(self) -> dict[str, str]:
        """As environment variables that are short enough for SageMaker: GPUPIPE_WORKER, GPUPIPE_WORKER_1, …"""
        text = self.to_json()
        pieces = [text[start : start + ENVIRONMENT_PIECE] for start in range(0, len(text), ENVIRONMENT_PIECE)]
        return {_variable(number): piece for number, piece in enumerate(pieces)}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> WorkerSettings:
        """What `to_environment` wrote. Raises ContractError."""
        if ENVIRONMENT_NAME not in environment:
            raise ContractError(f"the environment variable {ENVIRONMENT_NAME} is missing")
        names = itertools.takewhile(environment.__contains__, map(_variable, itertools.count()))
        return cls.from_json("".join(environment[name] for name in names))


def _variable(number: int) -> str:
    return f"{ENVIRONMENT_NAME}_{number}" if number else ENVIRONMENT_NAME
