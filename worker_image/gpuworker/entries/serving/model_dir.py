"""`config.json` in the model's folder (what SageMaker unpacks from `model_data_url`): options over the pipeline's."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DEFAULT_MODEL_DIR = "/opt/ml/model"
NAME = "config.json"
_KINDS: Mapping[type, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    list: ((list, tuple), "a list"),
    tuple: ((list, tuple), "a list"),
    dict: ((dict,), "an object"),
}
_NUMBER_OR_WORD = frozenset({"tile_size"})


class OptionsError(ValueError):
    """Options that the task does not have, or of another kind."""


def task_options(folder: Path, defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """`defaults` with the `task_options` of the folder's config.json, if there is one. Raises OptionsError."""
    path = folder / NAME
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return defaults
    except OSError as error:
        raise OptionsError(f"{path} cannot be read: {error}") from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise OptionsError(f"{path} is not JSON: {error}") from error
    form = '{"task_options": {…}}'
    if not isinstance(document, dict) or set(document) - {"task_options"}:
        raise OptionsError(f"{path} has to be {form} and nothing else")
    options = document.get("task_options", {})
    if not isinstance(options, dict):
        raise OptionsError(f"{path}: task_options is not an object; it has to be {form}")
    try:
        return merge(options, defaults)
    except OptionsError as error:
        raise OptionsError(f"{path}: {error}") from error


def merge(options: Mapping[str, Any], defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """`options` over `defaults`, which hold every option of the task (or none: then the task has to judge).

    Raises OptionsError.
    """
    for name, value in options.items() if defaults else ():
        if name not in defaults:
            raise OptionsError(f"the task has no option {name!r}; {_instead(name, defaults)}")
        kinds, word = _kinds(name, defaults[name])
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds and object not in kinds):
            raise OptionsError(f"the option {name} has to be {word}, not {json.dumps(value)}")
    return {**defaults, **options}


def _kinds(name: str, default: Any) -> tuple[tuple[type, ...], str]:
    """What an option with this default may be, and in words."""
    if name in _NUMBER_OR_WORD:
        return (int, str), "a whole number or a text"
    return _KINDS.get(type(default), ((object,), ""))


def _instead(name: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known) or 'none'}"
