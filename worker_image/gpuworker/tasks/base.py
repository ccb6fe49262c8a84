"""What a task is; importing this imports no model library.

A task turns one input, the bytes of an object or a value, into the files and the record of one result. It knows
nothing of AWS, queues or shards. The stream (`gpuworker.pipeline.stream`) calls its steps from several threads:

    decode   input -> Decoded         any thread, many at once
    run      [Decoded, ...] -> [...]  `infer_threads` threads, each with at most `batch_size` items
    encode   Decoded + result -> Encoded   any thread, many at once

An item that cannot be processed raises `ItemError` (from decode or encode) or yields one in place of its result
(from run); any other exception is a bug and becomes the failure `internal_error` of that item. Running out of memory
in `run` halves the batch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from gpuworker.checks.hooks import Hooks
from gpuworker.contract import InputKind
from gpuworker.contract.items import File, Source

if TYPE_CHECKING:
    from gpuworker.models import Models


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """One input ready for the model.

    `payload` is the task's own (an image, a prompt); `cost_bytes` is what it holds in memory, for the stream's
    byte budget.
    """

    source: Source
    payload: Any
    cost_bytes: int
    weight: int = 1
    """How many ordinary items' work this one is (its tiles): limits of time are multiplied by it."""
    extra_weight: Callable[[], int] = int
    """How much more it has turned out to weigh since: asked again and again while the model is at it."""
    weight_done: Callable[[], int] = int
    """How much of both the model has done; asked as often."""
    is_wanted: Callable[[], bool] = lambda: True
    """False for ever once nobody waits for the result: what takes long may be left then, and whatever `run` returns is
    dropped."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The result of one item.

    `files`: artefacts by path below the item's output folder (`masks/tree_masks.tif`, `overlay.jpg`).
    `record`: the JSON document written last as `Task.record_name`, which marks the item as finished.
    `fragment`: what this item adds to the job's merged result (for COCO: `{"image": ..., "annotations": [...]}`,
    ids local to the item from 1).
    `counts`: small whole numbers summed over shard and job (`{"annotations": 7}`).
    """

    files: Mapping[str, File]
    record: Mapping[str, Any]
    fragment: Mapping[str, Any]
    counts: Mapping[str, int] = field(default_factory=dict)


class Task(Hooks, ABC):
    """One kind of work, made once a process with no arguments. Six methods make a task; the others are hooks with a
    default, called by the worker where they matter."""

    record_name: ClassVar[str]
    """File name of the per-item record, e.g. `annotations.json`."""
    takes: ClassVar[frozenset[InputKind]]
    """What an input may be: `frozenset({"object"})` for files, `frozenset({"value"})` for JSON objects that came with
    the job, or both. What it does not take fails as `unsuitable` before any hook is called with it."""
    takes_files: ClassVar[bool] = False
    """Whether inputs of more than 256 MiB come as a Path in place of bytes to `decode` and `decoded_bytes`; the file is
    there until they return."""
    infer_threads: int = 1
    """How many threads may be inside `run` at once (1 where the model owns a GPU); read after `load`."""
    batch_size: int = 1
    """The most items `run` takes at once; read after `load`."""
    batch_wait_s: float = 0.0
    """How long a batch that is not full may wait for items on their way; read after `load`."""

    # --- before `load`, in this order ---

    def use_models(self, models: Models) -> None:
        """Where weights come from."""

    @abstractmethod
    def load(self, device: str, options: Mapping[str, Any]) -> None:
        """Load the model onto `device` ("cpu", "cuda"), once, before any item. Raises on failure."""

    def use_memory(self, memory_bytes: int) -> None:
        """What all items in flight may take together, and so one alone; after `load`, before any item."""

    # --- about a job ---

    def mistake_in(self, options: Mapping[str, Any]) -> str:
        """What the configuration would refuse of a job's options; "" for nothing."""
        return ""

    def expect(self, items: int) -> None:
        """About so many items are still to come, by the ledger: time may be spent now on what many items repay."""

    @abstractmethod
    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Name, version and notes of the engine, as written into every result."""

    @abstractmethod
    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """What all fragments of a job share (for COCO: `info`, `licenses` and `categories`); deterministic."""

    def answer_options(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """The same options without the files, where only the record is wanted (an answer by HTTP)."""
        return options

    # --- one item ---

    def decoded_bytes(self, data: Any, source: Source, options: Mapping[str, Any]) -> int | None:
        """What `decode` will hold of `data`, by its header; None where only its size can be guessed from. Of a value
        too: how large is the image that it asks for?"""
        return None

    @abstractmethod
    def decode(self, data: Any, source: Source, options: Mapping[str, Any]) -> Decoded:
        """Turn an input's bytes (or the Path to them, see `takes_files`), or the dict that is a value, into what `run`
        takes. Raises ItemError."""

    @abstractmethod
    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[Any]:
        """Results in the order of `batch`; an ItemError in place of one that failed."""

    @abstractmethod
    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        """Turn one result into files and a record. Raises ItemError."""
