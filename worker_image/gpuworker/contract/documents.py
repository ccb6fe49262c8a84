"""Job, item and shard as they are written to S3 and queues; results are in `gpuworker.contract.results`.

Every document carries `version`, so that a worker can refuse what a newer CLI wrote instead of misreading it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from gpuworker.contract.errors import ContractError
from gpuworker.contract.keys import is_job_name, shard_key, value_key
from gpuworker.contract.reading import MESSAGE_BYTES, read_json
from gpuworker.contract.values import InputKind, content_of, etag_of

VERSION = 1
MAX_SHARD_ITEMS = 256
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
        whole = {"version": VERSION, **self.stored()}
        return json.dumps(whole, default=_stored, separators=(",", ":"), sort_keys=True)

    def stored(self) -> Mapping[str, Any]:
        """What is written of it; documents in it are still documents."""
        return vars(self)

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


def _stored(document: Document) -> Mapping[str, Any]:
    return document.stored()


def without_no_value(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Documents about objects are as they were before there were values."""
    return {name: field for name, field in fields.items() if name != "value" or field is not None}


@dataclass(frozen=True, kw_only=True)
class Item(Document):
    """One input, pinned: this object in this version, or this value, goes to this output name."""

    key: str
    """Of a value where no object lies: `values/<project>/<name>`."""
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
    value: Mapping[str, Any] | None = field(default=None, hash=False)
    """The input itself where it is no object: at most 64 KiB of JSON."""

    @classmethod
    def inline(cls, *, project: str, name: str, value: Mapping[str, Any]) -> Item:
        """The value of this name. Raises ContractError for one that is no JSON object, too deep or too large."""
        content = content_of(value)
        key = value_key(project, name)
        return cls(key=key, etag=etag_of(content), size=len(content), output=name, value=value)

    @property
    def kind(self) -> InputKind:
        return "object" if self.value is None else "value"

    @property
    def file_name(self) -> str:
        """Path below the project, with its extension: what COCO calls `file_name`; of a value its name."""
        return self.key.split("/", 2)[2]

    def stored(self) -> Mapping[str, Any]:
        """Of a value no more than that and its name."""
        return without_no_value(vars(self)) if self.value is None else {"name": self.output, "value": self.value}


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
        items = tuple(_item(item, project=data.get("project", "")) for item in data.get("items", ()))
        if not 1 <= len(items) <= MAX_SHARD_ITEMS:
            raise ContractError(f"a shard holds 1 to {MAX_SHARD_ITEMS} items, this one {len(items)}")
        try:
            return cls(**{**data, "items": items})
        except TypeError as error:
            raise ContractError(f"not a Shard document: {error}") from error


def _item(data: Mapping[str, Any], *, project: str) -> Item:
    """As a shard of this project has it."""
    if data.get("value") is None:
        return Item.from_dict(data)
    try:
        return Item.inline(project=project, **data)
    except TypeError as error:
        raise ContractError(f"not an Item document: {error}") from error


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
