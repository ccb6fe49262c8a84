"""Suspects of an earlier crash are worked on here: one at a time, in a child process that may die of them.

The child is `gpuworker.pipeline.isolated_process`. It loads the task once and gets one item after the other; it is
killed when an item takes too long or too much memory, and when it dies only the item it had becomes a failure. The next
gets a new child.
"""

from __future__ import annotations

import contextlib
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from multiprocessing import Pipe
from typing import Any

from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError, Source
from gpuworker.models import ModelError
from gpuworker.pipeline.shard_run import Content
from gpuworker.process.log import Log
from gpuworker.process.memory import resident_bytes
from gpuworker.tasks.base import Encoded, Task

LOAD_TIMEOUT_S = 900.0
IDLE_S = 60.0
_LOOK_EVERY_S = 0.05
NO_WEIGHTS = "no_weights"
"""In place of an item's code: the child's task needs weights that are not on this machine."""


class IsolatorError(Exception):
    """The child cannot be started or its task not be loaded: no fault of an item."""


@dataclass(frozen=True, kw_only=True)
class ChildSettings:
    """What the child needs to know."""

    task: str
    """"module:Class" of the task."""
    device: str
    options: Mapping[str, Any]
    """With which the task is loaded."""
    memory_limit_bytes: int
    item_timeout_s: float
    longest_item_s: float = math.inf
    """The most that an item may take, whatever its weight: what an endpoint's invocation leaves for it."""
    item_limit: str = "item_timeout_s"
    """The setting that `item_timeout_s` comes from, for people."""
    model: ModelSource = field(default_factory=ModelSource)
    """Weights that lie on this machine already."""

    def limit(self, weight: int) -> tuple[float, str]:
        """Seconds for an item of this weight, and the setting that they come from."""
        if self.longest_item_s < self.item_timeout_s * weight:
            return self.longest_item_s, "invocation_timeout_s"
        return self.item_timeout_s * weight, self.item_limit

    @classmethod
    def reference(cls, task: Task) -> str:
        """How the child finds the class of `task`."""
        return f"{type(task).__module__}:{type(task).__qualname__}"


@dataclass(frozen=True, kw_only=True)
class Weight:
    """The child has decoded the item, and says how many ordinary items' work it is; again when it turns out more."""

    weight: int


