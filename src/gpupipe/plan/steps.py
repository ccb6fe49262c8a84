"""What a plan is made of: steps with what changes and what it costs; what stays and why; the receipt of it all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, NamedTuple

from gpupipe.costs import FREE, Cost, standing_cost
from gpupipe.errors import GpupipeError, NotOursError
from gpupipe.holder import Holder
from gpupipe.resources import Resource
from gpupipe.state import Entry, Inventory


class Action(StrEnum):
    """What is done to one resource."""

    KEEP = "keep"
    CREATE = "create"
    UPDATE = "update"
    REPLACE = "replace"
    """Delete and create under the same name; or, for kinds named by their content, create anew beside the old."""
    DELETE = "delete"


class Change(NamedTuple):
    """A field that is not as wanted."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True, kw_only=True)
class Step:
    """One action on one resource."""

    action: Action
    resource: Resource
    changes: tuple[Change, ...] = ()
    note: str = ""
    """Why, where the changes do not say it: "left gpupipe.toml", "replaced by demo-dev-worker-1a2b3c4d"."""
    protected: bool = False
    """It would lose data that nobody has said may be lost: it is shown, and not done."""

    @property
    def id(self) -> str:
        return self.resource.id

    @property
    def kind(self) -> str:
        return self.resource.kind

    @property
    def key(self) -> str:
        return self.resource.key

    @property
    def name(self) -> str:
        return self.resource.aws_name

    @property
    def what(self) -> str:
        """`queue demo-dev-segment-work`."""
        return f"{self.kind} {self.name}"

    @property
    def cost(self) -> Cost:
        """What it costs while it stands, used or not."""
        return FREE if self.action is Action.DELETE else standing_cost(self.kind, self.resource.priced_by)

    @property
    def usd_per_hour(self) -> float:
        return self.cost.usd_per_hour

    @property
    def usd_per_month(self) -> float:
        return self.cost.usd_per_month

    @property
    def changed_fields(self) -> frozenset[str]:
        return frozenset(change.field for change in self.changes)

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "action": str(self.action),
            "kind": self.kind,
            "name": self.name,
            "key": self.key,
            "changes": [change._asdict() for change in self.changes],
            "note": self.note,
            "usd_per_hour": self.usd_per_hour,
            "usd_per_month": self.usd_per_month,
            "protected": self.protected,
        }


@dataclass(frozen=True, kw_only=True)
class Conflict:
    """Something of a wanted name that is not this stack's; it is never touched."""

    resource: Resource
    owner: str

    @property
    def whose(self) -> str:
        """`belongs to stack demo-prod`."""
        return f"belongs to stack {self.owner}" if self.owner else "was not made by gpupipe"

    def __str__(self) -> str:
        return f"{self.resource.kind} {self.resource.aws_name} exists and {self.whose}"


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be done, decided and not yet begun."""

    steps: tuple[Step, ...]
    conflicts: tuple[Conflict, ...] = ()
    inventory: Inventory = field(default_factory=Inventory, repr=False)
    """As it was when the plan was made; applying refuses to go on from another."""
    unknown: tuple[Entry, ...] = ()
    """What a newer gpupipe made and this one has no name for; it can neither be found nor deleted here."""
    notes: tuple[str, ...] = ()
    """What a person should know beside the steps: what a running machine costs."""
    has_state: bool = True
    """Is there a state bucket already?"""
    absent: frozenset[str] = frozenset()
    """Ids that the inventory lists, nobody wants and a search did not find: whoever deleted them was killed then."""
    pipeline: str = ""
    """The one pipeline that it is about; "" is the whole stack."""
    lock: Holder | None = field(default=None, repr=False)
    """Who held the stack's lock last when the plan was made; applying refuses to go on where it was held since."""

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if step.action is not Action.KEEP and not step.protected)

    @property
    def is_empty(self) -> bool:
        return not self.changes and not self.blocked

    @property
    def kept(self) -> tuple[Step, ...]:
        """Deletions that are not done, as they would lose data."""
        return tuple(step for step in self.steps if step.protected and step.action is Action.DELETE)

    @property
    def blocked(self) -> tuple[Step, ...]:
        """Replacements that cannot be done without losing data."""
        return tuple(step for step in self.steps if step.protected and step.action is Action.REPLACE)

    def is_about(self, pipeline: str) -> bool:
        """May it touch what belongs to that pipeline ("" being the stack's own)?"""
        return self.pipeline in ("", pipeline)

    def within(self, pipeline: str, needed: Collection[str] = ()) -> Plan:
        """The part of it for one pipeline: what is its own, and the ids that are `needed` beside it."""

        def belongs(resource: Resource) -> bool:
            return resource.pipeline == pipeline or resource.id in needed

        return replace(
            self,
            steps=tuple(step for step in self.steps if belongs(step.resource)),
            conflicts=tuple(conflict for conflict in self.conflicts if belongs(conflict.resource)),
            unknown=tuple(entry for entry in self.unknown if entry.pipeline == pipeline),
            absent=frozenset(),
            pipeline=pipeline,
        )

    def check_ours(self) -> None:
        """Raise NotOursError naming every conflict."""
        if self.conflicts:
            raise NotOursError(
                f"{'; '.join(map(str, self.conflicts))}. Nothing was changed.",
                hint="Choose another stack name or environment in gpupipe.toml, or remove what is in the way yourself.",
            )

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "steps": [step.document() for step in self.steps],
            "changes": len(self.changes),
            "conflicts": [str(conflict) for conflict in self.conflicts],
            "kept": [step.what for step in self.kept],
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Something that still exists, and why."""

    kind: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """What was done, what is still there and why. Names are "<kind> <AWS name>"."""

    created: tuple[str, ...] = ()
    updated: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    kept: tuple[Kept, ...] = ()
    """Data that was to be kept, and what has one of our names and is not ours."""
    leftovers: tuple[str, ...] = ()
    """What the last search still found of the stack; empty is the proof that nothing is left."""
    searched: bool = False
    """Was the account searched for leftovers?"""
    seconds: float = 0.0

    @classmethod
    def of(cls, done: Iterable[Step], **rest: Any) -> Receipt:
        """For the steps that were done; `rest` are the other fields."""
        names: dict[Action, list[str]] = {action: [] for action in Action}
        for step in done:
            names[step.action].append(step.what)
        return cls(
            created=tuple(names[Action.CREATE]),
            updated=tuple(names[Action.UPDATE]),
            replaced=tuple(names[Action.REPLACE]),
            deleted=tuple(names[Action.DELETE]),
            **rest,
        )

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "kept": [vars(kept) for kept in self.kept]}


@dataclass(frozen=True, kw_only=True)
class Event:
    """Told while a plan is applied, always from the thread that called."""

    kind: str
    """started, done, failed, skipped, progress, lock, search or notice (to be read and kept)."""
    text: str
    step: Step | None = None
    done: int = 0
    total: int = 0


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A step that failed, or was not tried because of one that did."""

    step: Step
    error: GpupipeError | None = None
    blocker: str = ""
    """What had to be done before, for a step that was not tried."""


def in_order(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Steps as people read them: what is made in the order of building, what is deleted after it."""
    return tuple(
        sorted(
            steps,
            key=lambda step: (
                step.action is Action.DELETE,
                step.resource.phase if step.action is Action.DELETE else -step.resource.phase,
                step.resource.pipeline,
                step.id,
            ),
        )
    )
