"""Configurations, and what they want, without an account."""

from __future__ import annotations

from typing import Any, TypeVar

from gpupipe.aws import Aws
from gpupipe.config import Config
from gpupipe.desired import desired
from gpupipe.kinds.kind import Site
from gpupipe.names import Stack
from gpupipe.resources import Resource

R = TypeVar("R", bound=Resource)

TWO = [{"name": "old", "weight": 9, "image": "rooms:1"}, {"name": "new", "weight": 1, "image": "rooms:2"}]
"""Variants of an endpoint."""
STACK = Stack(name="demo", environment="dev", account="123456789012", region="eu-west-1")


def config(*names: str, tags: dict[str, str] | None = None, **settings: Any) -> Config:
    """A stack of `queue` pipelines that are called `names`, all alike."""
    one = {"kind": "queue", "task": "segment", **settings}
    stack = {"name": "demo", "region": "eu-west-1", "tags": tags or {}}
    return Config(stack=stack, pipelines=dict.fromkeys(names or ("segment",), one))  # type: ignore[arg-type]


def site_of(pipeline: str, **settings: Any) -> Site[Any]:
    """Such a pipeline in the stack."""
    return Site(stack=STACK, pipeline=pipeline, settings=config(pipeline, **settings).pipelines[pipeline], endpoints={})


def wanted(*names: str, endpoints: dict[str, str] | None = None, **settings: Any) -> tuple[Resource, ...]:
    """Everything that such a configuration wants."""
    return desired(config(*names, **settings), Aws(stack=STACK, endpoints=endpoints or {}))


def rooms(**settings: Any) -> tuple[Resource, ...]:
    """Everything that an `endpoint` pipeline of that name wants."""
    return wanted("rooms", **{"kind": "endpoint", **settings})


def names(resources: tuple[Resource, ...], kind: type[Resource]) -> set[str]:
    """What those of `kind` are called in the pipeline `rooms`."""
    return {one.name.removeprefix("demo-dev-rooms-") for one in resources if isinstance(one, kind)}


def only(resources: tuple[Resource, ...], kind: type[R], ending: str = "") -> R:
    """The one of `kind` whose name has this ending."""
    (found,) = [one for one in resources if isinstance(one, kind) and one.name.endswith(ending)]
    return found
