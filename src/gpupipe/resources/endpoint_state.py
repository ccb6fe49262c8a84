"""How an endpoint is: what it is doing, what it waits for, and why it failed, in words and with its log."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpupipe.aws import Aws, absent_ok
from gpupipe.clock import looks
from gpupipe.errors import AwsError
from gpupipe.explain import endpoint_remedy
from gpupipe.resources.waiting import FIRST_PAUSE_S, tell

Description = Mapping[str, Any]

IN_PROGRESS = frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"})
LOG_LINES = 8
TELL_EVERY_S = 15.0
USUALLY = (
    (180.0, "an instance usually takes 2 to 5 minutes to start"),
    (480.0, "large images take longer: it is being pulled, or the container loads its model"),
    (float("inf"), "this is unusual: no capacity for the type, or a container that does not answer GET /ping with 200"),
)
"""Up to so many seconds, what an endpoint that is being made usually waits for."""


@dataclass(frozen=True, kw_only=True)
class Waiter:
    """Waits for one endpoint, tells how far it is, and says what became of it."""

    aws: Aws
    name: str
    log_group: str
    within_s: float

    def describe(self) -> Description | None:
        """What SageMaker says of it; None where it is not there."""
        return absent_ok(self.aws.client("sagemaker").describe_endpoint, EndpointName=self.name)

    def settled(self) -> Description | None:
        """How it is once nothing is in progress, None when it is gone. Raises AwsError when that takes too long."""
        found: Description | None = None
        told = -TELL_EVERY_S
        for waited_s in looks(self.aws.clock, within_s=self.within_s, pause_s=FIRST_PAUSE_S):
            found = self.describe()
            if found is None or found["EndpointStatus"] not in IN_PROGRESS:
                return found
            if waited_s - told >= TELL_EVERY_S:
                told = waited_s
                tell(doing(found, waited_s))
        raise self._too_slow(found or {})

    def failure(self, what: str, reason: str) -> AwsError:
        """The error that says why: SageMaker's reason and the last lines that the containers wrote."""
        lines = last_lines(self.aws, self.log_group)
        log = "\n".join(f"    {line}" for line in lines)
        written = f"\n  The end of its log {self.log_group}:\n{log}\n" if lines else ""
        return AwsError(f"{what}: {reason.rstrip('.')}.{written}", hint=endpoint_remedy(reason))

    def _too_slow(self, found: Description) -> AwsError:
        what = f"endpoint {self.name} is still {found['EndpointStatus']} after {self.within_s / 60:.0f} minutes"
        reason = str(found.get("FailureReason") or f"{_variants(found)}; {USUALLY[-1][1]}")
        return self.failure(what, reason)


def doing(found: Description, waited_s: float) -> str:
    """`Creating for 4 min (main: 0 of 1 instances); an instance usually takes …`"""
    status = found["EndpointStatus"]
    text = f"{status} for {waited_s / 60:.0f} min" if waited_s >= 60 else str(status)
    usually = next(what for limit, what in USUALLY if waited_s < limit)
    return f"{text} ({_variants(found)}); {usually}"


def _variants(found: Description) -> str:
    pending = found.get("PendingDeploymentSummary") or {}
    variants = pending.get("ProductionVariants") or found.get("ProductionVariants") or []
    return ", ".join(map(_variant, variants)) or "no instances yet"


def _variant(variant: Mapping[str, Any]) -> str:
    counts = f"{variant.get('CurrentInstanceCount', 0)} of {variant.get('DesiredInstanceCount', 1)} instances"
    states = [one.get("StatusMessage") or one["Status"] for one in variant.get("VariantStatus") or []]
    return f"{variant['VariantName']}: {', '.join([counts, *states])}"


def deploying(found: Description) -> bool:
    """Is it being made or changed to another configuration, and not just scaled?"""
    status = found["EndpointStatus"]
    return status in {"Creating", "RollingBack"} or (status == "Updating" and bool(pending_config(found)))


def pending_config(found: Description) -> str:
    """The configuration that is being deployed; "" when none is."""
    return str((found.get("PendingDeploymentSummary") or {}).get("EndpointConfigName", ""))


def last_lines(aws: Aws, group: str) -> list[str]:
    """The last lines of the newest stream of a log group; none where it cannot be read: it is only an addition."""
    from botocore.exceptions import BotoCoreError, ClientError

    logs = aws.client("logs")
    with contextlib.suppress(BotoCoreError, ClientError):
        streams = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime", descending=True, limit=1)
        for stream in streams["logStreams"]:
            read = logs.get_log_events(
                logGroupName=group, logStreamName=stream["logStreamName"], limit=LOG_LINES, startFromHead=False
            )
            return [str(event["message"]).rstrip() for event in read["events"]]
    return []
