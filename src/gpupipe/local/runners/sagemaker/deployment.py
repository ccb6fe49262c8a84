"""One emulated endpoint: its containers in line with what its configurations ask for, old and new side by side.

A new configuration's containers come up and answer `/ping` beside the old ones'; then traffic is switched by
reporting the new configuration as live, and the old ones are drained. One that does not come up is rolled back.
"""

import logging
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpupipe.local.processes import last_lines
from gpupipe.local.runners.sagemaker.container import USUAL, Container, Identity, Patience, log_file

MAX_FAILED_STARTS = 3
REASON_MAX_CHARACTERS = 1024  # of FailureReason, in SageMaker

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FleetVariant:
    """What an endpoint configuration says about the containers of one variant."""

    count: int
    environment: Mapping[str, str]
    startup_timeout_s: float


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """The containers of one endpoint configuration."""

    config: str
    variants: Mapping[str, FleetVariant]


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An endpoint as the emulated SageMaker describes it."""

    status: str
    live: Fleet
    pending: Fleet | None = None
    """What an update changes to."""

    @property
    def fleets(self) -> tuple[Fleet, ...]:
        if self.status in ("Failed", "Deleting"):
            return ()
        return (self.live, self.pending) if self.pending else (self.live,)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What the emulated SageMaker is to say about an endpoint from now on."""

    status: str
    config: str
    counts: Mapping[str, int] = field(default_factory=dict)
    reason: str | None = None
    """FailureReason; None leaves what is said already."""

    def document(self, endpoint: str) -> dict[str, Any]:
        """The body of a ReportEndpoint request."""
        variants = [{"VariantName": name, "CurrentInstanceCount": count} for name, count in self.counts.items()]
        said = {"FailureReason": self.reason} if self.reason is not None else {}
        names = {"EndpointName": endpoint, "EndpointStatus": self.status, "EndpointConfigName": self.config}
        return {**names, **said, "Variants": variants}


class Deployment:
    """The containers of one endpoint."""

    def __init__(
        self,
        endpoint: str,
        folder: Path,
        *,
        logs: Path,
        found: list[Container],
        pings: Executor,
        patience: Patience = USUAL,
    ) -> None:
        self._patience = patience
        self._endpoint = endpoint
        self._folder = folder
        self._logs = logs
        self._pings = pings
        self._containers = found
        self._leaving: list[Container] = []

    @property
    def containers(self) -> tuple[Container, ...]:
        """All there are, those that are on their way out last."""
        return (*self._containers, *self._leaving)

    def ready(self, config: str) -> Iterator[Container]:
        """The containers of a configuration that take requests."""
        return (one for one in self._containers if one.identity.config == config and one.ready)

    def step(self, wanted: Wanted, *, command: list[str], environment: Mapping[str, str]) -> Report:
        """Start, restart and end containers once; returns how the endpoint is now."""
        self._take_out_surplus(wanted)
        self._leaving = [one for one in self._leaving if not _gone(one)]
        for fleet in wanted.fleets:
            for container in self._complete(fleet):
                model = fleet.variants[container.identity.variant].environment
                own = {name: value for name, value in model.items() if not name.startswith("AWS_")}
                container.keep_running(command=command, environment={**environment, **own}, pings=self._pings)
        return self._report(wanted)

    def close(self) -> bool:
        """End all containers without waiting for their work; True once all have ended. Call until it is."""
        left = [one for one in self.containers if not one.ask_end(at_once=True)]
        self._containers, self._leaving = [], left
        return not left

    def _take_out_surplus(self, wanted: Wanted) -> None:
        counts = {(fleet.config, name): one.count for fleet in wanted.fleets for name, one in fleet.variants.items()}
        kept: list[Container] = []
        # Those that take requests stay rather than those that do not yet.
        for container in sorted(self._containers, key=lambda one: (not one.was_ready, one.identity.number)):
            key = (container.identity.config, container.identity.variant)
            if counts.get(key, 0) > 0:
                counts[key] -= 1
                kept.append(container)
            else:
                log.info("%s: %s of %s leaves", self._endpoint, container.name, container.identity.variant)
                self._leaving.append(container)
        self._containers = kept

    def _complete(self, fleet: Fleet) -> list[Container]:
        """The fleet's containers, new ones included."""
        for name, variant in fleet.variants.items():
            numbers = {one.identity.number for one in self._of(fleet.config) if one.identity.variant == name}
            missing = variant.count - len(numbers)
            free = (number for number in range(1, variant.count + len(numbers) + 1) if number not in numbers)
            for number in [next(free) for _ in range(missing)]:
                self._add(Identity(endpoint=self._endpoint, config=fleet.config, variant=name, number=number))
        return self._of(fleet.config)

    def _of(self, config: str) -> list[Container]:
        return [one for one in self._containers if one.identity.config == config]

    def _add(self, identity: Identity) -> None:
        folder = self._folder / f"i-{secrets.token_hex(4)}"
        self._containers.append(Container(folder, identity, log=log_file(self._logs, folder), patience=self._patience))

    def _report(self, wanted: Wanted) -> Report:
        """How the endpoint is: still in change, changed, changed back, or failed."""
        coming = wanted.pending or wanted.live
        counts = self._counts(wanted.live)
        now = Report(status=wanted.status, config=wanted.live.config, counts=counts)
        if wanted.status not in ("Creating", "Updating", "InService"):
            return now
        if reason := self._why_not(coming):
            if wanted.status == "Creating":
                return Report(status="Failed", config=coming.config, reason=reason)
            if wanted.status == "Updating":
                return Report(status="InService", config=wanted.live.config, counts=counts, reason=reason)
            return now
        if all(one.was_ready for one in self._of(coming.config)) and wanted.status != "InService":
            return Report(status="InService", config=coming.config, counts=self._counts(coming), reason="")
        return now

    def _counts(self, fleet: Fleet) -> dict[str, int]:
        """The containers in service by variant; one that is being started again counts on."""
        there = [one.identity.variant for one in self._of(fleet.config) if one.was_ready]
        return {name: there.count(name) for name in fleet.variants}

    def _why_not(self, fleet: Fleet) -> str:
        """Why a fleet does not come up, with the end of the container's log; nothing while it may."""
        for container in self._of(fleet.config):
            if container.was_ready:
                continue
            name, limit_s = container.identity.variant, fleet.variants[container.identity.variant].startup_timeout_s
            if container.failures >= MAX_FAILED_STARTS:
                why = f"{container.ended or 'the container ended'} before it answered /ping"
            elif container.alive and container.running_s > limit_s:
                why = f"the container did not answer /ping with 200 within {limit_s:g} s"
            else:
                continue
            return _with_log(f"Variant {name} does not come up: {why}.", container.log)
        return ""


def _gone(container: Container) -> bool:
    if not container.ask_end():
        return False
    container.remove()
    return True


def _with_log(sentence: str, log_file: Path) -> str:
    room = REASON_MAX_CHARACTERS - len(sentence) - len(" Its log ends:\n")
    return f"{sentence} Its log ends:\n{last_lines(log_file)[-room:]}"
