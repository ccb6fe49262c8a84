"""Run work along a dependency graph, as much at once as it allows; Ctrl-C and failures stop no more than they must."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from graphlib import TopologicalSorter
from queue import Empty, SimpleQueue

from gpupipe.aws import is_mutation
from gpupipe.errors import StoppedError
from gpupipe.threads import start_daemon

WORKERS = 16
GRACE_S = 10.0
"""So long after Ctrl-C what runs may still end by itself; then its next call is refused."""
LAST_WORDS_S = 2.0

Work = Callable[[Callable[[str], None]], None]
"""One node's work; it is given a function to tell its progress with."""


class Gate:
    """Stands before every call while a plan is applied: refuses changes without the lock, and all calls when closed."""

    def __init__(self, check_lock: Callable[[], None]) -> None:
        self._check_lock = check_lock
        self._closed = threading.Event()

    def __call__(self, service: str, operation: str) -> None:
        if self._closed.is_set():
            raise StoppedError(f"stopped before {service} {operation}.")
        if is_mutation(operation):
            self._check_lock()

    def close(self) -> None:
        """Let nothing through any more."""
        self._closed.set()


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """How a node's work ended: well, by `error`, or untried because `blocker` did not end well."""

    id: str
    error: BaseException | None = None
    blocker: str = ""

    @property
    def is_done(self) -> bool:
        return self.error is None and not self.blocker


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the running thread hears: a node began, got on, or ended."""

    id: str
    text: str = ""
    outcome: Outcome | None = None


@dataclass(kw_only=True)
class Run:
    """One way through a graph; `listen` hears each beginning, progress and end in the thread that called `go`."""

    work: Mapping[str, Work]
    needs: Mapping[str, Collection[str]]
    """Node -> nodes that must have ended well before it; those without work count as done."""
    gate: Gate
    listen: Callable[[Report], None]
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _ended: dict[str, Outcome] = field(default_factory=dict)
    """Written by the threads; Ctrl-C can strike between hearing a report and noting it."""
    _heard: SimpleQueue[Report] = field(default_factory=SimpleQueue)
    _ready: deque[str] = field(default_factory=deque)
    _running: set[str] = field(default_factory=set)

    def go(self) -> Mapping[str, Outcome]:
        """Do the work. Raises StoppedError after Ctrl-C; what had ended by then is in `outcomes`."""
        graph = {id_: [need for need in self.needs.get(id_, ()) if need in self.work] for id_ in self.work}
        sorter = TopologicalSorter(graph)
        sorter.prepare()
        try:
            while sorter.is_active():
                self._ready.extend(sorter.get_ready())
                self._begin(graph)
                report = self._heard.get()
                self._note(report)
                if report.outcome is not None:
                    sorter.done(report.id)
        except KeyboardInterrupt:
            self._wind_up()
            raise StoppedError("stopped by Ctrl-C.") from None
        return self.outcomes

    def _begin(self, graph: Mapping[str, Collection[str]]) -> None:
        while self._ready and len(self._running) < WORKERS:
            id_ = self._ready.popleft()
            self._running.add(id_)
            blocker = next((need for need in graph[id_] if not self.outcomes[need].is_done), "")
            if blocker:
                self._heard.put(Report(id=id_, outcome=Outcome(id=id_, blocker=blocker)))
            else:
                self.listen(Report(id=id_))
                start_daemon(partial(self._do, id_), name=f"gpupipe {id_}")

    def _do(self, id_: str) -> None:
        error: BaseException | None = None
        try:
            self.work[id_](lambda text: self._heard.put(Report(id=id_, text=text)))
        except BaseException as caught:  # told by the thread that runs the graph
            error = caught
        self._ended[id_] = Outcome(id=id_, error=error)
        self._heard.put(Report(id=id_, outcome=self._ended[id_]))

    def _note(self, report: Report) -> None:
        if report.outcome is not None:
            self._running.discard(report.id)
            self.outcomes[report.id] = report.outcome
        self.listen(report)

    def _wind_up(self) -> None:
        """Let what runs end by itself for a while (a second Ctrl-C ends the patience), then refuse its calls."""
        with contextlib.suppress(KeyboardInterrupt):
            self._hear_out(GRACE_S)
        self.gate.close()
        self._hear_out(LAST_WORDS_S)

    def _hear_out(self, for_s: float) -> None:
        deadline = time.monotonic() + for_s
        while self._running - self._ended.keys() and (left_s := deadline - time.monotonic()) > 0:
            with contextlib.suppress(Empty):
                self._note(self._heard.get(timeout=left_s))
        for id_ in self._running & self._ended.keys():
            self._note(Report(id=id_, outcome=self._ended[id_]))
