"""How a command that failed says so: to people on stderr, to programs as the one JSON document that they expect."""

from __future__ import annotations

import json
import os
import shlex
import sys
import traceback
from typing import Any

from gpupipe.cli.screen import Screen, printable
from gpupipe.errors import ApplyError, GpupipeError, StoppedError, UsageError

DEBUG = "GPUPIPE_DEBUG"


def tell(error: Exception) -> int:
    """Say what happened; the exit code."""
    if type(error).__name__ == "NoArgsIsHelpError":
        sys.stderr.write(f"{error}\n")
        return UsageError.exit_code
    told = _as_ours(error)
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    if _json_asked_for() and not Screen.has_answered:
        sys.stdout.write(json.dumps(_document(told), ensure_ascii=False, default=str) + "\n")
    _on_stderr(told)
    return told.exit_code


def _as_ours(error: Exception) -> GpupipeError:
    if isinstance(error, GpupipeError):
        return error
    if hasattr(error, "format_message"):  # click's, wherever typer keeps its click
        return _usage(error)
    if type(error).__name__ == "Abort":
        return StoppedError("interrupted.")
    if isinstance(error, OSError) and error.strerror:
        about = f": {error.filename}" if error.filename else ""
        return GpupipeError(f"{error.strerror}{about}.", hint=f"{DEBUG}=1 before the command shows where.")
    return _unexpected(error)


def _usage(error: Any) -> UsageError:
    context = error.ctx
    command = context.command_path if context is not None else "gpupipe"
    message = str(error.format_message()).rstrip() or "a command is missing"
    return UsageError(message if message.endswith((".", "?")) else f"{message}.", hint=f"See `{command} --help`.")


def _unexpected(error: Exception) -> GpupipeError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "gpupipe" in frame.filename]
    where = f" at {os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else ""
    command = shlex.join(["gpupipe", *sys.argv[1:]])
    return GpupipeError(
        f"this is a mistake in gpupipe: {type(error).__name__}: {error}{where}.",
        hint=f"Please report it with the output of `{DEBUG}=1 {command}` and of `gpupipe logs`.",
    )


def _json_asked_for() -> bool:
    arguments = sys.argv[1:]
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--json" in before or "--jsonl" in before


def _document(error: GpupipeError) -> dict[str, Any]:
    about: dict[str, Any] = {"type": type(error).__name__, "message": error.message, "hint": error.hint}
    if isinstance(error, ApplyError):
        about |= {"receipt": error.receipt, "failures": [str(failure) for failure in error.failures]}
    return {"error": about}


def _on_stderr(error: GpupipeError) -> None:
    console = Screen().err
    if not isinstance(error, StoppedError):
        console.print("[bold red]error:[/]", end=" ")
    console.print(printable(error.message), markup=False, soft_wrap=True)
    if error.hint:
        console.print(f"  {printable(error.hint)}", markup=False, soft_wrap=True)
