"""Inputs that are values: JSON objects that travel inside the shard, such as `{"prompt": "a red fox", "seed": 7}`.

A value has a name, which is its result's, and needs no object in S3. Everything that tells items apart by key and ETag
goes on doing so: a value's key is `values/<project>/<name>`, where no object lies, and its ETag is the checksum of its
content. In documents it is `{"name": …, "value": {…}}`; the rest follows from that, so that nothing can contradict it.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from gpuworker.contract.errors import ContractError

InputKind = Literal["object", "value"]
"""What an item may be: an object in S3, or a value. A task says which it takes."""

VALUE_BYTES = 64 * 1024
"""Of one value as compact JSON in UTF-8: a hundred pages of prompt. What is longer belongs into S3."""
VALUE_DEPTH = 32
"""Levels of objects and lists; documents that carry values stay far below what `read_json` takes."""
VALUE_NAME_BYTES = 200
"""In UTF-8: a name is one part of a key and of a path, and every file system takes that much."""
SHARD_VALUES_BYTES = 4 << 20
"""Of all values of a shard, as its document writes them. SageMaker's realtime endpoints take shards of at most 6 MB in
a request, and 64 of the largest values in ASCII are enough work for one; 256 would be 16 MB."""
SHARD_DOCUMENT_BYTES = 5 << 20
"""Of a whole document with values in it: theirs, and names, options and braces."""
_CANONICAL = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True)
_GENERATED = re.compile(r"item-\d{5,}", re.ASCII)


def generated_name(number: int) -> str:
    """Of the value number `number` of a submission (from 1), if it has no name of its own."""
    return f"item-{number:05d}"


def is_generated_name(name: str) -> bool:
    """Does it say nothing but a place? Two submissions have the same such names for different values."""
    return _GENERATED.fullmatch(name) is not None


def mistake_in_name(name: str) -> str:
    """Why a value cannot be called so, as the end of a sentence; "" where it can."""
    if not name or name != name.strip():
        return "is empty" if not name.strip() else "begins or ends with a space"
    if name in (".", "..") or "/" in name or "\\" in name:
        return "is a path"
    if not name.isprintable():
        return "holds a character that cannot be printed"
    if name != unicodedata.normalize("NFC", name):
        return "is not in Unicode's composed form (NFC)"
    return f"is longer than {VALUE_NAME_BYTES} bytes" if len(name.encode()) > VALUE_NAME_BYTES else ""


def content_of(value: Mapping[str, Any]) -> bytes:
    """The value as compact JSON in UTF-8 with sorted keys: equal values are equal bytes.

    Raises ContractError for what is no JSON object, or one that is too deep or too large.
    """
    if not isinstance(value, Mapping):
        raise ContractError("it is not a JSON object")
    if any(depth > VALUE_DEPTH for depth in _depths(value)):
        raise ContractError(f"it is nested deeper than {VALUE_DEPTH} levels")
    content = _written(value)
    if len(content) > VALUE_BYTES:
        raise ContractError(f"it has {len(content):,} bytes as JSON, and a value may have {VALUE_BYTES:,}")
    return content


def _written(value: Mapping[str, Any]) -> bytes:
    try:
        return _CANONICAL.encode(value).encode()
    except UnicodeEncodeError as error:
        raise ContractError("it holds half a character (a lone surrogate such as \\ud800)") from error
    except ValueError as error:
        raise ContractError("it holds NaN, Infinity or a number beyond them, which JSON does not have") from error
    except TypeError as error:
        raise ContractError(f"it is not JSON: {error}") from error


def _depths(value: Any) -> Iterator[int]:
    """The depth of each object and list in it, itself included, without a call of its own a level."""
    waiting = [(value, 1)]
    while waiting:
        one, depth = waiting.pop()
        if isinstance(one, dict | list | tuple):
            yield depth
            parts = one.values() if isinstance(one, dict) else one
            waiting += [(part, depth + 1) for part in parts]


def etag_of(content: bytes) -> str:
    """What stands for an ETag where there is no object."""
    return hashlib.sha256(content).hexdigest()
