"""invoke: one image to an endpoint, and its answer now.

A realtime endpoint is sent the request and answers. An asynchronous one reads it from the bucket and writes its answer
there; whichever of the two objects that it names comes first, answer or failure, ends the waiting. The request lives
in SageMaker's queue: who stops waiting loses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from gpupipe.aws import absent_ok
from gpupipe.errors import InvocationError, StoppedError, UsageError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.endpoints import EndpointState, at_endpoint, describe, no_endpoint, refused
from gpupipe.jobs.refusals import read_refusal
from gpupipe.jobs.requests import Request, prepare

Accept = Literal["json", "coco"]
ACCEPT: Mapping[Accept, str] = {"json": "application/json", "coco": "application/json; format=coco"}
ASYNC_PATIENCE_S = 900.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 2.0
LOOK_EVERY_S = 10.0
"""Seconds between two looks at the endpoint, to say why it takes so long."""


@dataclass(frozen=True, kw_only=True)
class InvokeProgress:
    """How far it is."""

    step: Literal["upload", "send", "wait"]
    waited_s: float = 0.0
    endpoint: EndpointState | None = None
    is_paused: bool = False
    """`gpupipe stop` keeps the pipeline from working."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model made of one image."""

    pipeline: str
    image: str
    mode: str
    variant: str
    """Which variant answered; "" where nobody says so."""
    seconds: float
    """From sending to the answer, as seen from here."""
    inference_id: str
    content_type: str
    body: bytes
    location: str = ""
    """Where an asynchronous answer lies."""

    @cached_property
    def result(self) -> Any:
        """The body as JSON values; None where it is something else."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        about = {name: value for name, value in vars(self).items() if name not in ("body", "result")}
        return {**about, "seconds": round(self.seconds, 3), "result": self.result}


OnProgress = Callable[[InvokeProgress], None]


def invoke(
    ctx: JobsContext,
    image: str,
    *,
    variant: str = "",
    prompts: Sequence[str] = (),
    negative_prompts: Sequence[str] = (),
    assignments: Sequence[str] = (),
    accept: Accept = "json",
    timeout_s: float | None = None,
    on_progress: OnProgress = lambda _: None,
) -> Answer:
    """Have the pipeline's endpoint work on the file `image`, with what lies beside it.

    Prompts and `assignments` (`key=value`) are as for a job, over what the endpoint does by itself.

    Raises InputError and UsageError before anything is sent, InvocationError where the model refuses or fails, or does
    not answer within `timeout_s` (an asynchronous one; realtime has SageMaker's own 60 s), NotDeployedError, AwsError,
    and StoppedError on Ctrl-C.
    """
    if variant:
        _require_variant(ctx, variant)
    request = prepare(
        ctx, image, variant=variant, prompts=prompts, negative_prompts=negative_prompts, assignments=assignments
    )
    if ctx.invocation.is_realtime:
        return _Realtime(ctx, request, variant, accept, on_progress).answer()
    return _Asynchronous(ctx, request, accept, timeout_s or ASYNC_PATIENCE_S, on_progress).answer()


def _require_variant(ctx: JobsContext, variant: str) -> None:
    if not ctx.invocation.is_realtime:
        message = "an asynchronous request cannot choose its variant: the weights in gpupipe.toml do."
        raise UsageError(message, hint='Leave --variant out, or set mode = "realtime".')
    known = ctx.kind.variants(ctx.settings)
    if variant not in known:
        raise UsageError(f"pipeline {ctx.pipeline} has no variant {variant!r}.", hint=f"It has {', '.join(known)}.")


# --- realtime ---


class _Realtime:
    """One request that is answered at once."""

    def __init__(
        self, ctx: JobsContext, request: Request, variant: str, accept: Accept, on_progress: OnProgress
    ) -> None:
        self._ctx, self._request, self._variant, self._accept = ctx, request, variant, accept
        self._on_progress = on_progress

    def answer(self) -> Answer:
        request = self._request
        body = request.body(self._ctx)
        self._on_progress(InvokeProgress(step="send"))
        begun = self._ctx.aws.clock.monotonic()
        with at_endpoint(self._ctx, str(request.file)):
            told = self._ctx.aws.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=self._ctx.invocation.endpoint,
                Body=body,
                ContentType=request.content_type,
                Accept=ACCEPT[self._accept],
                InferenceId=request.identity,
                **({"TargetVariant": self._variant} if self._variant else {}),
            )
            content = told["Body"].read()
        return Answer(
            pipeline=self._ctx.pipeline,
            image=str(request.file),
            mode="realtime",
            variant=str(told.get("InvokedProductionVariant") or self._variant),
            seconds=self._ctx.aws.clock.monotonic() - begun,
            inference_id=request.identity,
            content_type=str(told.get("ContentType", "")),
            body=content,
        )


# --- asynchronous ---


class _Asynchronous:
    """One request through the bucket and SageMaker's queue."""

    def __init__(
        self,
        ctx: JobsContext,
        request: Request,
        accept: Accept,
        timeout_s: float,
        on_progress: OnProgress,
    ) -> None:
        self._ctx, self._request, self._accept = ctx, request, accept
        self._file, self._identity = request.file, request.identity
        self._timeout_s, self._on_progress, self._clock = timeout_s, on_progress, ctx.aws.clock

    def answer(self) -> Answer:
        self._on_progress(InvokeProgress(step="upload"))
        location = self._request.location(self._ctx)
        begun = self._clock.monotonic()
        told = self._send(location)
        output, failure = str(told["OutputLocation"]), str(told.get("FailureLocation") or "")
        with _waiting_for(output, failure):
            body = self._awaited(output, failure, begun)
        return Answer(
            pipeline=self._ctx.pipeline,
            image=str(self._file),
            mode="async",
            variant=_variant_in(body),
            seconds=self._clock.monotonic() - begun,
            inference_id=str(told.get("InferenceId") or self._identity),
            content_type=ACCEPT["json"],
            body=body,
            location=output,
        )

    def _send(self, location: str) -> Mapping[str, Any]:
        self._on_progress(InvokeProgress(step="send"))
        with at_endpoint(self._ctx, str(self._file)):
            answer: Mapping[str, Any] = self._ctx.aws.client("sagemaker-runtime").invoke_endpoint_async(
                EndpointName=self._ctx.invocation.endpoint,
                InputLocation=location,
                ContentType=self._request.content_type,
                Accept=ACCEPT[self._accept],
                InferenceId=self._identity,
                InvocationTimeoutSeconds=self._ctx.invocation.timeout_s,
            )
        return answer

    def _awaited(self, output: str, failure: str, begun: float) -> bytes:
        """The answer's bytes. Raises InvocationError where a failure comes instead, or nothing in time."""
        pause_s, looked_at = FIRST_PAUSE_S, -LOOK_EVERY_S
        while (waited_s := self._clock.monotonic() - begun) < self._timeout_s:
            body = _read(self._ctx, output)
            if body is not None:
                return body
            failed = _read(self._ctx, failure) if failure else None
            if failed is not None:
                raise refused(self._ctx, str(self._file), read_refusal(failed.decode(errors="replace")))
            if waited_s - looked_at >= LOOK_EVERY_S:
                looked_at = waited_s
                self._look(waited_s)
            self._clock.sleep(pause_s)
            pause_s = min(pause_s * 1.3, LONGEST_PAUSE_S)
        raise InvocationError(
            f"no answer to {self._file} within {self._timeout_s:,.0f} s; the request is still in the endpoint's queue.",
            hint=f"{_later(output, failure)} `gpupipe status` and `gpupipe logs --pipeline {self._ctx.pipeline}` show "
            "what the endpoint does; --timeout waits longer.",
        )

    def _look(self, waited_s: float) -> None:
        """Tell how the endpoint stands. Raises NotDeployedError or InvocationError where no answer can come."""
        state = describe(self._ctx)
        if state is None or state.status == "Failed":
            raise no_endpoint(self._ctx, state)
        with self._ctx.at_ledger():
            paused = bool(self._ctx.ledger.control(self._ctx.pipeline).get("paused"))
        self._on_progress(InvokeProgress(step="wait", waited_s=waited_s, endpoint=state, is_paused=paused))


def _read(ctx: JobsContext, location: str) -> bytes | None:
    """An object that SageMaker writes, or None before it is there."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": key, "ExpectedBucketOwner": ctx.aws.stack.account}
    with explained(f"read {location}"):
        found = absent_ok(ctx.aws.client("s3").get_object, **place)
        return None if found is None else bytes(found["Body"].read())


def _variant_in(body: bytes) -> str:
    """The variant that the answer names: SageMaker tells it of realtime answers only."""
    try:
        found = json.loads(body)
    except ValueError:
        return ""
    info = found.get("info") if isinstance(found, Mapping) else None
    return str(info.get("variant") or "") if isinstance(info, Mapping) else ""


# --- what goes wrong ---


@contextmanager
def _waiting_for(output: str, failure: str) -> Iterator[None]:
    """Ctrl-C ends the waiting, not the request."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise StoppedError("interrupted; the request goes on.", hint=_later(output, failure)) from error


def _later(output: str, failure: str) -> str:
    """Where the answer will be."""
    instead = f" (a failure: {failure})" if failure else ""
    return f"Its answer will be at {output}{instead}: `aws s3 cp {output} -` prints it."
