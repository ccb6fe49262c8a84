"""A bucket in memory behind HTTP that answers late: every request waits LATENCY on its way in and on its way out.

    python -m benchmarks.latency_s3 LATENCY_MS      prints its port; ends when its standard input is closed

Only what a worker asks of S3: GET and PUT of whole objects, If-None-Match, ETag and version. A process of its own on
one event loop (about 0.1 ms of CPU a request), so that it takes as little as possible from the cores it measures.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import sys
from typing import ClassVar

_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client connection: requests come one after the other."""

    objects: ClassVar[dict[bytes, tuple[bytes, bytes]]] = {}
    versions = itertools.count(1)
    latency_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = bytearray()

    def data_received(self, data: bytes) -> None:
        self.received += data
        end = self.received.find(_END)
        if end < 0:
            return
        head = bytes(self.received[:end])
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        length = int(lowered[at + 15 :].split(b"\r", 1)[0]) if at >= 0 else 0
        if len(self.received) < end + 4 + length:
            if b"100-continue" in lowered and len(self.received) == end + 4:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        body = bytes(self.received[end + 4 : end + 4 + length])
        del self.received[: end + 4 + length]
        method, path, _ = head.split(b" ", 2)
        asyncio.get_running_loop().call_later(2 * self.latency_s, self.answer, method, path, lowered, body)

    def answer(self, method: bytes, path: bytes, head: bytes, body: bytes) -> None:
        """Do what was asked, after the time that the way there and back would have taken."""
        found = self.objects.get(path)
        if method == b"PUT":
            if b"if-none-match: *" in head and found:
                self.send(b"412 Precondition Failed")
                return
            etag = hashlib.md5(body, usedforsecurity=False).hexdigest().encode()
            self.objects[path] = body, etag
            self.send(b"200 OK", etag=etag)
        elif found:
            self.send(b"200 OK", found[0], etag=found[1])
        else:
            self.send(b"404 Not Found")

    def send(self, status: bytes, body: bytes = b"", etag: bytes = b"") -> None:
        tag = b'ETag: "%s"\r\nx-amz-version-id: %d\r\n' % (etag, next(self.versions)) if etag else b""
        date = b"Last-Modified: Wed, 21 Oct 2026 07:28:00 GMT\r\n"
        self.transport.write(b"HTTP/1.1 %s\r\n%s%sContent-Length: %d\r\n\r\n" % (status, tag, date, len(body)) + body)


async def serve(latency_s: float) -> None:
    """Serve until standard input is closed."""
    Connection.latency_s = latency_s
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) / 1000))
