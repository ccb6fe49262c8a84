"""What an AWS resource is to gpupipe: desired state with verbs. One AWS kind a file beside this one.

A resource is a frozen, keyword-only dataclass of what is wanted. It refers to other resources as Python objects
(`EventSource(function=dispatch, queue=events)`) and asks them for their ARN; nothing is looked up by string. Its verbs
are small and say nothing to the person; deciding what to do with them is `gpupipe.plan`'s.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from gpupipe.aws import Aws
from gpupipe.names import Stack

Fields = Mapping[str, Any]
"""State as plain JSON values by field name: what `plan` compares and shows."""


@dataclass(frozen=True, kw_only=True)
class Observed:
    """What exists. `owner` is the value of its stack tag or path, "" where it carries none of ours."""

    fields: Fields
    owner: str
    note: str = ""
    """Something a person should know ("Creating", "in use by i-0123"), shown by plan and status."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Something of this stack that `find` met in the account: enough to name it and to delete it."""

    kind: str
    key: str
    """The resource's key where its tag or name tells it, else its AWS name."""
    name: str
    resource: Resource


@dataclass(frozen=True, kw_only=True)
class Resource(ABC):
    """One thing in AWS as it should be.

    `name` is its AWS name. Two resources are the same thing when their `key` is equal, whatever their fields.
    """

    stack: Stack
    name: str
    pipeline: str = ""

    kind: ClassVar[str]
    """The word people read: `queue`, `role`, `launch template`."""
    immutable: ClassVar[frozenset[str]] = frozenset()
    """Fields whose change means replacement: delete and create under the same name."""
    holds_data: ClassVar[bool] = False
    """Deleting or replacing it loses what cannot be made again; needs `--delete-data`."""
    delete_after: ClassVar[int] = 0
    """`down` deletes in rising order of this, and by dependency within: 0 schedules, event sources and functions (or a
    running function launches a machine again), 1 machines, 2 network and roles, 3 log groups, 4 data, 5 the state."""

    @property
    def key(self) -> str:
        """Stable identity inside a stack: `queue/segment-work`."""
        return f"{self.kind.replace(' ', '-')}/{self.name.removeprefix(self.stack.id + '-')}"

    @property
    def tags(self) -> dict[str, str]:
        """Our tags for this resource."""
        return self.stack.tags(self.key, pipeline=self.pipeline)

    def requires(self) -> tuple[Resource, ...]:
        """What must exist before this is created, and outlive it."""
        return ()

    @abstractmethod
    def desired(self) -> Fields:
        """The state wanted, in the form in which `observe` reports; pure."""

    @abstractmethod
    def observe(self, aws: Aws) -> Observed | None:
        """What exists under this name, or None. At most a few reads; changes nothing."""

    @abstractmethod
    def create(self, aws: Aws) -> None:
        """Make it, tagged from birth; adopt what exists and is ours (a call that was killed after it worked)."""

    @abstractmethod
    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        """Bring the `changed` fields to what is wanted."""

    @abstractmethod
    def delete(self, aws: Aws) -> None:
        """Remove it and wait until it is gone; deleting what is gone succeeds."""

    @classmethod
    @abstractmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        """Everything of this kind in the account that is the stack's, by tag, path or name, wanted or not."""
