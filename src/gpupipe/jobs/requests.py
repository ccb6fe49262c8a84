"""What an endpoint is sent of one image: its bytes, or a document that names it and says more about it."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpupipe.errors import InputError
from gpupipe.jobs import JobsContext
from gpupipe.jobs.readers import require_readers
from gpupipe.jobs.sidecars import Beside, read_sidecars, require_aim
from gpupipe.jobs.sources import LocalFile, found_type, is_image, require_image, shown
from gpupipe.jobs.transfer import open_store
from gpupipe.jobs.upload import Upload, upload_one
from gpupipe.tasks import TaskOptions
from gpupipe.tasks.job_options import job_options
from gpuworker.contract import REQUESTS

REALTIME_BYTES_MAX = 6 * 1024 * 1024
"""SageMaker's limit of a realtime request's body."""
ASYNC_BYTES_MAX = 1024**3
"""SageMaker's limit of an asynchronous request's object."""
DOCUMENT_TYPE = "application/json"


@dataclass(frozen=True, kw_only=True)
class Request:
    """One image, and what is asked of the model for it."""

    identity: str
    file: LocalFile
    options: Mapping[str, Any]
    """Over those of the endpoint; only what differs."""
    sidecar: Mapping[str, Any]

    @property
    def is_plain(self) -> bool:
        """Do the image's bytes say it all?"""
        return not self.options and not self.sidecar

    @property
    def content_type(self) -> str:
        return found_type(self.file) if self.is_plain else DOCUMENT_TYPE

    def body(self, ctx: JobsContext) -> bytes:
        """What a realtime endpoint is sent; where that is a document, its image is uploaded first."""
        if not self.is_plain:
            return self._document(ctx, self._upload(ctx))
        with closing(self.file.open()) as opened:
            return opened.read()

    def location(self, ctx: JobsContext) -> str:
        """Upload what an asynchronous endpoint reads; where that is."""
        key = self._upload(ctx)
        if not self.is_plain:
            named, key = key, f"{REQUESTS}{self.identity}/request.json"
            ctx.write(key, self._document(ctx, named).decode())
        return f"s3://{ctx.bucket}/{key}"

    def _upload(self, ctx: JobsContext) -> str:
        key = f"{REQUESTS}{self.identity}/{_plain_name(self.file.relative)}"
        kind = found_type(self.file)
        upload_one(open_store(ctx.aws, ctx.bucket), Upload(key=key, source=self.file, content_type=kind))
        return key

    def _document(self, ctx: JobsContext, key: str) -> bytes:
        more = {"options": self.options, "sidecar": self.sidecar}
        return json.dumps(
            {"bucket": ctx.bucket, "key": key} | {name: one for name, one in more.items() if one}
        ).encode()


def prepare(
    ctx: JobsContext,
    image: str,
    *,
    variant: str = "",
    prompts: Sequence[str] = (),
    negative_prompts: Sequence[str] = (),
    assignments: Sequence[str] = (),
) -> Request:
    """The request for this file with what lies beside it. Raises InputError and UsageError; nothing is sent yet."""
    defaults = _defaults(ctx, variant)
    options = job_options(
        defaults, ctx.place, prompts=prompts, negative_prompts=negative_prompts, assignments=assignments
    )
    file = _usable(ctx, image)
    beside = Beside(options.sidecar_suffix)
    beside.look_for(file.place)
    sidecars = read_sidecars(beside.paired([file]), options) if options.reads_sidecars(ctx.place) else {}
    require_aim([file], sidecars, options)
    different = options.differing_from(defaults)
    return Request(identity=_new_id(), file=file, options=different, sidecar=sidecars.get(file.path, {}))


def _defaults(ctx: JobsContext, variant: str) -> TaskOptions:
    """What the endpoint does unless it is asked for something else; each variant may have its own."""
    return ctx.invocation.options_of(variant)


def _usable(ctx: JobsContext, image: str) -> LocalFile:
    """The file, if this pipeline takes such files, or it holds an image whatever its name says."""
    if "object" not in ctx.settings.task_options.takes:
        raise InputError(
            f"task {ctx.settings.task} takes values (JSON), no files.",
            hint=f"Submit values as a job: `gpupipe run FILE.jsonl --project NAME --pipeline {ctx.pipeline}`.",
        )
    path = Path(image).expanduser()
    run = f"gpupipe run {shown(image)} --project NAME --pipeline {ctx.pipeline}"
    if path.is_dir():
        raise InputError(f"{shown(image)} is a folder.", hint=f"One image at a time, or as a job: `{run}`.")
    suffixes = ctx.settings.task_options.input_suffixes
    if path.suffix.lower() not in suffixes and not (".png" in suffixes and is_image(str(path))):
        takes = ", ".join(sorted(suffixes))
        raise InputError(f"{shown(image)} is no image that pipeline {ctx.pipeline} takes.", hint=f"It takes {takes}.")
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {shown(image)}: {error.strerror}.", hint="Check its name.") from error
    file = LocalFile(*os.path.split(path), found.st_size, found.st_mtime_ns)
    require_image(file)
    require_readers([file], here=ctx.aws.is_local)
    _require_small_enough(ctx, file, run)
    return file


def _require_small_enough(ctx: JobsContext, file: LocalFile, run: str) -> None:
    if ctx.invocation.is_realtime and file.size > REALTIME_BYTES_MAX:
        limit = f"{REALTIME_BYTES_MAX / 1024**2:.0f} MB"
        raise InputError(
            f"{file} has {file.size / 1024**2:,.1f} MB; SageMaker takes at most {limit} in a realtime request.",
            hint=f"Send it as a job, which goes through S3: `{run}`. Or save it smaller, as JPEG for instance.",
        )
    if file.size > ASYNC_BYTES_MAX:
        raise InputError(f"{file} is larger than the 1 GB that SageMaker takes.", hint="Cut it into tiles.")


def _new_id() -> str:
    """Says when, and is not anybody else's."""
    return f"invoke-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(4)}"


def _plain_name(name: str) -> str:
    """A file name without what some program on the way may stumble over; its ending stays."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", os.path.basename(name))[-100:]
