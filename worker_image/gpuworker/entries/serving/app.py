"""The ASGI application: `GET /ping` and `POST /invocations`, from a request's head to its answer."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hmac
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from gpuworker.contract import ContractError
from gpuworker.entries.message_handler import require_task
from gpuworker.entries.serving import requests
from gpuworker.entries.serving.answers import Answer, Refused, problem, refusal
from gpuworker.entries.serving.bodies import Bodies, Disconnected, Receive
from gpuworker.entries.serving.direct import Form, Image
from gpuworker.entries.serving.model_dir import OptionsError, merge
from gpuworker.entries.serving.reading import Buckets
from gpuworker.entries.serving.requests import Format, Head
from gpuworker.entries.serving.service import Service
from gpuworker.entries.serving.shards import SHARE_OF_TIMEOUT, Stop
from gpuworker.process.memory import budget_bytes

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TOKEN_HEADER = "x-gpupipe-caller-token"
REQUESTS_AT_MOST = 256
JSON_BYTES = 16 * 1024**2
"""A shard of 256 items has a tenth of a megabyte."""
LARGEST_BODY = 1024**3
"""SageMaker's limit of an asynchronous invocation."""
_PATHS = {"/ping": ("GET", "HEAD"), "/invocations": ("POST",)}
_LINGER_S = 1.0


class App:
    """One process's application. Its calls run in one event loop."""

    def __init__(
        self,
        service: Service,
        *,
        local_only: bool = False,
        caller_token: str = "",
        memory_bytes: int | None = None,
    ) -> None:
        """`local_only` refuses what a web page in this machine's browser could send; `caller_token`, where there is
        one, is asked of every caller: other users of a machine can connect to its loopback, and a request may name any
        object that this process can read."""
        self._service, self._local_only, self._caller_token = service, local_only, caller_token.encode()
        self._bodies = Bodies((memory_bytes or budget_bytes()) // 2)
        self._buckets: Buckets | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        head = Head.of(scope)
        self._service.in_work += 1
        try:
            answer = await self._answer(head, receive)
            await _respond(head, answer, receive, send)
            if head.path != "/ping":
                self._tell(head, answer.status, answer.code, started)
        except Disconnected:
            self._tell(head, 499, "disconnected", started)
        finally:
            self._service.in_work -= 1

    def _tell(self, head: Head, status: int, code: str, started: float) -> None:
        inference_id = {"inference_id": head.inference_id} if head.inference_id else {}
        seconds = round(time.perf_counter() - started, 4)
        kind = head.headers.get("content-type", "")[:100]
        more = {**({"code": code} if code else {}), **inference_id}
        self._service.log.info("request", path=head.path[:200], status=status, type=kind, seconds=seconds, **more)

    async def _answer(self, head: Head, receive: Receive) -> Answer:
        """What to answer. Raises Disconnected; every other exception is a bug and becomes a 500."""
        try:
            if self._local_only and head.is_from_elsewhere:
                raise refusal(403, "forbidden", "only programs of this machine may call this address")
            self._require_token(head)
            _require_known(head)
            if head.path == "/ping":
                return self._service.not_ready() or Answer.of({"status": "ready"})
            return await self._invocation(head, receive)
        except Refused as answer:
            return answer.answer
        except Disconnected:
            raise
        except Exception as error:
            self._service.log.error("request_failed", error, path=head.path[:200], inference_id=head.inference_id)
            return problem(500, "failed", f"{type(error).__name__}: {error}")

    async def _invocation(self, head: Head, receive: Receive) -> Answer:
        self._require_room()
        media_type, wish = head.media_type, head.accepts
        limit = JSON_BYTES if media_type == requests.JSON else self._largest_image
        with self._bodies.hold() as held:
            body = await held.read(head, receive, limit_bytes=limit)
            self._require_room()
            if media_type != requests.JSON:
                options = self._service.answer_options(self._service.options)
                return await self._image(_image_of(body, media_type, options), wish, receive)
            document = requests.read_document(body)
            if requests.is_shard(document):
                return await self._shard(document, receive)
            reference = requests.read_reference(document)
            image = self._image_at(reference)
            return await self._image(image, wish, receive, metadata=reference.metadata)

    def _require_token(self, head: Head) -> None:
        given = head.headers.get(TOKEN_HEADER, "").encode()
        if self._caller_token and not hmac.compare_digest(given, self._caller_token):
            raise refusal(403, "forbidden", f"the header {TOKEN_HEADER} does not hold this container's token")

    def _require_room(self) -> None:
        if answer := self._service.not_ready():
            raise Refused(answer)
        if self._service.in_work > REQUESTS_AT_MOST:
            raise refusal(503, "overloaded", f"{REQUESTS_AT_MOST} requests are in work; try again")

    @property
    def _largest_image(self) -> int:
        return min(int(self._service.options.get("max_bytes") or LARGEST_BODY), LARGEST_BODY, self._bodies.limit_bytes)

    # --- one image ---

    def _image_at(self, reference: requests.Reference) -> Image:
        try:
            options = self._service.answer_options(merge(reference.options, self._service.options))
        except OptionsError as error:
            raise refusal(422, "bad_options", str(error)) from error
        if self._buckets is None:
            self._buckets = Buckets(self._service.context.storage)
        fetch = functools.partial(self._buckets.fetch, reference, limit_bytes=self._largest_image)
        return Image(name=reference.key, size=0, options=options, fetch=fetch, sidecar=reference.sidecar)

    async def _image(
        self, image: Image, wish: Format, receive: Receive, *, metadata: Mapping[str, Any] | None = None
    ) -> Answer:
        service = self._service
        header = None
        if wish == "coco":
            # A request may name an engine that has yet to be loaded, which takes minutes.
            header = await asyncio.to_thread(service.context.task.shard_header, image.options)
        form = Form(header=header, variant=service.settings.variant, metadata=metadata)
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Answer] = loop.create_future()

        def on_answer(answer: Answer) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended, and the process with it
                loop.call_soon_threadsafe(_set, answered, answer)

        shard_run = service.start_image(image, form, on_answer)
        try:
            await _first(answered, receive, timeout_s=SHARE_OF_TIMEOUT * service.settings.invocation_timeout_s)
        finally:  # whoever is told nothing any more, or that it took too long, needs no result
            over = "the invocation's time was over before the image was done; invocation_timeout_s raises it"
            shard_run.give_up(problem(503, "time_is_up", over))
        return await answered

    # --- a shard ---

    async def _shard(self, document: Mapping[str, Any], receive: Receive) -> Answer:
        service, loop = self._service, asyncio.get_running_loop()
        try:
            self._require_pipelines(document)
            shard = requests.read_shard(document, pipeline=service.settings.pipeline)
            require_task(shard, service.settings.task, service.context.task)
        except ContractError as error:
            return await loop.run_in_executor(None, self._unusable, document, str(error))
        work = service.take_shard(shard)
        if work is None:
            names = {"job": shard.job, "number": shard.number, "generation": shard.generation}
            return Answer.of({"status": "elsewhere", **names, "done": 0, "failed": 0})
        answered = loop.run_in_executor(service.threads, service.run_shard, shard, work)
        try:
            await _first(answered, receive, timeout_s=None)
        except Disconnected:
            work.stop(Stop.DISCONNECTED)
            await answered
            raise
        return answered.result()

    def _require_pipelines(self, document: Mapping[str, Any]) -> None:
        """Raises Refused for a shard of another pipeline: all of a stack share a ledger, but results go into ours."""
        own, given = self._service.settings.pipeline, document.get("pipeline")
        if given != own:
            raise refusal(422, "foreign_shard", f"this endpoint is of the pipeline {own}, and the shard of {given!r}")

    def _unusable(self, document: Mapping[str, Any], reason: str) -> Answer:
        place = requests.place_of(document)
        self._service.log.error("shard_not_understood", reason=reason, place=place)
        if place is not None:
            self._service.mark_dead(place, reason)
        return problem(422, "unusable_shard", reason)


