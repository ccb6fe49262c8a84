"""A task without a model: what an input's text says happens to it. `ok`, or one of the words in `_deed`."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from gpuworker.contract import InputKind
from gpuworker.contract.items import File, ItemError, Source
from gpuworker.models import Models
from gpuworker.tasks.base import Decoded, Encoded, Task


class FakeTask(Task, own={"let_go"}):
    """Inputs are words: "bad" cannot be decoded, "crash" kills the process, "hang" waits for `let_go` …

    With the option `halts_after` the model waits for `let_go` once it has seen so many items: what it has not seen by
    then is left over on the slowest machine, and what it has seen ends whichever came first.
    """

    record_name: ClassVar[str] = "annotations.json"
    takes: ClassVar[frozenset[InputKind]] = frozenset({"object"})
    let_go: ClassVar[threading.Event] = threading.Event()

    def __init__(self, *, infer_threads: int = 1, batch_size: int = 4) -> None:
        self.infer_threads, self.batch_size = infer_threads, batch_size
        self.batches: list[list[str]] = []
        """What each call of `run` was given, by output name."""
        self.decoding = self.decoding_at_most = 0

    def use_models(self, models: Models) -> None:
        self.models = models

    def load(self, device: str, options: Mapping[str, Any]) -> None:
        if options.get("needs_weights"):
            _tell(options, f"load {(self.models.folder() / 'config.json').read_text()}")
        if options.get("cannot_load"):
            raise RuntimeError("there is no such model")
        time.sleep(options.get("load_s", 0))

    def engine_info(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"name": "fake", "version": "1", "notes": ""}

    def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"info": {"engine": "fake"}, "licenses": [], "categories": [{"id": 1, "name": "word"}]}

    def decode(self, data: bytes, source: Source, options: Mapping[str, Any]) -> Decoded:
        words = data.decode().split() or [""]
        _tell(options, f"decode {source.output}")
        time.sleep(options.get("decode_s", 0))
        if options.get("weights_for_each"):
            self.models.folder()
        _deed(words[0], self, options)
        cost = int(words[1]) if words[0] == "large" else 1000
        weight = int(words[1]) if words[0] == "weight" else 1
        payload = f"{dict(source.sidecar)}" if words[0] == "beside" else words[0]
        more = int(words[1]) if words[0] == "becomes" else 0
        return Decoded(source=source, payload=payload, cost_bytes=cost, weight=weight, extra_weight=lambda: more)

    def run(self, batch: Sequence[Decoded], options: Mapping[str, Any]) -> Sequence[Any]:
        self.batches.append([item.source.output for item in batch])
        if sum(map(len, self.batches)) > options.get("halts_after", math.inf):
            self.let_go.wait(60)
        time.sleep(options.get("sleep_s", 0) * len(batch))
        if len(batch) > options.get("fits", 99):
            raise MemoryError(f"{len(batch)} items do not fit")
        for item in batch:
            if item.payload == "hang-in-model":
                self.let_go.wait(20)
            if item.payload == "bug-in-model":
                raise ValueError("the model cannot count")
            if item.payload == "lose-gpu":
                raise RuntimeError("CUDA error: an illegal memory access was encountered\nand much more")
        refusal = ItemError("unsupported", "the model does not like it")
        return [refusal if item.payload == "refuse" else f"seen {item.payload}" for item in batch]

    def encode(self, decoded: Decoded, result: Any, options: Mapping[str, Any]) -> Encoded:
        name = decoded.source.output.rpartition("/")[2]
        annotations = [{"id": 1, "image_id": 1, "category_id": 1, "caption": result}]
        fragment = {"image": {"id": 1, "file_name": decoded.source.file_name}, "annotations": annotations}
        return Encoded(
            files={f"masks/{name}_masks.tif": File(data=result.encode(), content_type="image/tiff")},
            record={**self.shard_header(options), "images": [fragment["image"]], "annotations": annotations},
            fragment=fragment,
            counts={"annotations": 1},
        )


def _deed(word: str, task: FakeTask, options: Mapping[str, Any]) -> None:
    if word == "bad":
        raise ItemError("unreadable", "this is no picture")
    if word == "bug":
        raise ValueError("decoders have bugs")
    if word == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == "hang":
        task.let_go.wait(20)
    if word == "hog":
        hoard = bytearray(2_000_000_000)
        hoard[:: 1 << 12] = b"x" * len(hoard[:: 1 << 12])


def _tell(options: Mapping[str, Any], line: str) -> None:
    """Append to the diary that the options name: what was done is known after the process was killed."""
    if "diary" in options:
        with Path(options["diary"]).open("a") as diary:
            diary.write(line + "\n")
