"""Writes a commented gpupipe.toml from the settings' own descriptions and defaults, so that the two cannot differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gpupipe.config import LocalSettings, StackSettings, pipeline_class
from gpupipe.tasks import options_class

HEADER = """\
# gpupipe.toml: what gpupipe makes and runs. Lines that begin with "# " and a key show the default;
# uncomment one to change it. `gpupipe plan` shows what a change would do before anything happens.
"""

TASK_OF_KIND: Mapping[str, str] = {"queue": "segment"}
"""The task that a new configuration of each kind begins with."""


def render(*, kind: str, name: str, target: str) -> str:
    """The text of a new gpupipe.toml with one pipeline of `kind`."""
    task = TASK_OF_KIND[kind]
    pipeline = pipeline_class(kind)
    table = f"pipelines.{task}"
    lines = [
        HEADER,
        *_table("stack", StackSettings, {"name": name, "target": target}),
        *_table("local", LocalSettings, {}),
        *_table(table, pipeline, {"kind": kind, "task": task}),
        *_table(f"{table}.task_options", options_class(task), {}),
    ]
    for key, field in pipeline.model_fields.items():
        if (model := _model(field)) and key != "task_options":
            lines += _table(f"{table}.{key}", model, {})
    return "\n".join(lines).rstrip() + "\n"


def _table(name: str, model: type[BaseModel], values: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{name}]"
    if model.__doc__ and name.count(".") != 1:
        yield f"# {model.__doc__.splitlines()[0].partition(': ')[2] or model.__doc__.splitlines()[0]}"
    for key, field in model.model_fields.items():
        if not _model(field):
            yield from _entry(key, field, values)
    yield ""


def _entry(key: str, field: FieldInfo, values: Mapping[str, Any]) -> Iterator[str]:
    comment = f"  # {field.description}" if field.description else ""
    if key in values:
        yield f"{key} = {_toml(values[key])}{comment}"
    else:
        yield f"# {key} = {_toml(field.get_default(call_default_factory=True))}{comment}"


def _model(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _toml(value: Any) -> str:
    """A value in TOML; the settings' defaults are text, numbers, booleans, lists and empty tables of them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False)
