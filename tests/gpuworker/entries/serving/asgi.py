"""A client of the app without a socket: what it is sent, what it answers, and a client that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from tests.gpuworker.entries.serving.container import Reply
from tests.gpuworker.station import until

from gpuworker.entries.serving.app import App


async def send(
    app: App,
    body: bytes | Sequence[bytes] = b"",
    content_type: str = "image/png",
    *,
    method: str = "POST",
    path: str = "/invocations",
    headers: Mapping[str, str] | None = None,
    gone: asyncio.Event | None = None,
) -> Reply:
    """One request, its body in one piece or several; `gone` makes the client go away."""
    left = asyncio.Event() if gone is None else gone
    chunks = [body] if isinstance(body, bytes) else list(body)
    given = {"content-type": content_type, **(headers or {})}
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
    }
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        if chunks:
            chunk = chunks.pop(0)
            return {"type": "http.request", "body": chunk, "more_body": bool(chunks)}
        await left.wait()
        return {"type": "http.disconnect"}

    async def take(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, take)
    if not sent:
        return Reply(status=0, body=b"")
    answered = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return Reply(status=sent[0]["status"], body=b"".join(part["body"] for part in sent[1:]), headers=answered)


async def happened(look: Callable[[], object]) -> None:
    """Wait until `look` is true, while the app's loop goes on."""
    await asyncio.to_thread(until, look)


def sent(app: App, *arguments: Any, **named: Any) -> Reply:
    """`send`, for a test that has no loop."""
    return asyncio.run(send(app, *arguments, **named))
