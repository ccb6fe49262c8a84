"""One image through the stream: its bytes come with a request, or from S3, and its result is the answer."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gpuworker.contract import Failure, Item, ItemResult, Shard, fragments_in
from gpuworker.entries.serving.answers import Answer, of_failure, problem, to_json
from gpuworker.masks.coco import numbered
from gpuworker.pipeline.shard_run import Outcome, ShardRun
from gpuworker.storage.objects import Storage
from gpuworker.tasks.base import Encoded

JOB = "direct"
"""What requests for one image are called where the journal wants a job."""
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a request names. `fetch` gives its bytes and raises ItemError and StorageError."""

    name: str
    """Becomes `file_name` in results."""
    size: int
    """Bytes; 0 where it is not known yet."""
    options: Mapping[str, Any]
    fetch: Callable[[], bytes]
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    """What came beside it."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """How the answer is made of a result."""

    header: Mapping[str, Any] | None = None
    """For COCO: what all documents share; None gives the task's own record."""
    variant: str = ""
    metadata: Mapping[str, Any] | None = None
    """Given back with the result, beside what the task says there itself."""

    def body(self, encoded: Encoded) -> bytes:
        """The answer's bytes."""
        document = dict(encoded.record)
        if self.header is not None:
            images, annotations = numbered(fragments_in(encoded.fragment))
            document = {**self.header, "images": images, "annotations": annotations}
        if self.metadata is not None:
            document["metadata"] = _with(document.get("metadata"), self.metadata)
        if self.variant:
            document["info"] = _with(document.get("info"), {"variant": self.variant})
        return to_json(document)


class DirectRun(ShardRun):
    """A run of one item, answered once: with its result, with what was wrong with it, or as `give_up` says."""

    gives_files: ClassVar[bool] = False  # its bytes have come with the request, or within the request's time

    def __init__(self, image: Image, *, task: str, form: Form, on_answer: Callable[[Answer], None]) -> None:
        """`on_answer` is called once, from any thread."""
        self._image: Image | None = image
        self._form = form
        self._on_answer = on_answer
        self._answering = threading.Lock()
        key, output = f"{JOB}/-/{image.name}", _stem(image.name)
        item = Item(key=key, etag="", size=image.size, output=output, sidecar=image.sidecar)
        shard = Shard(
            job=JOB, pipeline="", project="", number=next(_numbers), task=task, options=image.options, items=(item,)
        )
        super().__init__(shard, on_over=self._conclude)

    def fetch(self, item: Item, storage: Storage) -> bytes:
        image, self._image = self._image, None  # the stream holds the bytes from here on
        assert image is not None
        return image.fetch()

    def deliver(
        self, item: Item, encoded: Encoded, storage: Storage, *, record_name: str, seconds: Mapping[str, float]
    ) -> Outcome:
        self._answer(Answer(status=200, body=self._form.body(encoded)))
        return ItemResult(output=item.output, key=item.key, etag="", artifacts={}, fragment={}, seconds=seconds)

    def give_up(self, answer: Answer) -> None:
        """Answer now, and let the stream drop what it has of it."""
        self._answer(answer)
        self.cancel()

    def _conclude(self) -> None:
        if self.error is not None:
            self._answer(problem(500, "failed", f"{type(self.error).__name__}: {self.error}"))
        elif not self.unsettled() and isinstance(outcome := self.outcomes()[0], Failure):
            self._answer(of_failure(outcome))

    def _answer(self, answer: Answer) -> None:
        if self._answering.acquire(blocking=False):
            self._on_answer(answer)


def _with(section: Any, more: Mapping[str, Any]) -> Mapping[str, Any]:
    return {**(section if isinstance(section, Mapping) else {}), **more}


def _stem(name: str) -> str:
    last = name.rpartition("/")[2]
    return last.rpartition(".")[0] or last
