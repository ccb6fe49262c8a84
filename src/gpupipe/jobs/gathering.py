"""What a submission is of: files, or values, as its arguments say and its task takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import BinaryIO

from gpupipe.errors import InputError, UsageError
from gpupipe.jobs.inputs import Inputs, collect
from gpupipe.jobs.keys import require_project
from gpupipe.jobs.sources import shown
from gpupipe.jobs.values import FORM, STDIN, is_value_source, read_values
from gpupipe.tasks import TaskOptions

WAYS = "a .jsonl or .json file, - for standard input, or --value '{\"prompt\": …}'"


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What a person has named."""

    paths: Sequence[str] = ()
    """Files, folders, patterns, archives; files with values, and `-`."""
    values: Sequence[str] = ()
    """JSON, each one value."""
    stdin: BinaryIO = field(default_factory=BytesIO)
    follow_links: bool = True


def gather(
    given: Arguments, *, options: TaskOptions, task: str, project: str, on_found: Callable[[int], None]
) -> Inputs:
    """The inputs. Raises InputError for what the task does not take and for what cannot be used, UsageError for none
    at all."""
    require_project(project)
    if not given.paths and not given.values:
        raise UsageError("there is nothing to submit.", hint=f"Name {_named(options)}.")
    sources = [path for path in given.paths if _holds_values(path, options)]
    if not sources and not given.values:
        if "object" not in options.takes:
            raise _not_taken(task, given.paths[0], "files", hint=f"Name {WAYS}. {FORM}.")
        return _files(given, options, project, on_found)
    if "value" not in options.takes:
        raise _not_taken(task, sources[0] if sources else "--value", "values", hint=_no_values(task))
    if len(sources) < len(given.paths):
        other = next(path for path in given.paths if path not in sources)
        hint = "Submit files and values as two jobs." if "object" in options.takes else f"Name {WAYS}."
        raise InputError(f"{shown(other)} holds no values (JSON), and other arguments do.", hint=hint)
    return read_values(given.paths, given.values, stdin=given.stdin, on_found=on_found)


def _files(given: Arguments, options: TaskOptions, project: str, on_found: Callable[[int], None]) -> Inputs:
    return collect(
        given.paths,
        suffixes=options.input_suffixes,
        project=project,
        sidecar_suffix=options.sidecar_suffix,
        takes_places=options.takes_places,
        follow_links=given.follow_links,
        on_found=on_found,
    )


def _holds_values(path: str, options: TaskOptions) -> bool:
    """What lies beside images is JSON too, and a file of that name that is not there is whatever it is."""
    suffix = options.sidecar_suffix
    if suffix and path.lower().endswith(suffix):
        return False
    return is_value_source(path) and ("value" in options.takes or path == STDIN or os.path.exists(path))


def _named(options: TaskOptions) -> str:
    files = "images, folders, patterns or zip archives"
    return files if options.takes == {"object"} else WAYS if options.takes == {"value"} else f"{files}; or {WAYS}"


def _not_taken(task: str, what: str, kind: str, *, hint: str) -> InputError:
    takes = "values (JSON), no files" if kind == "files" else "files, no values (JSON)"
    source = "standard input" if what == STDIN else shown(what)
    return InputError(f"task {task} takes {takes}: {source} cannot be submitted to it.", hint=hint)


def _no_values(task: str) -> str:
    return f"Name files or folders, or with --pipeline a pipeline whose task takes values; {task} does not."
