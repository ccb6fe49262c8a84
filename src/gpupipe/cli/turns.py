"""One at a time: a command that changes the stack waits for the one that does, and only then plans."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from gpupipe.cli.screen import Screen

if TYPE_CHECKING:
    from gpupipe.aws import Aws

T = TypeVar("T")
NoWait = Annotated[bool, typer.Option("--no-wait", help="Fail at once where another command is changing the stack.")]
ATTEMPTS = 3
"""Somebody may come between a plan and its lock; who meets that so often is not alone, and should ask who it is."""


def in_turn(aws: Aws, screen: Screen, change: Callable[[], T], *, command: str, wait: bool) -> T:
    """What `change`, which plans and applies, returns; made anew where somebody came between its plan and its lock.

    Waits 120 s at most for all attempts together. Raises LockedError where somebody still changes the stack then, and
    at once without `wait`; StalePlanError; StoppedError after Ctrl-C; and what `change` raises.
    """
    from gpupipe.errors import LockedError, LockLostError, StalePlanError
    from gpupipe.lock import WAIT_S, wait_until_free

    left_s = WAIT_S if wait else 0.0
    for attempt in range(1, ATTEMPTS + 1):
        left_s -= wait_until_free(aws, command=command, within_s=left_s, say=screen.say)
        try:
            return change()
        except LockLostError:
            raise
        except (LockedError, StalePlanError) as error:
            if not wait or attempt == ATTEMPTS:
                raise
            screen.say(f"{error.message} Planning anew.")
    raise AssertionError("the last attempt returns or raises")
