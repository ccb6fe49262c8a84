"""litserve with one of our tasks: the peer of `benchmarks/serve.py`.

    python -m benchmarks.peer_litserve TASK PORT

A module of its own, because litserve starts its workers by pickling the API's class by name.
"""

from __future__ import annotations

import base64
import os
import sys

import litserve as ls  # type: ignore[import-not-found,unused-ignore]
from benchmarks.serve import once, options_of
from fastapi import Response  # type: ignore[import-not-found,unused-ignore]

from gpuworker.tasks import make_task


class Api(ls.LitAPI):  # type: ignore[misc,unused-ignore]
    """Images come as base64 in JSON, as its examples have it; the answer is the task's record."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def setup(self, device: str) -> None:
        self.task = make_task(self.name)
        self.task.load("cpu", options_of(self.name))

    def decode_request(self, request: dict[str, str]) -> bytes:
        return base64.b64decode(request["image"])

    def predict(self, data: bytes) -> bytes:
        return once(self.name, self.task, data)

    def encode_response(self, output: bytes) -> Response:  # type: ignore[no-any-unimported,unused-ignore]
        return Response(content=output, media_type="application/json")


if __name__ == "__main__":
    server = ls.LitServer(Api(sys.argv[1]), accelerator="cpu", workers_per_device=os.cpu_count() or 1)
    server.run(host="127.0.0.1", port=int(sys.argv[2]), generate_client_file=False)
