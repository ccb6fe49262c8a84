"""A small sagemaker-runtime on 127.0.0.1, and an endpoint that the emulator describes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.jobs.desk import PIPELINE, Desk

from gpupipe.jobs import JobsContext
from gpupipe.local.emulators import Emulators

VARIANT = "main"


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request, as SageMaker's clients send it."""

    path: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def location(self) -> str:
        return self.headers["x-amzn-sagemaker-inputlocation"]


@dataclass(frozen=True, kw_only=True)
class Told:
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


Answers = Callable[[Asked], Told]


def model_error(status: int, body: str) -> Told:
    """What SageMaker makes of a container's answer that is no success."""
    message = f'Received client error ({status}) from primary with message "{body}". See https://x for more.'
    told = {"Message": message, "OriginalMessage": body, "OriginalStatusCode": status, "LogStreamArn": ""}
    return Told(status=424, body=json.dumps(told).encode(), headers={"x-amzn-ErrorType": "ModelError"})


def validation_error(message: str) -> Told:
    body = json.dumps({"Message": message}).encode()
    return Told(status=400, body=body, headers={"x-amzn-ErrorType": "ValidationError"})


@dataclass
class Runtime:
    """Answers with what `answers` says; remembers what was asked."""

    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answers: Answers = field(default=lambda asked: Told())


@contextmanager
def serving() -> Iterator[Runtime]:
    """A runtime for the length of a `with` block."""
    runtime = Runtime()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            asked = Asked(path=self.path, headers=headers, body=self.rfile.read(int(headers.get("content-length", 0))))
            runtime.asked.append(asked)
            told = runtime.answers(asked)
            self.send_response(told.status)
            about = {"Content-Type": "application/json", "Content-Length": str(len(told.body)), **told.headers}
            for name, value in about.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(told.body)

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    runtime.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield runtime
    finally:
        server.shutdown()
        server.server_close()


def with_runtime(desk: Desk, runtime: Runtime) -> Desk:
    """The same desk, whose endpoint is asked at `runtime`."""
    desk.ctx.aws.endpoints = {**desk.ctx.aws.endpoints, "sagemaker-runtime": runtime.url}
    return desk


def make_endpoint(ctx: JobsContext, emulated: Emulators) -> str:
    """An endpoint that is in service; its name."""
    sagemaker, name = ctx.aws.client("sagemaker"), ctx.aws.stack.endpoint(PIPELINE)
    role = f"arn:aws:iam::{emulated.account.account_id}:role/any"
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer={"Image": "image"})
    variant = {"VariantName": VARIANT, "ModelName": name, "InstanceType": "ml.m5.xlarge", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return name
