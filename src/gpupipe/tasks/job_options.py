"""What one job asks of its task: the pipeline's options with what the command line says over them."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from gpupipe.errors import InputError, UsageError
from gpupipe.tasks import Place, TaskOptions

PROMPTS, NEGATIVE_PROMPTS = "prompts", "negative_prompts"
FLAGS: Mapping[str, str] = {PROMPTS: "--prompt", NEGATIVE_PROMPTS: "--negative-prompt"}


def job_options(
    defaults: TaskOptions,
    place: Place,
    *,
    prompts: Sequence[str] = (),
    negative_prompts: Sequence[str] = (),
    assignments: Sequence[str] = (),
) -> TaskOptions:
    """The options of a job on the pipeline `place`, which has these `defaults`.

    `assignments` are `key=value`, lists separated by commas, maps as `key=name:value,name:value`; the last of a key
    counts. Prompts replace the pipeline's. Raises UsageError for an option that is unknown or has no such value,
    InputError for a prompt that the engine does not know.
    """
    fields = type(defaults).model_fields
    changes: dict[str, Any] = {}
    for assignment in assignments:
        key, text = _split(assignment, fields)
        changes[key] = _value(key, text, fields[key])
    for key, given in ((PROMPTS, prompts), (NEGATIVE_PROMPTS, negative_prompts)):
        if given:
            _require_takes(key, fields)
            changes[key] = tuple(given)
    try:
        options = defaults.changed(changes)
    except ValidationError as error:
        raise _explained(error, fields, changes) from error
    return options.at_place(place)


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


def _value(key: str, text: str, field: FieldInfo) -> Any:
    """The text as the option's type wants it; numbers and words are pydantic's to read."""
    kind = typing.get_origin(field.annotation)
    if kind in (tuple, list):
        return _parts(text)
    return _mapped(key, text) if kind is Mapping else text.strip()


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _mapped(key: str, text: str) -> dict[str, str]:
    pairs = [part.rpartition(":") for part in _parts(text)]
    for name, colon, value in pairs:
        if not (colon and name.strip()):
            raise UsageError(
                f"--option {key}={text}: {name + colon + value!r} is no pair of name and value.",
                hint=f"Write --option {key}=NAME:VALUE,NAME:VALUE.",
            )
    return {name.strip(): value.strip() for name, _, value in pairs}


def _require_takes(key: str, fields: Mapping[str, FieldInfo]) -> None:
    if key not in fields:
        raise UsageError(
            f"this pipeline's task takes no {key.replace('_', ' ')}.",
            hint=f"Leave {FLAGS[key]} out, or name a pipeline of task segment with --pipeline.",
        )


def _explained(error: ValidationError, fields: Mapping[str, FieldInfo], changes: Mapping[str, Any]) -> UsageError:
    """The first mistake; a person mends one after the other anyway."""
    detail = error.errors()[0]
    key = str(detail["loc"][0]) if detail["loc"] else ""
    reason = _plain(detail["msg"].removeprefix("Value error, "))
    if key in FLAGS:
        return InputError(f"{reason}.", hint=_about_prompts(key, changes, fields[key]))
    about = fields[key].description if key in fields else ""
    given = f"--option {key}={_shown(changes[key])}" if key in changes else f"{key} of gpupipe.toml with this job's own"
    return UsageError(f"{given}: {reason}.", hint=f"{key}: {about}" if about else "")


def _about_prompts(key: str, changes: Mapping[str, Any], field: FieldInfo) -> str:
    if key in changes:
        return f"{FLAGS[key]}: {field.description}"
    return f"They are those of gpupipe.toml: {FLAGS[key]} TEXT replaces them, and --option {key}= leaves them out."


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ",".join(f"{name}:{one}" for name, one in value.items())
    return ",".join(value) if isinstance(value, tuple) else str(value)


def _plain(reason: str) -> str:
    return reason[:1].lower() + reason[1:]
