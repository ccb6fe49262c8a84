"""The instance metadata service (IMDSv2) of all emulated machines: one small server, one path a machine.

A worker finds it by AWS_EC2_METADATA_SERVICE_ENDPOINT=http://127.0.0.1:PORT/<pass>/<instance-id>. Only version 2 is
spoken (PUT for a token, 401 without one), because the launch template requires it on AWS. The protocol knows no
signature, so the pass keeps other users of this machine out; it comes of the stack's secret, and a machine that
outlives the supervisor goes on with it.
"""

import functools
import hmac
import json
import secrets
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from gpupipe.threads import start_daemon

_TOKEN_TTL_MAX_S = 21_600


@dataclass(frozen=True, kw_only=True)
class Interruption:
    """A spot loss that was announced."""

    announced_at: float
    taken_at: float


@dataclass(frozen=True, kw_only=True)
class InstanceFacts:
    """What a machine may ask about itself."""

    instance_id: str
    instance_type: str
    availability_zone: str
    life_cycle: str
    image_id: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    interruption: Interruption | None = None


def answer(facts: InstanceFacts, path: str) -> str | None:
    """The text at `path` below /latest/meta-data/, or None (404)."""
    name, _, below = path.strip("/").partition("/")
    if name == "tags" and below.startswith("instance"):
        return _tag(facts, below.removeprefix("instance").strip("/"))
    values: dict[str, str | None] = {
        "ami-id": facts.image_id,
        "instance-id": facts.instance_id,
        "instance-life-cycle": facts.life_cycle,
        "instance-type": facts.instance_type,
        "placement/availability-zone": facts.availability_zone,
        "placement/region": facts.availability_zone[:-1],
        "spot/instance-action": _action(facts.interruption),
        "events/recommendations/rebalance": _rebalance(facts.interruption),
    }
    if not path.strip("/"):
        return "\n".join(sorted({key.partition("/")[0] for key, value in values.items() if value} | {"tags/"}))
    return values.get(path.strip("/"))


def _tag(facts: InstanceFacts, name: str) -> str | None:
    return facts.tags.get(name) if name else "\n".join(sorted(facts.tags))


def _action(interruption: Interruption | None) -> str | None:
    if interruption is None:
        return None
    return json.dumps({"action": "terminate", "time": _iso(interruption.taken_at)})


def _rebalance(interruption: Interruption | None) -> str | None:
    return json.dumps({"noticeTime": _iso(interruption.announced_at)}) if interruption else None


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class MetadataService:
    """The server, in threads of the supervisor."""

    def __init__(self, listener: socket.socket, *, secret: str) -> None:
        self._secret = secret.encode()
        self.port = int(listener.getsockname()[1])
        self._tokens: dict[str, float] = {}
        self._lock = threading.Lock()
        self.machines: Mapping[str, InstanceFacts] = {}  # by instance id; replaced, never changed
        service = self

        class Handler(_Handler):
            imds = service

        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler, bind_and_activate=False)
        self._server.socket.close()
        self._server.socket = listener
        self._server.server_address = listener.getsockname()
        self._server.server_activate()
        serve = functools.partial(self._server.serve_forever, poll_interval=0.1)
        self._thread = start_daemon(serve, name="metadata")

    def url(self, instance_id: str) -> str:
        """What AWS_EC2_METADATA_SERVICE_ENDPOINT must be for a machine."""
        return f"http://127.0.0.1:{self.port}/{self._pass(instance_id)}/{instance_id}"

    def addressed(self, path: str) -> tuple[InstanceFacts | None, str]:
        """The machine whose pass a path begins with, and the path below it."""
        given, instance_id, *below = [*path.lstrip("/").split("/", 2), "", ""][:3]
        if not hmac.compare_digest(given.encode(), self._pass(instance_id).encode()):
            return None, ""
        return self.machines.get(instance_id), below[0].rstrip("/")

    def _pass(self, instance_id: str) -> str:
        return hmac.new(self._secret, f"metadata of {instance_id}".encode(), "sha256").hexdigest()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5.0)

    def issue_token(self, ttl_s: int) -> str:
        now = time.monotonic()
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._tokens = {known: until for known, until in self._tokens.items() if until > now}
            self._tokens[token] = now + ttl_s
        return token

    def knows_token(self, token: str) -> bool:
        with self._lock:
            return self._tokens.get(token, 0.0) > time.monotonic()


class _Handler(BaseHTTPRequestHandler):
    imds: MetadataService
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds a connection may be idle

    def do_PUT(self) -> None:
        facts, path = self._addressed()
        wish = self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if facts is None or path != "latest/api/token" or "X-Forwarded-For" in self.headers:
            self._send(403 if facts else 404)
        elif not wish.isdecimal() or not 1 <= int(wish) <= _TOKEN_TTL_MAX_S:
            self._send(400)
        else:
            self._send(200, self.imds.issue_token(int(wish)))

    def do_GET(self) -> None:
        facts, path = self._addressed()
        if facts is None:
            self._send(404)
        elif not self.imds.knows_token(self.headers.get("X-aws-ec2-metadata-token", "")):
            self._send(401)
        else:
            text = answer(facts, path.removeprefix("latest/meta-data")) if path.startswith("latest/meta-data") else None
            self._send(404 if text is None else 200, text or "")

    def _addressed(self) -> tuple[InstanceFacts | None, str]:
        """The machine a request is about, and the path below it; no machine for what a web page sends."""
        host = self.headers.get("Host", "")
        ours = {f"127.0.0.1:{self.imds.port}", f"localhost:{self.imds.port}"}
        if host not in ours or "Origin" in self.headers or "Sec-Fetch-Site" in self.headers:
            return None, ""
        return self.imds.addressed(self.path)

    def _send(self, status: int, text: str = "") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing: a machine asks every few seconds."""
