"""What a function works with: its settings, clients and ledger; made once an execution environment."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from gpupipe.functions.settings import FunctionSettings
from gpuworker.ledger import Ledger


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Clients are boto3's; those that a function does not need may be None."""

    settings: FunctionSettings
    ledger: Ledger
    leases: Ledger | None = None
    """The same, by a client that gives up at once; where there is none, the ledger does."""
    s3: Any = None
    sqs: Any = None
    functions: Any = None
    ec2: Any = None
    alarms: Any = None
    hosting: Any = None
    """SageMaker's."""
    runtime: Any = None
    """SageMaker's runtime, which invokes endpoints."""
    autoscaling: Any = None
    """Application Auto Scaling's."""
    clock: Callable[[], float] = time.time

    @property
    def in_bucket(self) -> dict[str, str]:
        """Arguments of every S3 call: our bucket, and only if it is still our account's."""
        return {"Bucket": self.settings.bucket, "ExpectedBucketOwner": self.settings.account}


@cache
def surroundings() -> Surroundings:
    """Of the running function."""
    import boto3
    from botocore.config import Config

    settings = FunctionSettings.from_environment()
    config = Config(
        retries={"mode": "standard", "max_attempts": 6},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=16,
        user_agent_extra="gpupipe",
    )

    def client(service: str, special: Any = None) -> Any:
        there = {"region_name": settings.region, "config": config.merge(special) if special else config}
        return boto3.client(service, **there)  # type: ignore[call-overload]

    # A realtime invocation may take its 60 s and must not be begun twice; asynchronous ones are throttled in bursts.
    once, patiently = Config(read_timeout=70, retries={"max_attempts": 0}), Config(retries={"mode": "adaptive"})

    # A renewal that waits for an answer longer than the lease lasts would leave two looks side by side.
    hasty = Config(connect_timeout=1, read_timeout=2, retries={"max_attempts": 0})

    return Surroundings(
        settings=settings,
        ledger=Ledger(client("dynamodb"), settings.table),
        leases=Ledger(client("dynamodb", hasty), settings.table),
        s3=client("s3"),
        sqs=client("sqs"),
        functions=client("lambda"),
        ec2=client("ec2"),
        alarms=client("cloudwatch"),
        hosting=client("sagemaker"),
        runtime=client("sagemaker-runtime", once if settings.mode == "realtime" else patiently),
        autoscaling=client("application-autoscaling"),
    )
