"""invoke: one image to an endpoint, and its answer now.

A realtime endpoint is sent the bytes and answers. An asynchronous one reads them from the bucket and writes its answer
there; whichever of the two objects that it names comes first, answer or failure, ends the waiting. The request lives
in SageMaker's queue: who stops waiting loses nothing.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from gpupipe.aws import absent_ok
from gpupipe.errors import InputError, InvocationError, StoppedError, UsageError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext
from gpupipe.jobs.endpoints import EndpointState, at_endpoint, describe, no_endpoint, refused
from gpupipe.jobs.refusals import read_refusal
from gpupipe.jobs.sources import LocalFile, content_type, require_image, shown
from gpupipe.jobs.transfer import open_store
from gpupipe.jobs.upload import Upload, upload_one
from gpuworker.contract import REQUESTS

if TYPE_CHECKING:
    from gpupipe.pipelines.endpoint import EndpointPipeline

Accept = Literal["json", "coco"]
ACCEPT: Mapping[Accept, str] = {"json": "application/json", "coco": "application/json; format=coco"}
REALTIME_BYTES_MAX = 6 * 1024 * 1024
"""SageMaker's limit of a realtime request's body."""
ASYNC_BYTES_MAX = 1024**3
"""SageMaker's limit of an asynchronous request's object."""
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
    accept: Accept = "json",
    timeout_s: float | None = None,
    on_progress: OnProgress = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Answer:
    """Have the pipeline's endpoint work on the file `image`.

    Raises InputError and UsageError before anything is sent, InvocationError where the model refuses or fails, or does
    not answer within `timeout_s` (an asynchronous one; realtime has SageMaker's own 60 s), NotDeployedError, AwsError,
    and StoppedError on Ctrl-C.
    """
    file = _usable(ctx, image)
    if variant:
        _require_variant(ctx, variant)
    if ctx.mode == "realtime":
        return _Realtime(ctx, file, variant, accept, on_progress).answer()
    return _Asynchronous(ctx, file, accept, timeout_s or ASYNC_PATIENCE_S, on_progress, sleep).answer()


def _require_variant(ctx: JobsContext, variant: str) -> None:
    if ctx.mode != "realtime":
        message = "an asynchronous request cannot choose its variant: the weights in gpupipe.toml do."
        raise UsageError(message, hint='Leave --variant out, or set mode = "realtime".')
    known = [one.name for one in cast("EndpointPipeline", ctx.settings).deployed]
    if variant not in known:
        raise UsageError(f"pipeline {ctx.pipeline} has no variant {variant!r}.", hint=f"It has {', '.join(known)}.")


def _usable(ctx: JobsContext, image: str) -> LocalFile:
    """The file, if this pipeline takes such files and it is what its name says."""
    path = Path(image).expanduser()
    run = f"gpupipe run {shown(image)} --project NAME --pipeline {ctx.pipeline}"
    if path.is_dir():
        raise InputError(f"{shown(image)} is a folder.", hint=f"One image at a time, or as a job: `{run}`.")
    suffixes = ctx.settings.task_options.input_suffixes
    if path.suffix.lower() not in suffixes:
        takes = ", ".join(sorted(suffixes))
        raise InputError(f"{shown(image)} is no image that pipeline {ctx.pipeline} takes.", hint=f"It takes {takes}.")
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {shown(image)}: {error.strerror}.", hint="Check its name.") from error
    file = LocalFile(*os.path.split(path), found.st_size, found.st_mtime_ns)
    require_image(file)
    _require_small_enough(ctx, file, run)
    return file


def _require_small_enough(ctx: JobsContext, file: LocalFile, run: str) -> None:
    if ctx.mode == "realtime" and file.size > REALTIME_BYTES_MAX:
        limit = f"{REALTIME_BYTES_MAX / 1024**2:.0f} MB"
        raise InputError(
            f"{file} has {file.size / 1024**2:,.1f} MB; SageMaker takes at most {limit} in a realtime request.",
            hint=f"Send it as a job, which goes through S3: `{run}`. Or save it smaller, as JPEG for instance.",
        )
    if file.size > ASYNC_BYTES_MAX:
        raise InputError(f"{file} is larger than the 1 GB that SageMaker takes.", hint="Cut it into tiles.")


# --- realtime ---


class _Realtime:
    """One request that is answered at once."""

    def __init__(
        self, ctx: JobsContext, file: LocalFile, variant: str, accept: Accept, on_progress: OnProgress
    ) -> None:
        self._ctx, self._file, self._variant, self._accept = ctx, file, variant, accept
        self._on_progress = on_progress

    def answer(self) -> Answer:
        with closing(self._file.open()) as opened:
            body = opened.read()
        self._on_progress(InvokeProgress(step="send"))
        identity, begun = _new_id(), time.monotonic()
        with at_endpoint(self._ctx, str(self._file)):
            told = self._ctx.aws.client("sagemaker-runtime").invoke_endpoint(
                EndpointName=self._ctx.aws.stack.endpoint(self._ctx.pipeline),
                Body=body,
                ContentType=content_type(self._file.relative),
                Accept=ACCEPT[self._accept],
                InferenceId=identity,
                **({"TargetVariant": self._variant} if self._variant else {}),
            )
            content = told["Body"].read()
        return Answer(
            pipeline=self._ctx.pipeline,
            image=str(self._file),
            mode="realtime",
            variant=str(told.get("InvokedProductionVariant") or self._variant),
            seconds=time.monotonic() - begun,
            inference_id=identity,
            content_type=str(told.get("ContentType", "")),
            body=content,
        )


# --- asynchronous ---


class _Asynchronous:
    """One request through the bucket and SageMaker's queue."""

    def __init__(
        self,
        ctx: JobsContext,
        file: LocalFile,
        accept: Accept,
        timeout_s: float,
        on_progress: OnProgress,
        sleep: Callable[[float], None],
    ) -> None:
        self._ctx, self._file, self._accept = ctx, file, accept
        self._timeout_s, self._on_progress, self._sleep = timeout_s, on_progress, sleep
        self._identity = _new_id()

    def answer(self) -> Answer:
        location = self._upload()
        begun = time.monotonic()
        told = self._send(location)
        output, failure = str(told["OutputLocation"]), str(told.get("FailureLocation") or "")
        with _waiting_for(output, failure):
            body = self._awaited(output, failure, begun)
        return Answer(
            pipeline=self._ctx.pipeline,
            image=str(self._file),
            mode="async",
            variant=_variant_in(body),
            seconds=time.monotonic() - begun,
            inference_id=str(told.get("InferenceId") or self._identity),
            content_type=ACCEPT["json"],
            body=body,
            location=output,
        )

    def _upload(self) -> str:
        key = f"{REQUESTS}{self._identity}/{_plain_name(self._file.relative)}"
        self._on_progress(InvokeProgress(step="upload"))
        store = open_store(self._ctx.aws, self._ctx.bucket)
        upload_one(store, Upload(key=key, source=self._file, content_type=content_type(self._file.relative)))
        return f"s3://{self._ctx.bucket}/{key}"

    def _send(self, location: str) -> Mapping[str, Any]:
        self._on_progress(InvokeProgress(step="send"))
        with at_endpoint(self._ctx, str(self._file)):
            answer: Mapping[str, Any] = self._ctx.aws.client("sagemaker-runtime").invoke_endpoint_async(
                EndpointName=self._ctx.aws.stack.endpoint(self._ctx.pipeline),
                InputLocation=location,
                ContentType=content_type(self._file.relative),
                Accept=ACCEPT[self._accept],
                InferenceId=self._identity,
                InvocationTimeoutSeconds=cast("EndpointPipeline", self._ctx.settings).invocation_timeout_s,
            )
        return answer

    def _awaited(self, output: str, failure: str, begun: float) -> bytes:
        """The answer's bytes. Raises InvocationError where a failure comes instead, or nothing in time."""
        pause_s, looked_at = FIRST_PAUSE_S, -LOOK_EVERY_S
        while (waited_s := time.monotonic() - begun) < self._timeout_s:
            body = _read(self._ctx, output)
            if body is not None:
                return body
            failed = _read(self._ctx, failure) if failure else None
            if failed is not None:
                raise refused(self._ctx, str(self._file), read_refusal(failed.decode(errors="replace")))
            if waited_s - looked_at >= LOOK_EVERY_S:
                looked_at = waited_s
                self._look(waited_s)
            self._sleep(pause_s)
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


def _new_id() -> str:
    """Says when, and is not anybody else's."""
    return f"invoke-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def _plain_name(name: str) -> str:
    """A file name without what some program on the way may stumble over; its ending stays."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(name))[-100:]


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
