"""Writes a commented gpupipe.toml from the settings' own descriptions and defaults, so that the two cannot differ."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from gpupipe.config import table_of
from gpupipe.dropins import EXAMPLE, toml_key
from gpupipe.errors import UsageError
from gpupipe.kinds import registry
from gpupipe.kinds.kind import AnyKind
from gpupipe.settings import STACK_NAME, STACK_NAME_RULE, LocalSettings, StackSettings
from gpupipe.tasks import TaskOptions, options_class

HEADER = """\
# gpupipe.toml: what gpupipe makes and runs. Lines that begin with "# " and a key show the default;
# uncomment one to change it. `gpupipe plan` shows what a change would do before anything happens.
"""
_EXAMPLE = "new"
_DROPINS = "dropins"


def render(*, kinds: Sequence[str], name: str, target: str) -> str:
    """The text of a new gpupipe.toml with one pipeline of each of `kinds`. Raises UsageError for one unknown."""
    lines = [
        HEADER,
        *_table("stack", StackSettings, {"name": name, "target": target}),
        *_table("local", LocalSettings),
        *(line for kind in kinds for line in _pipeline(_called(kind), target)),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _called(name: str) -> AnyKind:
    found = registry.find(name)
    if found is None:
        raise UsageError(f"{name!r} is not a pipeline kind.", hint=f"Choose from: {', '.join(registry.names())}.")
    return found


def _pipeline(kind: AnyKind, target: str) -> Iterator[str]:
    task, pipeline, table = kind.starter.task, kind.settings, f"pipelines.{kind.starter.pipeline}"
    to_fill_in = {key: "" for key in kind.starter.to_fill_in if target == "aws"}
    yield from _table(table, pipeline, {"kind": kind.name, "task": task, **to_fill_in})
    yield from _table(f"{table}.task_options", options_class(task))
    yield from _dropins(f"{table}.{_DROPINS}", pipeline.model_fields[_DROPINS], options_class(task))
    for key, field in pipeline.model_fields.items():
        model = table_of(field)
        if model and key != "task_options":
            show = _array if get_origin(field.annotation) else _table
            yield from show(f"{table}.{key}", model)


def _table(name: str, model: type[BaseModel], values: Mapping[str, Any] = MappingProxyType({})) -> Iterator[str]:
    yield f"[{name}]"
    if name.count(".") != 1:
        yield f"# {_summary(model)}"
    for key, field in model.model_fields.items():
        if not table_of(field) and key != _DROPINS:  # whose tables are named by projects
            yield from _entry(key, field, values)
    yield ""


def _array(name: str, model: type[BaseModel]) -> Iterator[str]:
    """An array of tables, which is empty by default: what one would look like, set in, so that no line is a default."""
    yield f"# {_summary(model)}"
    yield f"#   [[{name}]]"
    for key, field in model.model_fields.items():
        yield f"#   {key} = {_toml(_EXAMPLE if field.is_required() else _default(field))}  # {_about(field)}"
    yield ""


def _dropins(name: str, field: FieldInfo, options: type[TaskOptions]) -> Iterator[str]:
    """As `_array`: what a table of one pattern would look like."""
    yield f"# {field.description}"
    yield f"#   [{name}.{toml_key(EXAMPLE)}]"
    for key, value in options.example.items():
        yield f"#   {key} = {_toml(value)}  # {_about(options.model_fields[key])}"
    yield ""


def _summary(model: type[BaseModel]) -> str:
    """What the first line of the model's docstring says of the table."""
    first = (model.__doc__ or "").partition("\n")[0]
    text = first.partition(": ")[2] or first
    return text[:1].upper() + text[1:]


def _entry(key: str, field: FieldInfo, values: Mapping[str, Any]) -> Iterator[str]:
    if key in values:
        yield f"{key} = {_toml(values[key])}  # {_about(field)}"
    else:
        yield f"# {key} = {_toml(_default(field))}  # {_about(field)}"


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)


def _about(field: FieldInfo) -> str:
    return f"{field.description}{_choices(field)}"


def _choices(field: FieldInfo) -> str:
    """The words that may stand here, unless the description quotes them itself."""
    words = [word for word in get_args(field.annotation) if isinstance(word, str)]
    if get_origin(field.annotation) is not Literal or len(words) < 2 or '"' in (field.description or ""):
        return ""
    return f" One of: {', '.join(json.dumps(word) for word in words)}."


def _toml(value: Any) -> str:
    """A value in TOML; the settings' defaults are text, numbers, booleans, lists and empty tables of them."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000:
        return f"{value:_}"
    return json.dumps(value, ensure_ascii=False)


def write_new(path: Path, *, kind: str, name: str | None, target: str) -> None:
    """Write a new configuration to `path`; never over an existing file. Raises UsageError, ConfigError."""
    _called(kind)
    if target not in ("local", "aws"):
        raise UsageError(f"{target!r} is not a target.", hint='Choose "local" or "aws".')
    name = default_name(path.parent.name) if name is None else name
    if not re.fullmatch(STACK_NAME, name):
        raise UsageError(f"{name!r} cannot be a stack's name: it {STACK_NAME_RULE}.", hint="Choose another --name.")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(render(kinds=[kind], name=name, target=target))
    except FileExistsError as error:
        raise UsageError(
            f"{path} exists and is not overwritten.", hint="Edit it, or choose another --config."
        ) from error
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}.") from error


def default_name(folder: str) -> str:
    """A stack's name from a folder's."""
    words = re.sub(r"[^a-z0-9]+", "-", folder.lower()).strip("-0123456789")[:20].strip("-")
    return words if re.fullmatch(STACK_NAME, words) else "gpupipe"
