"""What `status` shows: jobs and money first, then what is wrong, then how much is as it should be."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gpupipe.cli.screen import duration, plural
from gpupipe.cli.watching import document as job_document
from gpupipe.cli.watching import gpu_text, job_lines, machine_document
from gpupipe.costs import DATED, usd

if TYPE_CHECKING:
    from gpupipe.jobs.overview import Overview
    from gpupipe.jobs.spending import Spending
    from gpupipe.provision import ResourceStatus, StackStatus

STATE_MARKS = {"present": "ok", "changed": "differs", "missing": "MISSING", "foreign": "NOT OURS"}
INSTANCES = "scalable target"
"""The kind whose standing cost is that of an endpoint's instances, which the ledger counts as machines too."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """All that `status` knows of a stack."""

    stack: StackStatus
    work: Overview | None
    """None where there is no ledger."""
    spending: Mapping[str, Spending]
    """By pipeline; "" is all of them together. Empty where there is no ledger."""
    budgets: Mapping[str, float]
    """US dollars a month by pipeline, of those that have a budget."""
    local: Mapping[str, Any] | None
    """Processes and endpoints of the local target; None for AWS."""
    at: float
    outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By pipeline that there is, what other programs may want to know of it."""

    def document(self) -> dict[str, Any]:
        """As plain JSON values; `jobs` and `spending` are null where nobody knows."""
        work = self.work
        return {
            **self.stack.document(),
            "running": [machine_document(one) for one in work.machines if one.is_up] if work else [],
            "endpoints": list(_endpoints(work)) if work else [],
            "local": self.local,
            "jobs_open": len(work.open_jobs) if work else None,
            "jobs": [job_document(view) for view in work.views] if work else None,
            "paused": list(work.paused) if work else None,
            "spending": self.spending[""].document() if work else None,
            "outputs": self.outputs,
        }

    def text(self, *, with_resources: bool) -> str:
        """The whole screen."""
        parts = (_jobs(self), _machines(self), _money(self), _resources(self.stack, with_resources), _local(self.local))
        return "\n".join(line for part in parts for line in part)


# --- jobs and what works on them ---


def _jobs(shown: Shown) -> Iterator[str]:
    if shown.work is None:
        yield "jobs: not known, since there is no ledger"
        return
    jobs = shown.work.open_jobs
    states = Counter(job.state for job in jobs)
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(states.items()))
    yield f"jobs: {len(jobs):,} open ({counts})" if jobs else "jobs: none is open"
    for view in shown.work.views:
        yield from (f"  {line}" for line in job_lines(view))
    if more := len(jobs) - len(shown.work.views):
        yield f"  and {more:,} more, which `gpupipe jobs` lists"
    for name in shown.work.paused:
        yield f"  pipeline {name} is stopped: nothing starts before `gpupipe start`"


def _machines(shown: Shown) -> Iterator[str]:
    up = [machine_document(one) for one in shown.work.machines if one.is_up] if shown.work else []
    off = [name for name in shown.stack.machines if name not in {one["machine"] for one in up}]
    if shown.work is None:
        yield "now: what runs is not known"
    else:
        hour = shown.spending[""].hour_usd
        cost = _price(hour, "an hour", shown.local) if hour else "what is not known"
        run = plural(len(up), "machine runs and costs", "machines run and cost")
        yield f"now: {run} {cost}" if up else "now: no machine runs"
    yield from (f"  {_machine(one)}" for one in up)
    yield from (f"  {name}  off" if shown.work else f"  {name}  is there" for name in off)
    yield from _backends(shown.work, shown.at) if shown.work else ()


def _machine(one: Mapping[str, Any]) -> str:
    about = " ".join(one[part] for part in ("type", "zone", "market") if one[part])
    gpu = gpu_text(one)
    return f"{one['machine']}  {about}, {one['state']}{gpu and f', {gpu}'}"


def _backends(work: Overview, at: float) -> Iterator[str]:
    for pipeline, text in work.backends.items():
        ago = duration(max(0.0, at - float(work.guards[pipeline].get("at") or 0.0)))
        yield f"  {text} ({ago} ago)"


def _endpoints(work: Overview) -> Iterator[dict[str, Any]]:
    for pipeline, guard in work.guards.items():
        if endpoint := guard.get("endpoint"):
            yield {"pipeline": pipeline, "seen_at": float(guard.get("at") or 0.0), **endpoint}


# --- money ---


def _money(shown: Shown) -> Iterator[str]:
    if not shown.spending:
        yield "spent: not known"
    else:
        yield from _spent(shown)
    least = sum(one.usd_per_month for one in shown.stack.resources if one.kind == INSTANCES and _is_there(one))
    rest = shown.stack.usd_per_month - least
    yield f"standing: {_price(rest, 'a month', shown.local)} for what is there, used or not; data and disks not counted"
    if least:
        yield f"  the endpoints' least instances, counted as machines, are {_price(least, 'a month', shown.local)}"


def _spent(shown: Shown) -> Iterator[str]:
    total = shown.spending[""]
    at_least = "at least " if total.is_least_today else ""
    if not total.month_usd:
        yield "spent: not known" if total.unpriced else "spent: nothing on machines this month (UTC)"
    else:
        today = f"{at_least}about {usd(total.today_usd)} today"
        both = f"{today} and about {usd(total.month_usd)} this month (UTC)"
        yield f"spent: nothing here; {both} on AWS, for machines" if shown.local else f"spent: {both}, for machines"
    for name, budget in shown.budgets.items():
        yield f"  budget of {name}: about {usd(shown.spending[name].month_usd)} of {usd(budget)} this month"
    if total.month_usd or total.hour_usd:
        for_ = f"; an estimate for {' and '.join(total.estimated_for)}" if total.estimated_for else ""
        yield f"  by AWS's list prices of {DATED}, before tax{for_}"
    if total.unpriced:
        yield f"  NOT counted, since the price is not known: {', '.join(total.unpriced)}"


def _price(amount: float, per: str, local: object) -> str:
    return f"nothing here; about {usd(amount)} {per} on AWS" if local else f"about {usd(amount)} {per}"


# --- resources ---


def _resources(stack: StackStatus, with_all: bool) -> Iterator[str]:
    wrong = [one for one in stack.resources if not _is_well(one)]
    if stack.locked_by:
        yield f"being changed by {stack.locked_by}: what is missing may be on its way"
    if stack.broken_off and (wrong or stack.unwanted):
        rest = "the same command goes on" if "--pipeline" in stack.broken_off else "`gpupipe down` deletes the rest"
        yield f"{stack.broken_off} was killed: `gpupipe up` makes the stack whole, {rest}"
    if wrong and all(one.state == "missing" for one in stack.resources) and not with_all:
        yield f"nothing of the stack is there: `gpupipe up` makes its {plural(len(wrong), 'resource')}"
    else:
        yield from _by_pipeline(stack, wrong, with_all)
    yield from (f"not in gpupipe.toml any more: {name}" for name in stack.unwanted)
    yield from _healthy(len(stack.resources) - len(wrong), with_all)


def _by_pipeline(stack: StackStatus, wrong: Sequence[ResourceStatus], with_all: bool) -> Iterator[str]:
    """What is wrong, or all; of a pipeline that nobody has made, or that was deleted, one line."""
    off = {} if with_all else _of_pipelines_not_up(stack)
    shown = stack.resources if with_all else [one for one in wrong if one.pipeline not in off]
    if shown:
        yield "resources:" if with_all else "not as it should be:"
        yield from _listed(shown)
    for name, count in off.items():
        yield f"pipeline {name} is not up: `gpupipe up --pipeline {name}` makes its {plural(count, 'resource')}"


def _of_pipelines_not_up(stack: StackStatus) -> dict[str, int]:
    """The pipelines of which nothing is there, with how many resources they have; none where the whole stack is not."""
    states: dict[str, list[str]] = {}
    for one in stack.resources:
        states.setdefault(one.pipeline, []).append(one.state)
    return {name: len(every) for name, every in states.items() if name and set(every) == {"missing"}}


def _healthy(count: int, with_all: bool) -> Iterator[str]:
    if count:
        are = "resource is as it" if count == 1 else "resources are as they"
        yield f"{count:,} {are} should be" + ("" if with_all else "; `gpupipe status --resources` lists them")


def _listed(resources: Sequence[ResourceStatus]) -> Iterator[str]:
    marks = [STATE_MARKS.get(one.state, one.state) for one in resources]
    width = max(map(len, marks))
    for mark, one in zip(marks, resources, strict=True):
        yield f"  {mark:<{width}}  {one.kind} {one.name}" + (f": {' '.join(one.note.split())}" if one.note else "")


def _is_well(resource: ResourceStatus) -> bool:
    """It is there, as wanted, and AWS has nothing to say of it."""
    return resource.state == "present" and not resource.note


def _is_there(resource: ResourceStatus) -> bool:
    return resource.state in {"present", "changed"}


def _local(local: Mapping[str, Any] | None) -> Iterator[str]:
    """Its processes and how to reach them."""
    if not local:
        return
    yield f"local target: {local['phase']}, files in {local['folder']}"
    for one in local["processes"]:
        yield f"  {one['name']:<11} pid {one['pid']:<7} {one['url']}".rstrip()
    for one in local.get("containers", ()):
        yield f"  container   pid {one['pid']:<7} {one['variant']}/{one['instance']}, {one['state']}"
    yield '  for the AWS CLI: eval "$(gpupipe local env)"; aws s3 ls'


def gathered(
    stack: StackStatus,
    work: Overview | None,
    *,
    region: str,
    budgets: Mapping[str, float],
    local: Mapping[str, Any] | None,
    outputs: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
    now: float | None = None,
) -> Shown:
    """What was found, with what it costs; `now` in Unix seconds."""
    from gpupipe.jobs.spending import spending

    at = time.time() if now is None else now
    costs: dict[str, Spending] = {}
    if work is not None:
        costs[""] = spending(work.machines, region=region, now=at)
        for name in work.guards:
            own = [one for one in work.machines if one.pipeline == name]
            costs[name] = spending(own, region=region, now=at)
    return Shown(stack=stack, work=work, spending=costs, budgets=budgets, local=local, outputs=outputs, at=at)
