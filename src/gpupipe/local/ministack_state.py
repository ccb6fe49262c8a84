"""Saves ministack's state as it saves it at its end, but while it runs, and in an order that makes a kill harmless.

Queues are captured before tables and written after them. So what is read back after a kill may hold a message whose
effects on a table are saved too: it comes a second time, which every consumer here expects. The other way round, a
message would be gone and its effects with it.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

FIRST = "sqs"
_ATTEMPTS = 5
_PATIENCE_S = 30.0

log = logging.getLogger(__name__)
Getters = Mapping[str, Callable[[], Any]]


def save() -> None:
    """Save every service in use; called from a thread beside ministack's event loop."""
    from ministack import app
    from ministack.core import persistence

    captured = asyncio.run_coroutine_threadsafe(_on_loop(app), app._MAIN_LOOP).result(_PATIENCE_S)
    for name in reversed(captured):
        persistence.save_state(name, captured[name])


async def _on_loop(app: Any) -> dict[str, Any]:
    # On ministack's own loop nothing else changes tables and objects meanwhile.
    return capture(app._build_persistence_save_dict())


def capture(getters: Getters) -> dict[str, Any]:
    """The state of every service that has any, queues first; a copy that nobody changes any more."""
    states: dict[str, Any] = {}
    for name in sorted(getters, key=lambda name: name != FIRST):
        state = _captured(getters[name])
        if state is not None:
            states[name] = state
    return states


def _captured(getter: Callable[[], Any]) -> Any:
    """A service's state. Its own threads (functions, event sources) may change it while it is copied: try again."""
    for attempt in range(_ATTEMPTS):
        try:
            return getter()
        except RuntimeError:  # dictionary changed size during iteration
            if attempt == _ATTEMPTS - 1:
                raise
    return None