def _image_of(body: bytes, media_type: str, options: Mapping[str, Any]) -> Image:
    if not body:
        raise refusal(400, "empty", "the body is empty; send the bytes of an image file")
    return Image(name=f"image.{requests.IMAGES[media_type]}", size=len(body), options=options, fetch=lambda: body)


def _require_known(head: Head) -> None:
    """Raises Refused: 404 for another path, 405 for another method."""
    methods = _PATHS.get(head.path)
    if methods is None:
        raise refusal(404, "not_found", f"there is no {head.path[:200]}; there are {' and '.join(_PATHS)}")
    if head.method not in methods:
        message = f"{head.path} takes {methods[0]}, not {head.method}"
        raise Refused(problem(405, "method_not_allowed", message, headers={"allow": ", ".join(methods)}))


def _set(future: asyncio.Future[Answer], answer: Answer) -> None:
    if not future.done():
        future.set_result(answer)


async def _first(answered: asyncio.Future[Answer], receive: Receive, *, timeout_s: float | None) -> None:
    """Wait for an answer, or for its time to be up, while its client waits as well. Raises Disconnected."""
    gone = asyncio.ensure_future(receive())  # after the body there comes nothing but a disconnect
    try:
        await asyncio.wait((answered, gone), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        if gone.done() and not answered.done():
            raise Disconnected
    finally:
        gone.cancel()


async def _respond(head: Head, answer: Answer, receive: Receive, send: Send) -> None:
    """Send the answer. Where the body was not read to its end, read on for a moment, or a client that is still
    sending would see a broken connection instead of the answer."""
    unread = answer.code in ("too_large", "unsupported_media_type", "overloaded") and head.method == "POST"
    headers = {"content-type": "application/json", "content-length": str(len(answer.body)), **answer.headers}
    if unread:
        headers["connection"] = "close"
    wire = [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": answer.status, "headers": wire})
    body = b"" if head.method == "HEAD" else answer.body
    await send({"type": "http.response.body", "body": body, "more_body": unread})
    if unread:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_S):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})
