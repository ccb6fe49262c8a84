"""What `[pipelines.<name>.dropins]` may say: options of the task for what is dropped into certain projects.

Each table is named by a project, or by a pattern of several (`gpuworker.contract.patterns`), and holds what differs
from the pipeline's `task_options`. All that is wrong is told at once, each with its place in gpupipe.toml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from gpupipe import weights
from gpupipe.errors import UsageError
from gpupipe.tasks import TASKS, Place, TaskOptions, options_class
from gpuworker.contract import common_project, is_pattern

EXAMPLE = "field*"
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_OF_SEVERAL = "value_error"
"""Pydantic's word for what our own validators raise, which may be about several options together."""
_UNKNOWN = "extra_forbidden"


def toml_key(name: str) -> str:
    """A table's name as TOML writes it."""
    return name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _over_the_pipelines_own(given: Any, info: ValidationInfo) -> Any:
    """Whole options by pattern: the pipeline's with those that are given over them. Raises ValidationError."""
    if not isinstance(given, Mapping):
        return given  # which pydantic tells
    found = list(_mistaken_patterns(list(given)))
    options: dict[str, TaskOptions] = {}
    for pattern, table in given.items():
        try:
            options[pattern] = _options(table, info.data)
        except ValidationError as error:
            found += _placed(error, pattern, table)
    if found:
        raise ValidationError.from_exception_data("dropins", found)
    return options


OptionsByProject = Annotated[Mapping[str, TaskOptions], BeforeValidator(_over_the_pipelines_own)]
"""A field that stands below `task`, `task_options` and `model`, and needs them."""


def _options(table: Any, pipeline: Mapping[str, Any]) -> TaskOptions:
    """Raises ValidationError."""
    if isinstance(table, TaskOptions):
        return table
    if not isinstance(table, Mapping):
        raise _refusal(f'is no table: options stand below a project, as in [pipelines.NAME.dropins."{EXAMPLE}"]')
    own: TaskOptions = pipeline.get("task_options", TaskOptions())
    task = str(pipeline.get("task"))
    if task not in TASKS:
        return own  # a mistake that is told elsewhere
    if type(own) is TaskOptions:
        return _by_themselves(options_class(task), table)
    options = own.changed(table)
    model = pipeline.get("model")
    if model is not None and (model.weights or not weights.lacking(own)):
        _require_possible(options, Place(pipeline="", weights=model.weights, on_cpu=model.on_cpu))
    return options


def _by_themselves(options: type[TaskOptions], table: Mapping[str, Any]) -> TaskOptions:
    """Where the pipeline's own have mistakes, which are told elsewhere. Raises ValidationError for what is wrong beside
    any others."""
    try:
        return options.model_validate(table)
    except ValidationError as error:
        found = [one for one in error.errors() if one["type"] != _OF_SEVERAL]
        if not found:
            return TaskOptions()
        mistakes = [_mistake(one["msg"], one["loc"], one["type"], one["input"]) for one in found]
        raise ValidationError.from_exception_data("dropins", mistakes) from error


def _require_possible(options: TaskOptions, place: Place) -> None:
    """What is dropped in comes without a command line and without sidecars. Raises ValidationError."""
    if not place.weights and (why := weights.lacking(options)):
        raise _refusal(f"cannot be done: {why.replace(':', '', 1)}")
    try:
        options.at_place(place)
    except UsageError as error:
        raise _refusal(f"cannot be done: {error.message.rstrip('.')}") from error
    if not options.has_aim({}):
        raise _refusal("there is nothing to look for: no file of examples is read beside drop-ins; add prompts")


# --- patterns ---


def _mistaken_patterns(patterns: Sequence[str]) -> Iterator[InitErrorDetails]:
    for pattern in patterns:
        if common_project(pattern) is None:
            yield _mistake(
                "no project can be called so: a name has 1 to 64 letters, digits, dots, hyphens and underscores, and "
                "not dots alone; in a pattern * stands for any number of them, ? for one",
                (toml_key(pattern),),
            )
    for one, other in combinations(filter(is_pattern, patterns), 2):
        if len(one) == len(other) and (project := common_project(one, other)):
            yield _mistake(
                f"is as long as {toml_key(other)}, and both match project {project!r}: the longest pattern counts, so "
                "lengthen the one that is to count, or leave one out",
                (toml_key(one),),
            )


# --- where a mistake is ---


def _placed(error: ValidationError, pattern: str, table: Any) -> Iterator[InitErrorDetails]:
    """The mistakes as those of the pattern's table."""
    for detail in error.errors():
        reason, loc, value = detail["msg"].removeprefix("Value error, "), detail["loc"], detail["input"]
        key = toml_key(pattern)
        if not loc or not isinstance(table, Mapping):
            yield _mistake(reason, (key,))
        elif loc[0] not in table:
            yield _mistake(f"{reason}: that is {loc[0]} of task_options; write {loc[0]} here too", (key,))
        elif detail["type"] == _UNKNOWN and isinstance(value, Mapping):
            yield _mistake("unknown key; a project's name with a dot in it stands in quotes", (key, *loc))
        else:
            yield _mistake(reason, (key, *loc), detail["type"], value)


def _refusal(reason: str) -> ValidationError:
    """About a whole table."""
    return ValidationError.from_exception_data("dropins", [_mistake(reason, ())])


def _mistake(
    reason: str, loc: tuple[int | str, ...], kind: str = _OF_SEVERAL, value: Any = MappingProxyType({})
) -> InitErrorDetails:
    """As pydantic tells it; what is no table is repeated as the value."""
    return InitErrorDetails(type=PydanticCustomError(kind, "{reason}", {"reason": reason}), loc=loc, input=value)
