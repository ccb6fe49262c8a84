"""A hub on 127.0.0.1 that knows one repository, as huggingface_hub's client asks for it, and can be told to fail."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REPOSITORY = "meadow/trees-1"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_" + "x" * 30
WEIGHTS = bytes(range(256)) * 400
FILES = {
    "model.safetensors": WEIGHTS,
    "config.json": b'{"model_type": "trees"}',
    "merges.txt": b"t r\n",
    "pytorch_model.bin": b"may run code",
    "README.md": b"# Trees",
}
_RESOLVE = re.compile(rf"/{REPOSITORY}/resolve/([^/]+)/(.+)")
_INFO = re.compile(rf"/api/models/{REPOSITORY}/revision/([^/?]+)")
_TREE = re.compile(rf"/api/models/{REPOSITORY}/tree/([^/?]+)")


@dataclass(eq=False)
class FakeHub:
    """Answers until `close`; what it was asked is counted by path."""

    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    needs_token: bool = False
    gated: bool = False
    fail_next: list[int] = field(default_factory=list)
    """Statuses of the next answers, before all is well."""
    break_off: Counter[str] = field(default_factory=Counter)
    """How often each file still breaks off in the middle."""
    spoil: Counter[str] = field(default_factory=Counter)
    """How often each file still arrives with other bytes than were told."""
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0]
        self.asked[path] += 1
        sent = (request.headers.get("Authorization") or "").removeprefix("Bearer ")
        if REPOSITORY in path:  # the client asks other things of its own accord, as nobody
            self.tokens.add(sent)
        if self.fail_next:
            self._refuse(request, self.fail_next.pop(0))
        elif sent and sent != TOKEN:
            self._refuse(request, 401, message="Invalid credentials in Authorization header")
        elif self.needs_token and not sent:
            self._refuse(request, 401, code="RepoNotFound")
        elif found := _INFO.fullmatch(path):
            self._info(request, found[1])
        elif _TREE.fullmatch(path):
            self._tree(request)
        elif found := _RESOLVE.fullmatch(path):
            self._file(request, found[1], found[2])
        else:
            self._refuse(request, 404, code="RepoNotFound")

    def _info(self, request: BaseHTTPRequestHandler, revision: str) -> None:
        if revision != COMMIT:
            self._refuse(request, 404, code="RevisionNotFound")
            return
        siblings = [_sibling(path, data) for path, data in self.files.items()]
        self._send(request, json.dumps({"id": REPOSITORY, "sha": COMMIT, "siblings": siblings}).encode(), {})

    def _tree(self, request: BaseHTTPRequestHandler) -> None:
        entries = [_entry(path, data) for path, data in self.files.items()]
        self._send(request, json.dumps([*entries, {"type": "directory", "path": "onnx", "oid": "0" * 40}]).encode(), {})

    def _file(self, request: BaseHTTPRequestHandler, revision: str, path: str) -> None:
        if self.gated:
            self._refuse(request, 403, code="GatedRepo")
            return
        data = self.files[path]
        headers = {"ETag": f'"{_etag(path, data)}"', "X-Repo-Commit": revision}
        if request.command == "GET" and self.spoil[path]:
            self.spoil[path] -= 1
            data = bytes(len(data))
        self._send(request, data, headers, breaks_off=request.command == "GET" and self._breaks_off(path))

    def _breaks_off(self, path: str) -> bool:
        left = self.break_off[path]
        self.break_off[path] = max(0, left - 1)
        return left > 0

    def _send(
        self, request: BaseHTTPRequestHandler, data: bytes, headers: dict[str, str], *, breaks_off: bool = False
    ) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range") or "")
        start = int(asked[1]) if asked else 0
        if asked:
            self.ranges.append(asked[0])
            headers = {**headers, "Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        request.send_response(206 if asked else 200)
        for name, value in {**headers, "Content-Length": str(len(data) - start)}.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "GET":
            body = data[start:]
            request.wfile.write(body[: len(body) // 2] if breaks_off else body)
        request.close_connection = breaks_off

    @staticmethod
    def _refuse(request: BaseHTTPRequestHandler, status: int, *, code: str = "", message: str = "") -> None:
        request.send_response(status)
        for name, value in (("X-Error-Code", code), ("X-Error-Message", message), ("Content-Length", "0")):
            if value:
                request.send_header(name, value)
        request.end_headers()


def _entry(path: str, data: bytes) -> dict[str, Any]:
    entry = {"type": "file", "path": path, "size": len(data), "oid": _git_sha1(data)}
    if path.endswith((".safetensors", ".bin")):
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry


def _sibling(path: str, data: bytes) -> dict[str, Any]:
    entry = _entry(path, data)
    lfs = {"lfs": {**entry["lfs"], "sha256": entry["lfs"]["oid"]}} if "lfs" in entry else {}
    return {"rfilename": path, "size": len(data), "blobId": entry["oid"], **lfs}


def _etag(path: str, data: bytes) -> str:
    return hashlib.sha256(data).hexdigest() if path.endswith(".safetensors") else _git_sha1(data)


def _git_sha1(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@contextmanager
def fake_hub() -> Iterator[FakeHub]:
    """A hub that answers for the length of a `with` block."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            hub.answer(self)

        def do_HEAD(self) -> None:
            hub.answer(self)

        def log_message(self, *_: Any) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
