"""What an AWS resource is to gpupipe: desired state with verbs. One AWS kind a file beside this one.

A resource is a frozen, keyword-only dataclass of what is wanted. It refers to other resources as Python objects
(`EventSource(function=dispatch, queue=events)`) and asks them for their ARN; nothing is looked up by string. Its verbs
are small and say nothing to the person; deciding what to do with them is `gpupipe.plan`'s.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from gpupipe.aws import Aws
from gpupipe.names import Stack

Fields = Mapping[str, Any]
"""State as plain JSON values by field name: what `plan` compares and shows."""

Progress = Callable[[str], None]
"""Told in words how far a long deletion is: "12,000 objects deleted"."""

KINDS: Mapping[str, str] = {
    "alarm": "gpupipe.resources.alarm:Alarm",
    "bucket": "gpupipe.resources.bucket:Bucket",
    "bucket notification": "gpupipe.resources.bucket_notification:BucketNotification",
    "endpoint": "gpupipe.resources.endpoint:Endpoint",
    "endpoint config": "gpupipe.resources.endpoint_config:EndpointConfig",
    "event source": "gpupipe.resources.event_source:EventSource",
    "function": "gpupipe.resources.function:Function",
    "instance profile": "gpupipe.resources.instance_profile:InstanceProfile",
    "launch template": "gpupipe.resources.launch_template:LaunchTemplate",
    "log group": "gpupipe.resources.log_group:LogGroup",
    "machine": "gpupipe.resources.machine:Machine",
    "metric alarm": "gpupipe.resources.metric_alarm:MetricAlarm",
    "model": "gpupipe.resources.model:Model",
    "queue": "gpupipe.resources.queue:Queue",
    "queue policy": "gpupipe.resources.queue_policy:QueuePolicy",
    "role": "gpupipe.resources.role:Role",
    "scalable target": "gpupipe.resources.scalable_target:ScalableTarget",
    "scaling policy": "gpupipe.resources.scaling_policy:ScalingPolicy",
    "schedule": "gpupipe.resources.schedule:Schedule",
    "scheduled action": "gpupipe.resources.scheduled_action:ScheduledAction",
    "secret": "gpupipe.resources.secret:Secret",
    "security group": "gpupipe.resources.security_group:SecurityGroup",
    "state bucket": "gpupipe.resources.state_bucket:StateBucket",
    "subscription": "gpupipe.resources.subscription:Subscription",
    "table": "gpupipe.resources.table:Table",
    "topic": "gpupipe.resources.topic:Topic",
}
"""Kind -> "module:Class": what `down` searches the account for. A new kind is one file and one line here."""


class Phase(IntEnum):
    """When `down` deletes a kind; within a phase, what requires another goes before it."""

    TRIGGERS = 0
    """What calls functions: schedules, event sources, notifications."""
    FUNCTIONS = 1
    TEMPLATES = 2
    """What machines are launched from: without it an invocation still in flight launches nothing."""
    MACHINES = 3
    NETWORK = 4
    ROLES = 5
    LOGS = 6
    """After what writes them, or they come back without retention."""
    DATA = 7
    STATE = 8
    """The state bucket: it knows what is there, so it goes when all else has."""


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
    """Its AWS name."""
    resource: Resource

    @property
    def id(self) -> str:
        """Equal to the `id` of the resource that was created under this name."""
        return identity(self.kind, self.name)


@dataclass(frozen=True, kw_only=True)
class Resource(ABC):
    """One thing in AWS as it should be.

    `name` names it in the stack, and `aws_name` in AWS: the same, but for kinds that are never changed in place. Two
    resources are the same thing when their `key` is equal, whatever their fields.
    """

    stack: Stack
    name: str
    pipeline: str = ""

    kind: ClassVar[str]
    """The word people read: `queue`, `role`, `launch template`."""
    phase: ClassVar[Phase]
    """When `down` deletes it."""
    immutable: ClassVar[frozenset[str]] = frozenset()
    """Fields whose change means replacement: delete and create under the same name."""
    holds_data: ClassVar[bool] = False
    """Deleting or replacing it loses what cannot be made again; needs `--delete-data`."""
    dynamic: ClassVar[bool] = False
    """Made by the running stack (machines), never by `up`; `down` finds and deletes every one."""

    @property
    def key(self) -> str:
        """Stable identity inside a stack: `queue/segment-work`."""
        return identity(self.kind, self.name.removeprefix(self.stack.id + "-"))

    @property
    def aws_name(self) -> str:
        """What AWS knows it by; immutable kinds add `content_hash` of what is desired, so old and new can coexist."""
        return self.name

    @property
    def id(self) -> str:
        """Identity in the account: `queue/demo-dev-segment-work`."""
        return identity(self.kind, self.aws_name)

    @property
    def tags(self) -> dict[str, str]:
        """Our tags for this resource."""
        return self.stack.tags(self.key, pipeline=self.pipeline)

    def tags_of(self, found: Mapping[str, str]) -> dict[str, str]:
        """Those of the `found` tags that are wanted here; foreign ones are nobody's business."""
        return {key: value for key, value in found.items() if key in self.tags}

    @property
    def priced_by(self) -> Fields:
        """What its standing cost depends on, beside its kind."""
        return self.desired()

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

    def empty(self, aws: Aws, progress: Progress) -> None:  # noqa: B027 - most kinds hold nothing
        """Remove what it holds, so that it can be deleted; resumable."""

    @abstractmethod
    def delete(self, aws: Aws) -> None:
        """Remove it and wait until it is gone; deleting what is gone succeeds."""

    @classmethod
    @abstractmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        """Everything of this kind in the account that is the stack's, by tag, path or name, wanted or not."""


def identity(kind: str, name: str) -> str:
    """`launch-template/demo-dev-segment-worker-1a2b3c4d`."""
    return f"{kind.replace(' ', '-')}/{name}"


def content_hash(fields: Fields) -> str:
    """Eight hex digits that change when anything in `fields` does."""
    document = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(document.encode()).hexdigest()[:8]


def kind_class(kind: str) -> type[Resource]:
    """The class of `kind`. Raises KeyError for an unknown one (an inventory written by a newer gpupipe)."""
    module, _, attribute = KINDS[kind].partition(":")
    found: type[Resource] = getattr(importlib.import_module(module), attribute)
    return found


def kinds() -> tuple[type[Resource], ...]:
    """Every kind there is."""
    return tuple(kind_class(kind) for kind in KINDS)
