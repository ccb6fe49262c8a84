"""Kinds that live in this process: everything a resource can be, without a service behind it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from gpupipe.aws import Aws
from gpupipe.names import Stack
from gpupipe.resources import Fields, Found, Observed, Phase, Progress, Resource, content_hash


@dataclass
class Record:
    """One thing that exists."""

    fields: dict[str, Any]
    owner: str
    pipeline: str
    key: str
    objects: int = 0


@dataclass
class Store:
    """All things of one stack, by `id`, and what was done to them."""

    records: dict[str, Record] = field(default_factory=dict)
    history: list[tuple[str, str]] = field(default_factory=list)
    """(verb, id), in order."""
    refuse: dict[tuple[str, str], Exception] = field(default_factory=dict)
    """(verb, id) -> what it fails with, once."""
    refuse_always: dict[tuple[str, str], Exception] = field(default_factory=dict)
    hold: dict[tuple[str, str], threading.Event] = field(default_factory=dict)
    """(verb, id) -> what it waits for."""
    on_call: Callable[[str, str], None] = lambda service, operation: None
    """Sees every call before it happens."""
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    """Released when a held verb begins to wait."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stores: ClassVar[dict[str, Store]] = {}

    @classmethod
    def of(cls, stack: Stack) -> Store:
        return cls._stores.setdefault(stack.id, cls())

    def call(self, aws: Aws, verb: str, thing: Resource) -> None:
        """What a kind's API call is: it passes the gate, it may fail, and it is seen."""
        operation = f"{verb.capitalize()}Thing"
        if aws.gate is not None:
            aws.gate("things", operation)
        self.on_call("things", operation)
        if (verb, thing.id) in self.hold:
            self.entered.release()
            assert self.hold[verb, thing.id].wait(20)
        error = self.refuse.pop((verb, thing.id), None) or self.refuse_always.get((verb, thing.id))
        if error is not None:
            raise error
        with self._lock:
            self.history.append((verb, thing.id))

    def order(self, *calls: tuple[str, str]) -> list[int]:
        """When each of `calls` happened."""
        return [self.history.index(call) for call in calls]


@dataclass(frozen=True, kw_only=True)
class Thing(Resource):
    """Changeable in place, empty, in the middle of the phases."""

    kind: ClassVar[str] = "thing"
    phase: ClassVar[Phase] = Phase.NETWORK

    fields: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[Resource, ...] = ()

    def requires(self) -> tuple[Resource, ...]:
        return self.needs

    def desired(self) -> Fields:
        return dict(self.fields)

    def observe(self, aws: Aws) -> Observed | None:
        record = Store.of(self.stack).records.get(self.id)
        return Observed(fields=dict(record.fields), owner=record.owner) if record else None

    def create(self, aws: Aws) -> None:
        store = Store.of(self.stack)
        store.call(aws, "create", self)
        store.records[self.id] = Record(
            fields=dict(self.fields), owner=self.stack.id, pipeline=self.pipeline, key=self.key
        )

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        store = Store.of(self.stack)
        store.call(aws, "update", self)
        store.records[self.id].fields |= {name: self.fields[name] for name in changed}

    def empty(self, aws: Aws, progress: Progress) -> None:
        record = Store.of(self.stack).records.get(self.id)
        if record is not None and record.objects:
            progress(f"{record.objects} objects deleted")
            record.objects = 0

    def delete(self, aws: Aws) -> None:
        store = Store.of(self.stack)
        store.call(aws, "delete", self)
        store.records.pop(self.id, None)

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        prefix = f"{cls.kind.replace(' ', '-')}/"
        for id_, record in list(Store.of(aws.stack).records.items()):
            if id_.startswith(prefix) and record.owner == aws.stack.id:
                yield cls._found(aws.stack, id_.removeprefix(prefix), record)

    @classmethod
    def _found(cls, stack: Stack, aws_name: str, record: Record) -> Found:
        thing = cls(stack=stack, name=aws_name, pipeline=record.pipeline)
        return Found(kind=cls.kind, key=record.key, name=aws_name, resource=thing)


@dataclass(frozen=True, kw_only=True)
class Trigger(Thing):
    """Goes first."""

    kind: ClassVar[str] = "trigger"
    phase: ClassVar[Phase] = Phase.TRIGGERS


@dataclass(frozen=True, kw_only=True)
class Keeper(Thing):
    """Holds data; its shape cannot be changed."""

    kind: ClassVar[str] = "data thing"
    phase: ClassVar[Phase] = Phase.DATA
    holds_data: ClassVar[bool] = True
    immutable: ClassVar[frozenset[str]] = frozenset({"shape"})


@dataclass(frozen=True, kw_only=True)
class Hashed(Thing):
    """Never changed in place: its contents are in its name."""

    kind: ClassVar[str] = "hashed thing"
    phase: ClassVar[Phase] = Phase.TEMPLATES

    exact_name: str = ""

    @property
    def aws_name(self) -> str:
        return self.exact_name or f"{self.name}-{content_hash(self.desired())}"

    @classmethod
    def _found(cls, stack: Stack, aws_name: str, record: Record) -> Found:
        name = f"{stack.id}-{record.key.partition('/')[2]}"
        thing = cls(stack=stack, name=name, pipeline=record.pipeline, exact_name=aws_name)
        return Found(kind=cls.kind, key=record.key, name=aws_name, resource=thing)


@dataclass(frozen=True, kw_only=True)
class Runner(Thing):
    """Made by the running stack, never by a plan."""

    kind: ClassVar[str] = "runner"
    phase: ClassVar[Phase] = Phase.MACHINES
    dynamic: ClassVar[bool] = True


THINGS: Mapping[str, str] = {
    cls.kind: f"tests.plan.things:{cls.__name__}" for cls in (Thing, Trigger, Keeper, Hashed, Runner)
}
