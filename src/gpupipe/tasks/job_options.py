"""What one job asks of its task: the pipeline's options with `--prompt` and `--option key=value` over them."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gpupipe.errors import InputError, UsageError
from gpupipe.tasks import TaskOptions

PROMPTS = "prompts"


def job_options(defaults: TaskOptions, *, prompts: Sequence[str] = (), assignments: Sequence[str] = ()) -> TaskOptions:
    """The options of a job. `assignments` are `key=value`, lists separated by commas; the last of a key counts.

    Prompts replace the pipeline's. Raises UsageError for an option that is unknown or has no such value, InputError
    for a prompt that the engine does not know.
    """
    fields = type(defaults).model_fields
    changed: dict[str, Any] = {}
    for assignment in assignments:
        key, value = _split(assignment, fields)
        changed[key] = _listed(value) if _is_list(fields[key]) else value.strip()
    if prompts:
        _require_prompts(fields)
        changed[PROMPTS] = tuple(prompts)
    try:
        return type(defaults).model_validate({**defaults.model_dump(), **changed})
    except ValidationError as error:
        raise _explained(error, fields, changed) from error


def _split(assignment: str, fields: Mapping[str, FieldInfo]) -> tuple[str, str]:
    key, equals, value = assignment.partition("=")
    key = key.strip().replace("-", "_")
    if not equals:
        raise UsageError(f"--option {assignment!r} has no value.", hint="Write --option KEY=VALUE.")
    if key not in fields:
        near = difflib.get_close_matches(key, fields, n=3, cutoff=0.6)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(fields)}."
        raise UsageError(f"there is no option {key!r}.", hint=hint)
    return key, value


def _is_list(field: FieldInfo) -> bool:
    return typing.get_origin(field.annotation) in (tuple, list)


def _listed(value: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in value.split(",") if part.strip())


def _require_prompts(fields: Mapping[str, FieldInfo]) -> None:
    if PROMPTS not in fields:
        raise UsageError("this pipeline's task takes no prompts.", hint="Leave --prompt out.")


def _explained(error: ValidationError, fields: Mapping[str, FieldInfo], changed: Mapping[str, Any]) -> UsageError:
    """The first mistake; a person mends one after the other anyway."""
    detail = error.errors()[0]
    key = str(detail["loc"][0]) if detail["loc"] else ""
    reason = detail["msg"].removeprefix("Value error, ")
    if key == PROMPTS:
        return InputError(f"{reason}.", hint="Leave --prompt out to look for everything that the engine knows.")
    about = fields[key].description if key in fields else ""
    given = f"--option {key}={changed[key]}" if key in changed else "the options together"
    return UsageError(f"{given}: {_plain(reason)}.", hint=f"{key}: {about}" if about else "")


def _plain(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
