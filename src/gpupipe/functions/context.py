"""What a function works with: its settings, clients, ledger and transport; made once an execution environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gpupipe.functions.settings import FunctionSettings
from gpupipe.functions.transport import Transport
from gpuworker.ledger import Ledger

S_co = TypeVar("S_co", bound=FunctionSettings, covariant=True)


class Clients(Protocol):
    """boto3's clients by the name of their service."""

    def __call__(self, service: str, **config: Any) -> Any:
        """The client, the same one for the same `config` (arguments of botocore's Config, over the usual ones)."""


@dataclass(frozen=True, kw_only=True)
class Context(Generic[S_co]):
    """Of one pipeline's function."""

    settings: S_co
    ledger: Ledger
    leases: Ledger
    """The same, by a client that gives up at once."""
    client: Clients
    transport: Transport
    clock: Callable[[], float] = time.time

    @property
    def begins_work(self) -> bool:
        """Is what is sent begun at once? See `transport.Delivery`."""
        return self.transport.delivery.begins_work

    @property
    def s3(self) -> Any:
        return self.client("s3")

    @property
    def in_bucket(self) -> dict[str, str]:
        """Arguments of every S3 call: our bucket, and only if it is still our account's."""
        return {"Bucket": self.settings.bucket, "ExpectedBucketOwner": self.settings.account}


AnyContext = Context[FunctionSettings]
"""For what is the same for every kind."""


class BotoClients:
    """The account's, as the function's role may use them; each is made when it is first asked for."""

    def __init__(self, region: str) -> None:
        self._region = region
        self._made: dict[str, Any] = {}

    def __call__(self, service: str, **config: Any) -> Any:
        which = f"{service} {sorted(config.items())}"
        if which not in self._made:
            self._made[which] = self._new(service, config)
        return self._made[which]

    def _new(self, service: str, special: dict[str, Any]) -> Any:
        import boto3
        from botocore.config import Config

        usual = Config(
            retries={"mode": "standard", "max_attempts": 6},
            connect_timeout=5,
            read_timeout=30,
            max_pool_connections=16,
            user_agent_extra="gpupipe",
        )
        there = {"region_name": self._region, "config": usual.merge(Config(**special))}
        return boto3.client(service, **there)  # type: ignore[call-overload]
