"""What may be a project's name and an input's key, checked before anything is uploaded."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence

from gpupipe.errors import InputError
from gpupipe.jobs.sources import Input, composed, shown
from gpuworker.contract import input_key, is_project_name

MAX_KEY_BYTES = 1024
"""S3's limit."""


def require_project(name: str) -> None:
    """Raise InputError unless a project may be called so."""
    if not is_project_name(name):
        near = re.sub(r"[^A-Za-z0-9._-]+", "-", composed(name)).strip("-.")[:64] or "field7"
        raise InputError(
            f"{shown(name)!r} cannot be a project's name.",
            hint=f"Use 1 to 64 letters, digits, dots, hyphens and underscores, such as {near!r}.",
        )


def require_valid_keys(files: Iterable[Input], project: str) -> None:
    """Raise InputError for the first input whose path S3, or a program that lists it, could not take."""
    for file in files:
        path = file.path
        if ".." in path.split("/"):
            raise InputError(f"{file} lies outside of what the pattern begins with.", hint="Name its folder instead.")
        if any(ord(char) < 32 or ord(char) == 127 for char in path):
            raise InputError(f"the name of {file} holds a control character.", hint="Rename it.")
        try:
            length = len(input_key(project, path).encode())
        except UnicodeEncodeError as error:
            raise InputError(f"the name of {file} is not valid UTF-8.", hint="Rename it.") from error
        if length > MAX_KEY_BYTES:
            raise InputError(
                f"the path of {file} is too long for S3: its key would have {length} bytes of {MAX_KEY_BYTES}.",
                hint="Submit a folder further down, or shorten the names of folders.",
            )


def require_distinct(files: Sequence[Input]) -> None:
    """Of sorted inputs, raise InputError for the first two that share a path below the project."""
    for one, other in itertools.pairwise(files):
        if one.path == other.path:
            raise InputError(
                f"{one} and {other} would both become {shown(one.path)} in the project.",
                hint="Submit the folder above both, or a quoted pattern such as 'flight*/*.jpg', so that their folders "
                "keep them apart; or submit them as two projects.",
            )
