"""Whether a worker answers: asked over HTTP from time to time, in other threads than the supervisor's."""

import http.client
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass

from gpupipe.clock import SYSTEM, Clock


@dataclass(frozen=True, kw_only=True)
class Pings:
    """How often a worker is asked, and when it counts as hung."""

    timeout_s: float = 2.0
    pause_starting_s: float = 0.2
    """Until it is ready …"""
    pause_s: float = 5.0
    """… and from then on."""
    unanswered: int = 4
    """So many without an answer, in a row, and a worker that was ready counts as hung."""


class Health:
    """How one worker answers. `ask` says whether it is ready, None if nobody answers.

    `became_ready` is called at its first good answer ever, in the thread that asked.
    """

    def __init__(
        self,
        ask: Callable[[], bool | None],
        *,
        pings: Pings,
        became_ready: Callable[[], None],
        was_ready: bool = False,
        clock: Clock = SYSTEM,
    ) -> None:
        self._ask = ask
        self._pings = pings
        self._became_ready = became_ready
        self._clock = clock
        self._lock = threading.Lock()
        self._asking: Future[None] | None = None
        self._next_at = 0.0
        self._unanswered = 0
        self.is_good = False
        """Whether it is ready now, as far as is known."""
        self.was_ready = was_ready
        """Whether it ever was; stays over restarts."""

    @property
    def is_hung(self) -> bool:
        return self.was_ready and self._unanswered >= self._pings.unanswered

    def look(self, executor: Executor) -> None:
        """Ask again, if it is time and the last question was answered or given up."""
        now = self._clock.monotonic()
        if now >= self._next_at and (self._asking is None or self._asking.done()):
            self._next_at = now + (self._pings.pause_s if self.is_good else self._pings.pause_starting_s)
            self._asking = executor.submit(self._look)

    def begin_anew(self) -> None:
        """Its process has ended: nothing is known of the next."""
        self.is_good, self._unanswered, self._next_at = False, 0, 0.0

    def _look(self) -> None:
        is_ready = self._ask()
        with self._lock:
            is_first = bool(is_ready) and not self.was_ready
            self._unanswered = self._unanswered + 1 if is_ready is None else 0
            # A busy worker may be late once; one that says 503 gets nothing new from now on.
            may_be_late = self.is_good and self._unanswered < self._pings.unanswered
            self.is_good = may_be_late if is_ready is None else is_ready
            self.was_ready = self.was_ready or self.is_good
        if is_first:
            self._became_ready()


def http_ping(url: str, path: str, *, headers: Mapping[str, str], timeout_s: float) -> bool | None:
    """Whether GET of `path` at `url` (`http://host:port`) is answered with 200; None if nobody answers."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout_s)
    try:
        connection.request("GET", path, headers=dict(headers))
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
