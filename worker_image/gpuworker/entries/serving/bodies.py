"""Bodies of requests, read whole: bounded one by one and all together, while they stream in."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from gpuworker.entries.serving.answers import Refused, refusal
from gpuworker.entries.serving.requests import Head

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

BODY_S = 120.0
"""For a body to arrive; a gigabyte at 10 MB/s."""


class Disconnected(Exception):  # noqa: N818 - an answer
    """The client has gone."""


class Bodies:
    """How many bytes all requests together hold before the stream's budget takes them over. For one event loop."""

    def __init__(self, limit_bytes: int, *, body_s: float = BODY_S) -> None:
        self.limit_bytes = limit_bytes
        self._body_s = body_s
        self.held_bytes = 0

    @contextmanager
    def hold(self) -> Iterator[Held]:
        """Room for one body, given back at the end."""
        held = Held(self, self._body_s)
        try:
            yield held
        finally:
            self.held_bytes -= held.size


class Held:
    """One body's share."""

    def __init__(self, bodies: Bodies, body_s: float) -> None:
        self._bodies, self._body_s = bodies, body_s
        self.size = 0

    async def read(self, head: Head, receive: Receive, *, limit_bytes: int) -> bytes:
        """The body. Raises Refused: 413 above the limit, 503 where others hold the memory, 400 for a slow one."""
        announced = head.content_length
        if announced is not None:
            self._require_within(announced, limit_bytes)
            self._take(announced)
        try:
            async with asyncio.timeout(self._body_s):
                return await self._read(receive, limit_bytes)
        except TimeoutError as error:
            raise refusal(400, "truncated", f"the body did not arrive within {self._body_s:g} s") from error

    async def _read(self, receive: Receive, limit_bytes: int) -> bytes:
        chunks: list[bytes] = []
        count = 0
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            chunk: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            count += len(chunk)
            self._require_within(count, limit_bytes)
            if count > self.size:  # sent in chunks, without its length
                self._take(count - self.size)
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _require_within(self, size: int, limit_bytes: int) -> None:
        if size > limit_bytes:
            raise _too_large(size, limit_bytes)

    def _take(self, size: int) -> None:
        bodies = self._bodies
        if bodies.held_bytes and bodies.held_bytes + size > bodies.limit_bytes:
            raise refusal(503, "overloaded", "other requests hold the memory for bodies; try again")
        bodies.held_bytes += size
        self.size += size


def _too_large(size: int, limit_bytes: int) -> Refused:
    message = f"the body has {size:,} bytes or more; the limit is {limit_bytes:,}"
    return refusal(413, "too_large", f"{message}. For an image the option max_bytes changes it")
