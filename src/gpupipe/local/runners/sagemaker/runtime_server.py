"""The sagemaker-runtime service: InvokeEndpoint and InvokeEndpointAsync on a port of their own, behind the gate.

It listens before the emulators do (their Lambda functions are told its address) and answers 503 until the
runner was opened. Names and limits are those of botocore's service model `sagemaker-runtime`, 2017-05-13.
"""

import asyncio
import json
import re
import socket
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import unquote

from gpupipe.local.gate import Gate, Message, Receive, Scope, Send
from gpupipe.local.signatures import Signatures
from gpupipe.threads import start_daemon

BODY_MAX_BYTES = 25 * 2**20  # InvokeEndpoint; what an asynchronous request carries itself is limited further
_THREADS = 128
_PATH = re.compile(r"/endpoints/([^/]+)/(invocations|async-invocations)/?")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request as it came in; header names in lower case."""

    endpoint: str
    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name.lower(), "")


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def refusal(status: int, code: str, message: str, **more: Any) -> Answer:
    """An error as the AWS SDKs read it."""
    body = json.dumps({"Message": message, "message": message, **more}).encode()
    headers = {"x-amzn-ErrorType": code, "Content-Type": "application/json"}
    return Answer(status=status, body=body, headers=headers)


def service_unavailable(message: str) -> Answer:
    return refusal(503, "ServiceUnavailable", message)


Operation = Callable[[Call], Answer]


class RuntimeServer:
    """The HTTP side, in a thread of the supervisor; `operations` do the work."""

    def __init__(self, listener: socket.socket, *, signatures: Signatures) -> None:
        self.port = int(listener.getsockname()[1])
        self.operations: Mapping[str, Operation] = {}
        """`invocations` and `async-invocations`, once there is somebody to do them."""
        self._listener = listener
        self._gate = Gate(self._app, port=self.port, signatures=signatures)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="runtime")
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        listener.listen(256)  # from now on connections are accepted, and answered in a moment
        self._thread = start_daemon(self._serve, name="sagemaker-runtime")

    def close(self) -> None:
        """Take no more requests."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(timeout=5.0)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _serve(self) -> None:
        from hypercorn.asyncio import serve
        from hypercorn.config import Config

        config = Config()
        config.bind = [f"fd://{self._listener.detach()}"]
        config.keep_alive_timeout = 75
        config.graceful_timeout = 1
        config.loglevel = "WARNING"
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(serve(cast("Any", self._gate), config, shutdown_trigger=self._ended.wait))

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        await _send(send, await self._answer(scope, receive))

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        match = _PATH.fullmatch(scope["path"])
        if match is None or scope["method"] != "POST":
            return refusal(404, "UnknownOperationException", f"no such operation: {scope['method']} {scope['path']}")
        body = await _body(receive)
        if body is None:
            return refusal(413, "ValidationError", f"the body is larger than {BODY_MAX_BYTES} bytes")
        operation = self.operations.get(match[2])
        if operation is None:
            return service_unavailable("the endpoints are being looked up")
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        call = Call(endpoint=unquote(match[1]), headers=headers, body=body)
        return await asyncio.get_running_loop().run_in_executor(self._threads, operation, call)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    parts: list[bytes] = []
    size = 0
    message: Message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > BODY_MAX_BYTES:
            return None
    return b"".join(parts)


async def _send(send: Send, answer: Answer) -> None:
    named = {**answer.headers, "x-amzn-RequestId": str(uuid.uuid4()), "Content-Length": str(len(answer.body))}
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
