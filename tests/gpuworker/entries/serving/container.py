"""A container of an endpoint as a process of this machine, and a client for it."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.gpuworker.station import Station, until

from gpuworker.contract import Shard

ROOT = Path(__file__).parents[4]
FAKE = "tests.gpuworker.entries.serving.fake_serve"


@dataclass(frozen=True, kw_only=True)
class Reply:
    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def json(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.body)
        return document

    @property
    def code(self) -> str:
        """Of the problem."""
        return str(self.json["error"]["code"])

    @property
    def message(self) -> str:
        return str(self.json["error"]["message"])


class Container:
    """Starts the entry on a free port, and ends it."""

    def __init__(self, station: Station) -> None:
        self.station = station
        self.processes: list[subprocess.Popen[bytes]] = []
        self.port = 0
        station.folder.mkdir(exist_ok=True)

    def start(
        self,
        *arguments: str,
        module: str = FAKE,
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
        **settings: Any,
    ) -> subprocess.Popen[bytes]:
        self.port = free_port()
        chosen = self.station.settings(**{"variant": "main", "queue_url": "", "max_concurrency": 2, **settings})
        variables = {
            **self.station.local.environment,
            **chosen.to_environment(),
            "SAGEMAKER_BIND_TO_PORT": str(self.port),
            "GPUPIPE_BIND_HOST": "127.0.0.1",
            "GPUPIPE_MACHINE": "one",
            "GPUPIPE_WORK_DIR": str(self.station.folder),
            "GPUPIPE_MODEL_DIR": str(self.station.folder / "model"),
            "PYTHONPATH": str(ROOT),
            **(environment or {}),
        }
        with (self.station.folder / "stdout").open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *arguments], env=variables, cwd=ROOT, stdout=out, stderr=out
            )
        self.processes.append(process)
        if ready:
            until(lambda: process.poll() is not None or self.ping() == 200, within_s=60)
            assert process.poll() is None, self.said[-2000:]
        return process

    def ping(self) -> int:
        """Status of GET /ping; 0 while nobody listens."""
        try:
            return self.ask("GET", "/ping").status
        except OSError:
            return 0

    def ask(
        self,
        method: str,
        path: str,
        body: Any = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 60,
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout_s)
        try:
            connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Reply(status=answer.status, body=answer.read(), headers=dict(answer.getheaders()))
        finally:
            connection.close()

    def invoke(self, body: Any, content_type: str = "image/png", *, accept: str = "") -> Reply:
        headers = {"Content-Type": content_type, **({"Accept": accept} if accept else {})}
        return self.ask("POST", "/invocations", body, headers)

    def invoke_shard(self, shard: Shard) -> Reply:
        return self.invoke(shard.to_json().encode(), "application/json")

    @property
    def said(self) -> str:
        return (self.station.folder / "stdout").read_text()

    def events(self, name: str = "") -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.said.splitlines() if line.startswith("{")]
        return [line for line in lines if name in ("", line["event"])]

    def close(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
