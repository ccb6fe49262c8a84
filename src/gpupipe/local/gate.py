"""The gate before everything that listens: it lets in this machine's own signed requests, and no web page's.

Listening on 127.0.0.1 is not enough. A page open in the person's browser can send requests to that address (directly,
or by DNS rebinding under its own host name), and the emulator behind this gate runs Lambda code. So three things must
be right: `Host` is this very address (rebinding always carries the attacker's name), neither `Origin` nor
`Sec-Fetch-Site` is there (browsers add them, SDKs and the AWS CLI never do), and the credential is the stack's own
(a random account number, kept in a file only its owner can read, so other users of the machine stay outside too).
"""

import json
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

READY_PATH = "/_gpupipe/ready"
_ADMIN_PREFIXES = ("/_ministack/", "/_localstack/", "/moto-api")
_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/")
_QUERY_CREDENTIAL = re.compile(r"(?:^|&)X-Amz-Credential=([^/&%]+)(?:/|%2F)", re.IGNORECASE)
_QUERY_KEY_ID = re.compile(r"(?:^|&)AWSAccessKeyId=([^&]+)")


class Gate:
    """An ASGI application that refuses what is not ours and passes the rest on to `app`."""

    def __init__(self, app: App, *, port: int, access_key: str) -> None:
        self._app = app
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._access_key = access_key
        self.changes = 0  # how many requests that may have changed something were let in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if scope["type"] != "http":  # nothing of ours speaks websockets
            await send({"type": "websocket.close", "code": 1008})
        elif refusal:
            await _answer(send, 403, {"error": "Forbidden", "message": refusal})
        elif scope["path"] == READY_PATH:
            await _answer(send, 200, {"ready": True})
        else:
            self.changes += scope["method"] not in ("GET", "HEAD")
            await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        """Why this request may not pass, or None."""
        headers = _headers(scope["headers"])
        if headers.get("host", "").lower() not in self._hosts:
            return "the Host header is not this server's own address"
        if "origin" in headers or "sec-fetch-site" in headers:
            return "requests from web pages are refused"
        if scope["path"] == READY_PATH:
            return None
        if scope["path"].startswith(_ADMIN_PREFIXES):
            return "the emulators' administration paths are closed"
        if _credential(headers, scope["query_string"].decode("latin-1")) != self._access_key:
            return "the request is not signed with this stack's access key"
        return None


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in raw}


def _credential(headers: dict[str, str], query: str) -> str | None:
    """The access key a request was signed with: header, or presigned (signature version 4, or the older 2)."""
    if "authorization" in headers:
        match = _CREDENTIAL.search(headers["authorization"])
    else:
        match = _QUERY_CREDENTIAL.search(query) or _QUERY_KEY_ID.search(query)
    return match.group(1) if match else None


async def _answer(send: Send, status: int, body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
