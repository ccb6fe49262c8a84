"""The gate before everything that listens: it lets in this machine's own signed requests, and no web page's.

Listening on 127.0.0.1 is not enough. A page open in the person's browser can send requests to that address (directly,
or by DNS rebinding under its own host name), other users of the machine can connect to it, and the emulator behind this
gate runs Lambda code. So three things must be right: `Host` is this very address (rebinding always carries the
attacker's name), neither `Origin` nor `Sec-Fetch-Site` is there (browsers add them, SDKs and the AWS CLI never do), and
the request is signed with the stack's secret key (random, in a file that only its owner can read).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from gpupipe.local.refused import refused, service_of
from gpupipe.local.signatures import RefusedError, Request, Signatures, is_link

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

READY_PATH = "/_gpupipe/ready"
_ADMIN_PREFIXES = ("/_ministack/", "/_localstack/", "/moto-api")
BODY_MAX_BYTES = 64 * 2**20
"""Of a request whose body has to be read before it is let in: all but S3's. A function's code is the largest."""
ON_TRUST_MAX_BYTES = 4 * BODY_MAX_BYTES
"""Of all such bodies that are being read: whoever knows the account's number can have them read."""
BODY_S = 60.0
"""For such a body to come; from a process of this machine."""


class Gate:
    """An ASGI application that refuses what is not ours and passes the rest on to `app`."""

    def __init__(self, app: App, *, port: int, signatures: Signatures, serves_links: bool = False) -> None:
        """`serves_links`: S3 is behind it, the only service with links."""
        self._app = app
        self._serves_links = serves_links
        self._hosts = {f"127.0.0.1:{port}", f"localhost:{port}"}
        self._signatures = signatures
        self._on_trust = 0  # bytes of bodies that are being read and not yet known to be ours
        self.changes = 0  # how many requests that may have changed something were let in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
        elif scope["type"] != "http":  # nothing of ours speaks websockets
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope["headers"])
        try:
            self._require_no_web_page(headers)
            if scope["path"] == READY_PATH:
                await _answer(send, 200, "application/json", b'{"ready": true}')
                return
            receive = await self._signed(scope, headers, receive)
        except RefusedError as error:
            service = service_of(headers.get("authorization", ""), scope["query_string"].decode("latin-1"))
            await _answer(send, 403, *refused(service, str(error)))
            return
        self.changes += scope["method"] not in ("GET", "HEAD")
        await self._app(scope, receive, send)

    def _require_no_web_page(self, headers: dict[str, str]) -> None:
        if headers.get("host", "").lower() not in self._hosts:
            raise RefusedError("the Host header is not this server's own address")
        if "origin" in headers or "sec-fetch-site" in headers:
            raise RefusedError("requests from web pages are refused")

    async def _signed(self, scope: Scope, headers: dict[str, str], receive: Receive) -> Receive:
        """What the application is to receive by: the body was read where the signature depends on it."""
        if scope["path"].startswith(_ADMIN_PREFIXES):
            raise RefusedError("the emulators' administration paths are closed")
        request = Request(
            method=scope["method"],
            path=scope["raw_path"].decode("latin-1"),
            query=scope["query_string"].decode("latin-1"),
            headers=headers,
        )
        if is_link(request) and not self._serves_links:
            raise RefusedError("the request is not signed with this stack's access key")
        if not self._signatures.needs_body(request):
            self._signatures.require_own(request)
            return receive
        body = await self._body(receive)
        self._signatures.require_own(request, body)
        return _again(body, receive)

    async def _body(self, receive: Receive) -> bytes:
        """The whole of it, on trust. Raises RefusedError where it is larger than any that is signed, or too slow."""
        parts: list[bytes] = []
        size, is_more = 0, True
        try:
            async with asyncio.timeout(BODY_S):
                while is_more:
                    message = await receive()
                    parts.append(message.get("body", b""))
                    size += len(parts[-1])
                    self._on_trust += len(parts[-1])
                    is_more = message.get("more_body", False)  # not so either where the client has gone
                    if size > BODY_MAX_BYTES or self._on_trust > ON_TRUST_MAX_BYTES:
                        raise RefusedError(f"the body is larger than {BODY_MAX_BYTES} bytes, or one of too many")
        except TimeoutError:
            raise RefusedError(f"the body did not come within {BODY_S:.0f} s") from None
        finally:
            self._on_trust -= size
        return b"".join(parts)


def _headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Names in lower case; the values of a repeated one joined, as they are signed."""
    headers: dict[str, str] = {}
    for name, value in raw:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _again(body: bytes, receive: Receive) -> Receive:
    """Gives `body`, and after it whatever comes."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def received() -> Message:
        return waiting.pop() if waiting else await receive()

    return received


async def _answer(send: Send, status: int, content_type: str, content: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
