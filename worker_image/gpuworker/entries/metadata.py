"""What the machine knows of itself: its id, and whether EC2 is about to take it away (IMDSv2)."""

from __future__ import annotations

import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

DEFAULT_ENDPOINT = "http://169.254.169.254"
POLL_S = 5.0
_TIMEOUT_S = 1.0
_TOKEN_LIVES_S = 21_600

Notice = Literal["spot", "rebalance"]


class _Absent(Exception):  # noqa: N818 - an answer
    """There is no metadata service here, or it does not answer now."""


@dataclass
class Metadata:
    """The instance metadata service at `endpoint`; every question is answered "" where there is none."""

    endpoint: str
    clock: Callable[[], float] = time.monotonic
    _token: str = field(default="", repr=False)
    _token_until: float = 0.0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Metadata | None:
        """The service this environment points to; None where botocore's switch turns it off."""
        endpoint = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "")
        if not endpoint and environment.get("AWS_EC2_METADATA_DISABLED", "").lower() == "true":
            return None
        return cls(endpoint=(endpoint or DEFAULT_ENDPOINT).rstrip("/"))

    def instance_id(self) -> str:
        """`i-…`, or "" outside EC2."""
        return self._read("instance-id")

    def notice(self) -> Notice | None:
        """Whether EC2 announced that it takes this machine: about two minutes ahead, or maybe later (rebalance)."""
        if _names_an_end(self._read("spot/instance-action")):
            return "spot"
        return "rebalance" if self._read("events/recommendations/rebalance") else None

    def _read(self, path: str) -> str:
        """One value below latest/meta-data; "" where there is none (404) or no service."""
        try:
            return self._ask(f"latest/meta-data/{path}", {"X-aws-ec2-metadata-token": self._fresh_token()})
        except urllib.error.HTTPError as error:
            if error.code == 401:  # the service was restarted and knows the token no more
                self._token_until = 0.0
            return ""
        except _Absent:
            return ""

    def _fresh_token(self) -> str:
        if self.clock() >= self._token_until:
            wish = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_LIVES_S)}
            self._token = self._ask("latest/api/token", wish, method="PUT")
            self._token_until = self.clock() + _TOKEN_LIVES_S / 2
        return self._token

    def _ask(self, path: str, headers: Mapping[str, str], method: str = "GET") -> str:
        request = urllib.request.Request(f"{self.endpoint}/{path}", headers=dict(headers), method=method)
        try:
            with _DIRECT.open(request, timeout=_TIMEOUT_S) as answer:
                return str(answer.read(65_536).decode())
        except urllib.error.HTTPError:
            raise
        except (OSError, ValueError) as error:
            raise _Absent(str(error)) from error


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a link-local address is never behind a proxy


def _names_an_end(answer: str) -> bool:
    """Whether a spot/instance-action document says `terminate`, `stop` or `hibernate`."""
    try:
        return bool(answer) and json.loads(answer).get("action") in {"terminate", "stop", "hibernate"}
    except (ValueError, AttributeError):
        return False


def machine_name(metadata: Metadata | None) -> str:
    """The instance id, else the host's name."""
    return (metadata.instance_id() if metadata else "") or socket.gethostname()


def watch_for_notice(
    metadata: Metadata, on_notice: Callable[[Notice], None], stop: threading.Event, *, pause_s: float = POLL_S
) -> None:
    """Ask every 5 s until `stop`; call `on_notice` once, on the first notice."""
    while not stop.wait(pause_s):
        if notice := metadata.notice():
            on_notice(notice)
            return