class _Gone(Exception):  # noqa: N818 - an answer
    """The child did not answer; `code` says why, in the words of ItemError."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code, self.reason = code, reason


class Isolator:
    """Starts the child when the first item comes, keeps it for the next, ends it when none came for a while."""

    def __init__(self, settings: ChildSettings, log: Log, *, fetch: Callable[[], object] = lambda: None) -> None:
        """`fetch` brings the weights that `settings` name to this machine; it may raise ModelError."""
        self._settings, self._log, self._fetch = settings, log, fetch
        self._child: _Child | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._last_used = 0.0

    def run(
        self,
        content: Content,
        source: Source,
        options: Mapping[str, Any],
        *,
        is_wanted: Callable[[], bool] = lambda: True,
    ) -> Encoded:
        """Decode, infer and encode one item.

        Once it is not wanted any more it is ended with its process. Raises ItemError (in that case too), and
        IsolatorError for what is not the item's fault.
        """
        with self._lock:
            child = self._child = self._child or self._start()
            try:
                answer = child.ask((content, source, options), self._settings, is_wanted)
                if isinstance(answer, tuple) and answer[0] == NO_WEIGHTS:
                    self._bring_weights()
                    answer = child.ask((content, source, options), self._settings, is_wanted)
            except _Gone as gone:
                self._end_child()
                if self._closed:
                    raise IsolatorError("the worker is shutting down") from gone
                self._log.warning("isolated_item_ended_its_process", item=source.file_name, reason=gone.reason)
                raise ItemError(gone.code, gone.reason) from gone
            finally:
                self._last_used = time.monotonic()
        if isinstance(answer, Encoded):
            return answer
        if answer[0] == NO_WEIGHTS:
            raise IsolatorError(f"the isolated process has no weights: {answer[1]}")
        raise ItemError(*answer)

    def _bring_weights(self) -> None:
        """A job may name an engine that this process itself has not loaded yet."""
        try:
            self._fetch()
        except ModelError as error:
            raise IsolatorError(f"the isolated process has no weights: {error}") from error

    def _start(self) -> _Child:
        if self._closed:
            raise IsolatorError("the worker is shutting down")
        child = _Child(self._settings)
        self._log.info("isolated_process_started", pid=child.pid)
        try:
            problem = child.receive(LOAD_TIMEOUT_S, memory_limit_bytes=0)
        except _Gone as gone:
            child.end()
            raise IsolatorError(f"the isolated process did not load its task: {gone.reason}") from gone
        if problem is not None:
            child.end()
            raise IsolatorError(f"the isolated process could not load its task: {problem}")
        return child

    def end_if_idle(self) -> None:
        """End a child that had nothing to do for a minute: it holds a second copy of the model."""
        if self._child and time.monotonic() - self._last_used > IDLE_S and self._lock.acquire(blocking=False):
            try:
                self._end_child()
            finally:
                self._lock.release()

    def _end_child(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None

    def close(self) -> None:
        """End the child at once, whatever it is doing; `run` raises IsolatorError from now on."""
        self._closed = True
        if child := self._child:
            child.kill()
        with self._lock:
            self._end_child()


class _Child:
    """The process and the pipe to it."""

    def __init__(self, settings: ChildSettings) -> None:
        self._pipe, theirs = Pipe()
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "gpuworker.pipeline.isolated_process", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=2,  # the worker's own standard output is for its log
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
            )
        except OSError as error:
            raise IsolatorError(f"the isolated process could not be started: {error}") from error
        finally:
            theirs.close()
        with contextlib.suppress(OSError):  # a child that is gone already is noticed when it does not answer
            self._pipe.send(settings)

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: Any, settings: ChildSettings, is_wanted: Callable[[], bool]) -> Any:
        """Send one item and wait for its answer; its weight, and so its time, comes before. Raises _Gone."""
        with contextlib.suppress(OSError):
            self._pipe.send(question)
        watched: dict[str, Any] = {"memory_limit_bytes": settings.memory_limit_bytes, "is_wanted": is_wanted}
        answer = self.receive(settings.item_timeout_s, setting=settings.item_limit, **watched)
        decoded_at = time.monotonic()
        while isinstance(answer, Weight):
            timeout_s, setting = settings.limit(answer.weight)
            answer = self.receive(timeout_s, setting=setting, since=decoded_at, **watched)
        return answer

    def receive(
        self,
        timeout_s: float,
        *,
        memory_limit_bytes: int,
        is_wanted: Callable[[], bool] = lambda: True,
        since: float | None = None,
        setting: str = "",
    ) -> Any:
        """The child's next message, while watching its time (`since` when; default: now) and its memory."""
        deadline = (time.monotonic() if since is None else since) + timeout_s
        with _as_gone(self._process):
            while not self._pipe.poll(_LOOK_EVERY_S):
                if not is_wanted():
                    raise _Gone("timeout", "nobody waits for it any more")
                if time.monotonic() > deadline:
                    raises = f"; {setting} raises the limit" if setting else ""
                    raise _Gone("timeout", f"took longer than {timeout_s:g} s{raises}")
                if memory_limit_bytes and resident_bytes(self.pid) > memory_limit_bytes:
                    raise _Gone("out_of_memory", f"took more than the {memory_limit_bytes / 1e9:.1f} GB it may")
            return self._pipe.recv()

    def kill(self) -> None:
        """End the process; whoever waits for its answer learns that it is gone."""
        self._process.kill()

    def end(self) -> None:
        """Kill the process and take note of its end."""
        self._process.kill()
        self._process.wait()
        self._pipe.close()


@contextlib.contextmanager
def _as_gone(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """A broken pipe means that the child died; its exit status says of what."""
    try:
        yield
    except (EOFError, OSError) as error:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5.0)
        status = process.returncode
        how = f"signal {-status}" if status is not None and status < 0 else f"exit status {status}"
        raise _Gone("killed_worker", f"the process that worked on it alone died of it ({how})") from error
