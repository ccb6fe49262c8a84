"""An emulator that stops answering in the middle: so that a command is where a test wants it when Ctrl-C comes."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gpupipe.local.emulators import Account
from gpupipe.local.refused import service_of


@dataclass
class Hold:
    """What is to be held: requests by `method` whose path has `word` in it, after the first `passing` of them."""

    url: str
    """Of the server that holds."""
    method: str = ""
    word: str = ""
    passing: int = 0
    begun: threading.Event = field(default_factory=threading.Event)
    """Set once a request is held."""
    released: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def after(self, passing: int, method: str, word: str) -> Hold:
        """Hold from now on."""
        self.passing, self.method, self.word = passing, method, word
        self.begun.clear()
        self.released.clear()
        return self

    def release(self) -> None:
        """Hold nothing more. What was held stays without an answer."""
        self.method = ""
        self.released.set()

    def is_for(self, method: str, path: str) -> bool:
        with self._lock:
            if method != self.method or self.word not in path:
                return False
            self.passing -= 1
            return self.passing < 0


_OF_A_CONNECTION = {"host", "expect", "connection", "transfer-encoding", "content-length"}


@contextmanager
def holding(emulator: str, account: Account) -> Iterator[Hold]:
    """A server before that URL which passes everything on, signed for it, but for what it is told to hold."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Passing)
    server.daemon_threads = True
    hold = Hold(url=f"http://127.0.0.1:{server.server_port}")
    server.hold, server.emulator = hold, emulator.removeprefix("http://")  # type: ignore[attr-defined]
    server.account = account  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        hold.release()
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


class _Passing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        hold, emulator = self.server.hold, self.server.emulator  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if hold.is_for(self.command, self.path):
            hold.begun.set()
            hold.released.wait(120)
            self.close_connection = True
            return
        connection = http.client.HTTPConnection(emulator, timeout=60)
        try:
            connection.request(self.command, self.path, body=body, headers=self._signed(body))
            self._answer(connection.getresponse())
        except OSError:  # the command has gone
            self.close_connection = True
        finally:
            connection.close()

    def _signed(self, body: bytes) -> dict[str, str]:
        """The headers as their sender would have signed them for the emulator: the Host is part of what is signed."""
        account, emulator = self.server.account, self.server.emulator  # type: ignore[attr-defined]
        left_out = {*_OF_A_CONNECTION, "authorization", "x-amz-date", "x-amz-content-sha256"}
        sent = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
        request = AWSRequest(method=self.command, url=f"http://{emulator}{self.path}", data=body, headers=sent)
        service = service_of(self.headers.get("Authorization", ""), "")
        kind = S3SigV4Auth if service == "s3" else SigV4Auth
        kind(Credentials(account.access_key, account.secret_key), service, account.region).add_auth(request)
        return {**dict(request.headers), "Host": emulator}

    def _answer(self, answer: http.client.HTTPResponse) -> None:
        content = answer.read()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in _OF_A_CONNECTION:
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else None
        self.send_header("Content-Length", length or str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        """Quietly."""
