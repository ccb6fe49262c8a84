"""What `status` and `watch` say of an endpoint, by what the guard saw of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def endpoint_text(endpoint: Mapping[str, Any] | None) -> str:
    """`InService; main: 1 of 2 ml.m5.xlarge`, and how much waits; "" where the guard has not looked yet."""
    if not endpoint:
        return ""
    variants = endpoint.get("variants", ())
    parts = [str(endpoint.get("status", "")), *(_variant(one, is_alone=len(variants) == 1) for one in variants)]
    if backlog := int(endpoint.get("backlog") or 0):
        parts.append(f"up to {_counted(backlog, 'request')} queued or in work lately")
    if failure := str(endpoint.get("failure") or "").rstrip(". "):
        parts.append(f"FAILED: {failure}")
    return "; ".join(part for part in parts if part)


def _variant(variant: Mapping[str, Any], *, is_alone: bool) -> str:
    current, desired = int(variant.get("current") or 0), int(variant.get("desired") or 0)
    count = f"{current} of {desired}" if desired != current else _counted(current, "instance")
    weight = "" if is_alone else f", weight {float(variant.get('weight') or 0):g}"
    return f"{variant.get('name', '')}: {count} {variant.get('instance_type', '')}".rstrip() + weight


def _counted(count: int, thing: str) -> str:
    return f"1 {thing}" if count == 1 else f"{count:,} {thing}s"


def idle_reason(endpoint: Mapping[str, Any] | None) -> str:
    """Why no shard is being worked on, where the guard has nothing to say."""
    if not endpoint:
        return "Waiting for the endpoint to take a shard."
    state = str(endpoint.get("status", ""))
    if failure := str(endpoint.get("failure") or "").rstrip(". "):
        return f"Endpoint {endpoint.get('name', '')} is {state}: {failure}."
    if state not in ("InService", "Updating"):
        return f"Endpoint {endpoint.get('name', '')} is {state or 'not there'}; a new one takes a few minutes."
    if not any(variant.get("current") for variant in endpoint.get("variants", ())):
        return "Waiting for the endpoint's first instance; from zero it takes a few minutes."
    return "Waiting for the endpoint to take a shard."
