"""Decides about an endpoint's instances: when to wake it, when to hold it at none, and why work waits; pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gpupipe.functions.scaling import Scaling, duration, is_asked_for, report_held_back, seconds_left
from gpupipe.functions.view import JobView
from gpupipe.kinds.endpoint.backend.actions import ScaleVariants, SuspendScaling
from gpupipe.kinds.endpoint.backend.view import Endpoint, EndpointView, Variant

REASONABLE_S = 300.0
"""Work that one invocation slot is left alone with when the endpoint is woken; its own scaling adds more."""
ASK_AGAIN_S = 300.0
"""An endpoint in service without the instances that it was asked for so long ago has given up on them."""
IDLE_GRACE_S = 900.0
"""Its own scaling comes first."""


def hosted_scaling(view: EndpointView, *, stalled: frozenset[str]) -> Scaling:
    """Wanted against existing."""
    result = Scaling()
    jobs = [job for job in view.jobs if job.wants_machines and job.record.job not in stalled]
    if view.settings.is_realtime:
        _tell_that_it_stays(view, result)
        result.wanted = view.endpoint.desired if view.endpoint else 0
    elif view.paused or view.is_over_budget:
        _hold(view, result)
        return result
    else:
        _let_go(view, result)
        result.wanted = _wanted(view, jobs)
        _wake(view, result)
        _put_to_sleep(view, jobs, result)
    report_held_back(view, stalled, result)
    _report(view, jobs, result)
    return result


# --- held at none ---


def _hold(view: EndpointView, result: Scaling) -> None:
    if view.paused:
        reason = "paused by `gpupipe stop`"
        result.wait("paused", "The endpoint is paused; `gpupipe start` goes on.")
    else:
        reason = "the month's budget is spent"
        result.wait("budget", f"{_spent(view)}: the endpoint is not woken until next month.")
    free = sorted(variant for variant, suspended in view.suspended.items() if not suspended)
    if free:
        result.actions.append(SuspendScaling(variants=free, suspended=True))
    _scale_to(view, {variant.name: 0 for variant in _variants(view) if variant.desired}, reason, result)


def _let_go(view: EndpointView, result: Scaling) -> None:
    held = sorted(variant for variant, suspended in view.suspended.items() if suspended)
    if held:
        result.actions.append(SuspendScaling(variants=held, suspended=False))


def _tell_that_it_stays(view: EndpointView, result: Scaling) -> None:
    remedy = "`gpupipe down` ends its cost"
    if view.paused:
        result.wait("paused", f"A realtime endpoint cannot be stopped: it stays, and goes on with its work; {remedy}.")
    if view.is_over_budget:
        result.wait("budget", f"{_spent(view)}, but a realtime endpoint cannot be stopped; {remedy}.")


def _spent(view: EndpointView) -> str:
    return f"This month's instances cost ${view.month_usd:.2f} of ${view.settings.monthly_usd:.2f}"


# --- woken ---


def _wanted(view: EndpointView, jobs: Sequence[JobView]) -> int:
    """Instances that the work asks for, over all variants."""
    settings = view.settings
    shards = sum(len(job.open_shards) for job in jobs)
    slots = math.ceil(sum(seconds_left(view, job) for job in jobs) / REASONABLE_S)
    by_work = max(1, math.ceil(min(slots, shards) / settings.max_concurrency)) if shards else 0
    most = settings.max_instances * max(1, len(settings.variants))
    return max(min(most, by_work), settings.min_instances * len(settings.variants), int(is_asked_for(view)))


def _wake(view: EndpointView, result: Scaling) -> None:
    """From none only: how many instances work needs for long is for its own scaling to find out."""
    serving = [variant for variant in _variants(view) if variant.weight > 0] or _variants(view)
    asleep = [variant for variant in serving if not variant.desired and not variant.current]
    asleep += [variant for variant in serving if _never_came(view, variant)]
    if not result.wanted or not asleep:
        return
    weights = sum(variant.weight for variant in serving) or 1.0
    most = view.settings.max_instances
    counts = {one.name: min(most, max(1, round(result.wanted * one.weight / weights))) for one in asleep}
    if _scale_to(view, counts, "there is work", result):
        types = ", ".join(sorted({variant.instance_type for variant in asleep}))
        result.wait(
            "launching",
            f"The endpoint was asked for {sum(counts.values())} x {types}; from none this takes 4 to 8 minutes.",
        )


def _never_came(view: EndpointView, variant: Variant) -> bool:
    """Was it asked for, and does SageMaker do nothing more about it? It had no room, and is to be asked again."""
    since = view.endpoint.changed_at if view.endpoint else view.now
    return variant.desired > 0 and not variant.current and view.now - since > ASK_AGAIN_S


def _put_to_sleep(view: EndpointView, jobs: Sequence[JobView], result: Scaling) -> None:
    """Should its own scaling fail to: an endpoint costs money as long as an instance is there."""
    if jobs or view.settings.min_instances or view.queue_messages != 0 or is_asked_for(view):
        return
    idle_s = view.now - view.busy_at if view.busy_at else 0.0
    if idle_s > view.settings.idle_minutes * 60 + IDLE_GRACE_S:
        counts = {variant.name: 0 for variant in _variants(view) if variant.desired}
        _scale_to(view, counts, f"idle for {duration(idle_s)}", result)


def _scale_to(view: EndpointView, counts: dict[str, int], reason: str, result: Scaling) -> bool:
    """Ask for it, if SageMaker would take it now."""
    if not counts or view.endpoint is None or not view.endpoint.can_be_scaled:
        return False
    result.actions.append(ScaleVariants(instances=counts, reason=reason))
    return True


def _variants(view: EndpointView) -> Sequence[Variant]:
    return view.endpoint.variants if view.endpoint else ()


# --- what to tell ---


def _report(view: EndpointView, jobs: Sequence[JobView], result: Scaling) -> None:
    failing = [shard for job in jobs for shard in job.open_shards if shard.is_unsent and shard.failures]
    if failing:
        shard = max(failing, key=lambda one: one.returned_at)
        things = "1 shard" if len(failing) == 1 else f"{len(failing)} shards"
        result.wait("error", f"Requests of {things} failed and are made again in a few minutes; last: {shard.reason}")
    for code, message in _endpoint_troubles(view, bool(jobs)):
        result.wait(code, message)


def _endpoint_troubles(view: EndpointView, is_needed: bool) -> Iterator[tuple[str, str]]:
    endpoint, name = view.endpoint, view.settings.endpoint
    if endpoint is None:
        yield "error", f"There is no endpoint {name}; `gpupipe up` makes it."
        return
    since = duration(
        max(0.0, view.now - (endpoint.created_at if endpoint.status == "Creating" else endpoint.changed_at))
    )
    words = f" ({endpoint.failure})" if endpoint.failure else ""
    match endpoint.status:
        case "Creating":
            yield "launching", f"Endpoint {name} has been in creation for {since}; this takes 4 to 10 minutes."
        case "Updating" | "SystemUpdating" if not _is_scaling(endpoint):
            yield "launching", f"Endpoint {name} has been updating for {since}; what runs goes on serving."
        case "RollingBack":
            yield "launching", f"Endpoint {name} has been rolling back a failed update for {since}{words}."
        case "Failed" | "OutOfService" | "UpdateRollbackFailed":
            code = _why(endpoint.failure)
            yield code, f"Endpoint {name} is {endpoint.status}{words}; see `gpupipe logs`, then `gpupipe up`."
        case "Deleting":
            yield "error", f"Endpoint {name} is being deleted."
        case "InService" if endpoint.failure and is_needed and not endpoint.current:
            yield _why(endpoint.failure), f"Endpoint {name} could not be scaled{words}; it is tried again."
    yield from _variants_on_their_way(endpoint)


def _is_scaling(endpoint: Endpoint) -> bool:
    return any(variant.desired != variant.current for variant in endpoint.variants)


def _variants_on_their_way(endpoint: Endpoint) -> Iterator[tuple[str, str]]:
    if not endpoint.takes_requests:
        return
    for variant in endpoint.variants:
        if variant.desired > variant.current:
            words = f" ({variant.message})" if variant.message else ""
            yield (
                "launching",
                f"Variant {variant.name} grows from {variant.current} to {variant.desired} x {variant.instance_type}, "
                f"which takes 4 to 8 minutes{words}.",
            )


def _why(failure: str) -> str:
    """The waiting code of a FailureReason."""
    words = failure.lower()
    if "resourcelimitexceeded" in words or "limit exceeded" in words or "quota" in words:
        return "quota"
    no_room = "insufficient" in words and "capacity" in words
    return "capacity" if no_room or "unable to provision" in words else "error"
