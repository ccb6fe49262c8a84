"""What a pipeline kind is: one value, which every other part of gpupipe asks instead of asking for its name.

A kind is one folder, whose package exports its `KIND`; `registry` names them all. Whatever a kind does not answer is
missing when its folder is imported. What is only needed to make or change a stack is imported by the method that needs
it: settings are read by every command, the rest by few.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gpupipe.functions.whole import Whole
from gpupipe.settings import PipelineSettings

if TYPE_CHECKING:
    from gpupipe.names import Stack
    from gpupipe.resources import Resource
    from gpupipe.tasks import TaskOptions

P = TypeVar("P", bound=PipelineSettings)
P_co = TypeVar("P_co", bound=PipelineSettings, covariant=True)


@dataclass(frozen=True, kw_only=True)
class Site(Generic[P_co]):
    """One pipeline of one stack."""

    stack: Stack
    pipeline: str
    settings: P_co
    endpoints: Mapping[str, str]
    """The emulators', by service; none on AWS."""

    def queue_url(self, name: str) -> str:
        """The URL of the queue of that AWS name."""
        return self.stack.queue_url(name, self.endpoints.get("sqs") or self.endpoints.get("default"))


@dataclass(frozen=True, kw_only=True)
class Starter:
    """The pipeline that a new configuration of a kind begins with."""

    pipeline: str
    task: str
    to_fill_in: tuple[str, ...] = ()
    """Keys without a default that works on AWS."""


@dataclass(frozen=True, kw_only=True)
class LogSource:
    """Who writes to a log group."""

    group: str
    is_function: bool = True
    """Else its streams are named after machines."""


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """How a pipeline answers single requests (`gpupipe invoke`)."""

    endpoint: str
    """AWS's name of what is asked."""
    is_realtime: bool
    """The answer comes with the call; else through the bucket."""
    timeout_s: int
    options_of: Callable[[str], TaskOptions]
    """The options that a variant has unless the request brings its own; "" is the pipeline's."""


class Kind(Whole, ABC, Generic[P]):
    """One pipeline kind. Methods that take a `Site` or settings are pure: no call is made."""

    # --- its table in gpupipe.toml ---

    @property
    @abstractmethod
    def name(self) -> str:
        """The value of `kind`."""

    @property
    @abstractmethod
    def settings(self) -> type[P]:
        """The model of a `[pipelines.<name>]` of this kind."""

    @property
    @abstractmethod
    def starter(self) -> Starter:
        """What `gpupipe init` writes."""

    @property
    def rules(self) -> Mapping[str, str]:
        """What is said of a value that does not match a pattern of the settings, by pattern."""
        return {}

    @abstractmethod
    def not_offered(self, settings: P, region: str) -> Iterator[str]:
        """What AWS does not have, each with its key below the pipeline; reads botocore's lists."""

    # --- what `up` makes ---

    @abstractmethod
    def resources(self, site: Site[P]) -> tuple[Resource, ...]:
        """Everything of the pipeline."""

    @abstractmethod
    def outputs(self, site: Site[P]) -> Mapping[str, str]:
        """What other programs may want to know of it, by name: AWS names, URLs and ARNs."""

    @abstractmethod
    def cost_note(self, site: Site[P]) -> str:
        """A sentence on what it costs while it works, and what at rest."""

    @property
    @abstractmethod
    def loads_weights_in_up(self) -> bool:
        """Are weights loaded while `up` makes the pipeline? Then what that takes has to be there before."""

    # --- jobs ---

    @abstractmethod
    def shard_items(self, settings: P, items: int, seconds_per_item: float) -> int:
        """How many items a shard of a job of `items` holds."""

    @abstractmethod
    def cannot_hold(self, settings: P) -> tuple[str, str]:
        """Why no job of `{pipeline}` can be held, and what to do; two times "" where one can."""

    @abstractmethod
    def has_work_queue(self, settings: P) -> bool:
        """Do shards wait in a queue of ours, with a dead-letter queue behind it?"""

    @abstractmethod
    def log_sources(self, site: Site[P]) -> Mapping[str, LogSource]:
        """A word for people ("guard") -> where it logs; what does the work first."""

    # --- words ---

    @property
    @abstractmethod
    def unit(self) -> str:
        """What does the work, as `status` and `watch` count it: "machine"; "" where there is nothing to count."""

    @property
    @abstractmethod
    def backend_word(self) -> str:
        """What stands before `backend_text`: "endpoint"."""

    @abstractmethod
    def backend_text(self, status: Mapping[str, Any]) -> str:
        """In one line, how what does the work is, by the guard's status document; "" where machines say it all."""

    @abstractmethod
    def idle_reason(self, status: Mapping[str, Any]) -> str:
        """Why no shard is being worked on, where the guard gives no reason."""

    @property
    def workers(self) -> str:
        """What `start` and `stop` are about: "machines", or where nothing is counted "work"."""
        return f"{self.unit}s" if self.unit else "work"

    # --- what a kind may have ---

    def variants(self, settings: P) -> tuple[str, ...]:
        """Names of what may answer single requests; none where jobs are all that it takes."""
        return ()

    def invocation(self, site: Site[P]) -> Invocation | None:
        """How single requests are answered; None where jobs are all that it takes."""
        return None


AnyKind = Kind[Any]
AnySite = Site[PipelineSettings]
