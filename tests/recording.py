"""A server on this machine that answers nobody, and remembers what was asked of it."""

from __future__ import annotations

import contextlib
import http.server
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def recording() -> Iterator[tuple[str, list[str]]]:
    """Its address, and the paths (or hosts, of a proxy) that were asked for so far; each answer is 502."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def send_response(self, code: int, message: str | None = None) -> None:
            asked.append(self.path)
            super().send_response(code, message)

        def refuse(self) -> None:
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    for method in ("GET", "HEAD", "PUT", "POST", "DELETE", "CONNECT"):
        setattr(Handler, f"do_{method}", Handler.refuse)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
