"""Which setting of gpupipe.toml ended something that took too long, read from what was said of it; and what to do."""

from __future__ import annotations

import re

# The worker names the setting; SageMaker ends an invocation in its own words, and a container just before it.
_NAMED = re.compile(r"\b(item_timeout_s|invocation_timeout_s)\b")
_OF_AN_INVOCATION = re.compile(r"invocation timed out|time_is_up|invocation's time was over", re.IGNORECASE)
_HOW = {
    "item_timeout_s": "item_timeout_s of the pipeline, its seconds for an {input}, was over",
    "invocation_timeout_s": "invocation_timeout_s of the endpoint, its seconds for a request, was over (3600 is the "
    'most; realtime has 60, and mode = "async" more)',
}


def limit_in(message: str) -> str:
    """The setting that applied, by what a worker or SageMaker said; "" where it was none, or an older worker."""
    if found := _NAMED.search(message):
        return found[1]
    return "invocation_timeout_s" if _OF_AN_INVOCATION.search(message) else ""


def time_advice(message: str, *, is_value: bool = False) -> str:
    """What was too short, and what to do; "" where no setting applied."""
    limit = limit_in(message)
    if not limit:
        return ""
    how = _HOW[limit].format(input="item" if is_value else "image")
    less = "ask for less" if is_value else "use a smaller image"
    return f"{how}: raise it in gpupipe.toml and run `gpupipe up`, or {less}."
