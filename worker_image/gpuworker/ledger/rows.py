"""Records as rows of the table, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar

from gpuworker.ledger.records import Intake, JobState, MachineState, Run, ShardState

Row = Mapping[str, Any]
R = TypeVar("R")


def to_row(record: Any) -> dict[str, Any]:
    """The record's fields as plain values; None is left out."""
    return {name: _plain(value) for name, value in vars(record).items() if value is not None}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, Run):
        return vars(value)
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def from_row(cls: type[R], row: Row) -> R:
    """The record in a row. Attributes that this version does not know are passed over; DynamoDB makes 5.0 a 5."""
    kind: Any = cls
    known = _kinds(kind)
    return cls(**{name: _typed(known[name], value) for name, value in row.items() if name in known})


@cache
def _kinds(cls: Any) -> Mapping[str, str]:
    """A record's fields and what they hold; asked for each row, so kept."""
    return {field.name: str(field.type) for field in fields(cls)}


def _typed(kind: str, value: Any) -> Any:
    if kind.startswith("float"):
        return None if value is None else float(value)
    if kind in _ENUMS:
        return _ENUMS[kind](value)
    if kind == "Sequence[Run]":
        return tuple(from_row(Run, run) for run in value)
    if kind == "Sequence[str]":
        return tuple(value)
    return {name: float(part) for name, part in value.items()} if kind == "Mapping[str, float]" else value


_ENUMS: Mapping[str, type[StrEnum]] = {kind.__name__: kind for kind in (JobState, ShardState, Intake, MachineState)}
