"""Stacks made of things, with a real state bucket in the emulators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from tests.account import Account
from tests.plan.things import THINGS, Store

from gpupipe import resources
from gpupipe.names import Stack
from gpupipe.plan import Plan, Receipt, apply, plan, plan_deletion, tear_down
from gpupipe.plan.steps import Event
from gpupipe.resources import Resource
from gpupipe.resources.state_bucket import StateBucket


@pytest.fixture(autouse=True)
def only_things() -> Iterator[None]:
    """Registers the things as kinds, as a new kind would be, and leaves out those that need a service."""
    kinds: Any = resources.KINDS
    before = dict(kinds)
    kinds.clear()
    kinds.update({**THINGS, "state bucket": before["state bucket"]})
    yield
    kinds.clear()
    kinds.update(before)


@dataclass
class Scene:
    """One stack of things and what a person does to it."""

    account: Account
    events: list[Event]

    @property
    def stack(self) -> Stack:
        return self.account.aws.stack

    @property
    def store(self) -> Store:
        return Store.of(self.stack)

    def a(self, kind: Any, name: str, *needs: Resource, pipeline: str = "segment", **fields: Any) -> Any:
        return kind(stack=self.stack, name=f"{self.stack.id}-{name}", pipeline=pipeline, fields=fields, needs=needs)

    def plan(self, *things: Resource, **options: Any) -> Plan:
        return plan(self.account.aws, (StateBucket.of(self.stack), *things), **options)

    def up(self, *things: Resource, **options: Any) -> Receipt:
        return apply(self.plan(*things, **options), self.account.aws, on_event=self.events.append)

    def plan_down(self, *things: Resource, **options: Any) -> Plan:
        return plan_deletion(self.account.aws, (StateBucket.of(self.stack), *things), **options)

    def down(self, *things: Resource, **options: Any) -> Receipt:
        return self.down_by(self.plan_down(*things, **options))

    def down_by(self, planned: Plan) -> Receipt:
        return tear_down(planned, self.account.aws, on_event=self.events.append)

    def bucket_exists(self) -> bool:
        return StateBucket.of(self.stack).observe(self.account.aws) is not None


@pytest.fixture
def new_scene(new_account: Callable[[], Account]) -> Callable[[], Scene]:
    """Makes scenes of stacks that know nothing of each other."""

    def make() -> Scene:
        scene = Scene(account=new_account(), events=[])
        scene.store.on_call = scene.account.calls
        return scene

    return make


@pytest.fixture
def scene(new_scene: Callable[[], Scene]) -> Scene:
    return new_scene()
