"""Decides about machines: how many the work wants, which to start, launch, stop or give up, and why to wait; pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gpupipe.functions.scaling import Scaling, duration, is_asked_for, report_held_back, seconds_left
from gpupipe.functions.view import JobView
from gpupipe.kinds.queue.backend.actions import LaunchMachines, StartMachine, StopMachines, TerminateMachines
from gpupipe.kinds.queue.backend.view import Ec2Instance, FleetView
from gpuworker.ledger import ShardState

REASONABLE_S = 900.0
"""Work that one machine is left alone with; booting another and loading the model takes minutes too."""
LIMIT_GRACE_S = 600.0
"""The machine's own hard limit comes first."""
UNSEEN_S = 900.0
"""A machine that runs for so long without a word from its worker is reported."""


def scaling(view: FleetView, *, stalled: frozenset[str]) -> Scaling:
    """Wanted against existing; `stalled` are jobs that this very look found stalled."""
    result = Scaling()
    _give_up_idle_disks(view, result)
    if view.paused or view.is_over_budget:
        _stop_everything(view, result)
        return result
    _enforce_limit(view, result)
    _replace_outdated(view, result)
    jobs = [job for job in view.jobs if job.record.job not in stalled]
    result.wanted = _wanted(view, jobs, result)
    report_held_back(view, stalled, result)
    if result.wanted > view.existing:
        _add(view, result.wanted - view.existing, result)
    _report_machines(view, result)
    return result


# --- stopping ---


def _stop_everything(view: FleetView, result: Scaling) -> None:
    if view.paused:
        reason, code = "paused by `gpupipe stop`", "paused"
        result.wait(code, "Machines are paused; `gpupipe start` goes on.")
    else:
        spent, allowed = view.month_usd, view.settings.monthly_usd
        reason, code = "the month's budget is spent", "budget"
        result.wait(
            code, f"This month's machines cost ${spent:.2f} of ${allowed:.2f}: none is started until next month."
        )
    machines = [*(one.machine for one in view.live), *(record.machine for record in view.launching)]
    if machines:
        result.actions.append(StopMachines(machines=machines, reason=reason, blameless=True))


def _enforce_limit(view: FleetView, result: Scaling) -> None:
    limit_s = view.settings.max_processing_hours * 3600 + LIMIT_GRACE_S
    over = [one.machine for one in view.live if view.now - _run_started_at(view, one) > limit_s]
    if over:
        hours = view.settings.max_processing_hours
        reason = f"it ran longer than its limit of {hours:g} h"
        result.actions.append(StopMachines(machines=over, reason=reason, blameless=False))


def _replace_outdated(view: FleetView, result: Scaling) -> None:
    """Machines that run by an older configuration give their shards back; others are launched by the present one."""
    outdated = [one.machine for one in view.live if one.template and view.template not in ("", one.template)]
    if outdated:
        reason = "the configuration of machines has changed"
        result.actions.append(StopMachines(machines=outdated, reason=reason, blameless=True))
        result.wait("launching", f"Machines by the old configuration ({', '.join(outdated)}) make room for new ones.")


def _run_started_at(view: FleetView, instance: Ec2Instance) -> float:
    record = view.records.get(instance.machine)
    return record.run_started_at if record else instance.launched_at


def _give_up_idle_disks(view: FleetView, result: Scaling) -> None:
    """A stopped machine costs its disk: only the one that is kept may."""
    stopped = [one for one in view.instances if one.state == "stopped"]
    keep = 1 if view.settings.on_idle == "stop" and not view.live else 0
    surplus = sorted(stopped, key=lambda one: -one.launched_at)[keep:]
    if surplus:
        machines = [one.machine for one in surplus]
        result.actions.append(TerminateMachines(machines=machines, reason="stopped, and no longer needed"))


# --- how many ---


def _wanted(view: FleetView, jobs: Sequence[JobView], result: Scaling) -> int:
    due = [job for job in jobs if job.wants_machines and not job.is_dropin]
    dropins = [job for job in jobs if job.wants_machines and job.is_dropin]
    if dropins and (due or view.live or _is_due(view, dropins, result)):
        due += dropins
    shards = sum(len(job.open_shards) for job in due)
    work_s = sum(seconds_left(view, job) for job in due)
    by_work = max(1, math.ceil(work_s / REASONABLE_S)) if shards else 0
    return max(min(view.settings.max_instances, shards, by_work), int(is_asked_for(view)))


def _is_due(view: FleetView, dropins: Sequence[JobView], result: Scaling) -> bool:
    """Have enough drop-ins gathered, or waited long enough?"""
    pending = sum(job.totals.outstanding for job in dropins)
    begun = any(shard.state is ShardState.RUNNING or shard.started for job in dropins for shard in job.open_shards)
    since = min((job.oldest_pending_at for job in dropins if job.oldest_pending_at), default=view.now)
    left_s = since + view.settings.max_wait_minutes * 60 - view.now
    if begun or pending >= view.settings.min_images_to_start or left_s <= 0:
        return True
    things = "1 image waits" if pending == 1 else f"{pending} images wait"
    result.wait(
        "threshold",
        f"{things}; a machine starts when there are {view.settings.min_images_to_start}, or in {duration(left_s)}.",
    )
    return False


# --- starting ---


def _add(view: FleetView, count: int, result: Scaling) -> None:
    """Start the machine that is kept, or launch new ones."""
    if view.settings.on_idle != "stop":
        result.actions.append(LaunchMachines(count=count))
        return
    for one in view.instances:
        if one.state == "stopping":
            result.wait("launching", f"Machine {one.machine} is still powering off; it is started again after that.")
            return
    given_up = {m for action in result.actions if isinstance(action, TerminateMachines) for m in action.machines}
    kept = [one for one in view.instances if one.state == "stopped" and one.machine not in given_up]
    if kept and _is_as_wanted(view, kept[0]):
        result.actions.append(StartMachine(machine=kept[0].machine))
        return
    if kept:
        reason = "the configuration of machines has changed"
        result.actions.append(TerminateMachines(machines=[kept[0].machine], reason=reason))
    result.actions.append(LaunchMachines(count=count))


def _is_as_wanted(view: FleetView, instance: Ec2Instance) -> bool:
    # Where the template could not be looked up, that is no reason to give a machine and its disk up.
    return view.template in ("", instance.template) and instance.instance_type in view.settings.instance_types


# --- what to tell ---


def _report_machines(view: FleetView, result: Scaling) -> None:
    for one in view.live:
        record = view.records.get(one.machine)
        started_at = _run_started_at(view, one)
        seen_at = record.last_seen_at if record else None
        silent_s = view.now - max(started_at, seen_at or 0.0)
        what = f"Machine {one.machine} ({one.instance_type}, {one.zone})"
        if silent_s > UNSEEN_S:
            result.wait(
                "stalled", f"{what} runs but has not been heard of for {duration(silent_s)}; see `gpupipe logs`."
            )
        elif seen_at is None:
            result.wait("launching", f"{what} has been starting for {duration(silent_s)}.")
    for record in view.launching:
        result.wait("launching", f"Machine {record.machine} ({record.instance_type}, {record.zone}) was just launched.")
