"""What the fields of a document may hold, so that whoever reads it need not ask of each value what it is."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from gpuworker.contract.documents import (
    MAX_SHARD_ITEMS,
    PLACE_MAX,
    Document,
    Item,
    JobSpec,
    Manifest,
    Shard,
)
from gpuworker.contract.errors import ContractError
from gpuworker.contract.results import Artifact, Failure, ItemResult, ShardResult

SIZE_MAX = 1 << 50
"""Bytes; above any object of S3."""
_NUMBER = re.compile(r"0|[1-9]\d{0,8}", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


def _is_text(value: Any) -> bool:
    """Half a character (a lone surrogate) is none: no service takes it."""
    return isinstance(value, str) and value.encode(errors="replace").decode() == value


def _is_whole(value: Any, *, most: int = PLACE_MAX, least: int = 0) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _is_size(value: Any) -> bool:
    return _is_whole(value, most=SIZE_MAX)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_amount(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= SIZE_MAX


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _is_table_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: _is_table(value) and all(map(holds, value.values()))


def _is_shards(value: Any) -> bool:
    """Numbers as text -> items; one shard has one number only."""
    if not _is_table(value) or not all(map(_NUMBER.fullmatch, value)):
        return False
    return all(_is_whole(items, least=1, most=MAX_SHARD_ITEMS) for items in value.values())


def _is_checksum(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


Rule = tuple[str, Callable[[Any], bool]]
_TEXT: Rule = ("a text", _is_text)
_PLACE: Rule = (f"a whole number from 0 to {PLACE_MAX:,}", _is_whole)
_SIZE: Rule = ("a number of bytes", _is_size)
_TIME: Rule = ("a number", _is_number)
_TABLE: Rule = ("an object", _is_table)
_COUNTS: Rule = ("an object of amounts", _is_table_of(_is_amount))
_SECONDS: Rule = ("an object of numbers", _is_table_of(_is_number))
_KIND: Rule = ("one of submitted, drop-in", ("submitted", "drop-in").__contains__)
_VALUE: Rule = ("an object, or left out", lambda value: value is None or _is_table(value))
_FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
_SHARDS: Rule = (f"an object of 1 to {MAX_SHARD_ITEMS} items a shard's number", _is_shards)
_CHECKSUM: Rule = ("64 hexadecimal digits", _is_checksum)

_RULES: Mapping[type[Document], Mapping[str, Rule]] = {
    JobSpec: {
        **dict.fromkeys(("job", "pipeline", "project", "task", "fingerprint", "submitter"), _TEXT),
        "options": _TABLE,
        "kind": _KIND,
        "created_at": _TIME,
        "hold": _FLAG,
    },
    Manifest: {**dict.fromkeys(("job", "pipeline", "project"), _TEXT), "generation": _PLACE, "shards": _SHARDS},
    Shard: {
        **dict.fromkeys(("job", "pipeline", "project", "task"), _TEXT),
        "number": _PLACE,
        "generation": _PLACE,
        "options": _TABLE,
        "carried": _COUNTS,
    },
    Item: {
        **dict.fromkeys(("key", "etag", "output", "version_id"), _TEXT),
        "size": _SIZE,
        "sidecar": _TABLE,
        "value": _VALUE,
    },
    ShardResult: {
        "job": _TEXT,
        "number": _PLACE,
        "generation": _PLACE,
        "machine": _TEXT,
        "engine": _TABLE,
        "header": _TABLE,
        "started_at": _TIME,
        "finished_at": _TIME,
        "timings": _SECONDS,
    },
    ItemResult: {
        **dict.fromkeys(("output", "key", "etag"), _TEXT),
        "fragment": _TABLE,
        "counts": _COUNTS,
        "seconds": _SECONDS,
        "artifacts": _TABLE,
        "value": _VALUE,
    },
    Artifact: {"key": _TEXT, "version_id": _TEXT, "size": _SIZE, "sha256": _CHECKSUM},
    Failure: {**dict.fromkeys(("output", "key", "etag", "code", "message"), _TEXT), "value": _VALUE},
}


def require_shape(document: Document) -> None:
    """Raises ContractError where a field of it, or of a document inside it, holds what it cannot hold."""
    kind = type(document)
    for name, (words, holds) in _RULES[kind].items():
        if not holds(getattr(document, name)):
            raise ContractError(f"not a {kind.__name__} document: {name} is not {words}")
    for inner in _inside(document):
        require_shape(inner)


def _inside(document: Document) -> tuple[Document, ...]:
    if isinstance(document, Shard):
        return tuple(document.items)
    if isinstance(document, ShardResult):
        return (*document.items, *document.failures)
    return tuple(document.artifacts.values()) if isinstance(document, ItemResult) else ()
