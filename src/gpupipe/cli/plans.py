"""Plans, receipts and the state of a stack as people read them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpupipe.cli.differences import difference_lines
from gpupipe.cli.screen import Screen, add_row, duration, new_table

if TYPE_CHECKING:
    from rich.table import Table

    from gpupipe.plan import Event, Plan, Receipt, Step

MARKS = {"keep": "=", "create": "+", "update": "~", "replace": "±", "delete": "-"}
STATE_MARKS = {"present": "ok", "changed": "differs", "missing": "MISSING", "foreign": "NOT OURS"}


def show_plan(screen: Screen, plan: Plan) -> None:
    """The plan as a table, or that there is nothing to do."""
    if plan.is_empty and not plan.kept and not plan.conflicts:
        text = f"Nothing to do: all {len(plan.steps)} parts are as gpupipe.toml says."
        screen.answer(plan.document(), text=text)
        return
    table = new_table("", "what", "change", "$/month", right=("$/month",))
    for step in (*plan.changes, *plan.blocked, *plan.kept):
        add_row(table, *_row(step))
    screen.answer(plan.document(), table=table, text="\n".join(_remarks(plan)))


def _row(step: Step) -> tuple[str, str, str, str]:
    lines = [line for field, old, new in step.changes for line in difference_lines(field, old, new)]
    note = [step.note] if step.note else []
    if step.protected:
        note.append(f"holds data and is kept; --delete-data {step.name} deletes it")
    changed = [] if step.action == "create" else lines
    mark = "!" if step.protected else MARKS[step.action]
    return mark, step.what, "\n".join([*changed, *note]), f"{step.usd_per_month:.2f}" if step.usd_per_month else ""


def _remarks(plan: Plan) -> Iterator[str]:
    counts = {word: sum(step.action == word for step in plan.changes) for word in MARKS if word != "keep"}
    done = ", ".join(f"{count} to {word}" for word, count in counts.items() if count) or "nothing to do"
    same = sum(step.action == "keep" for step in plan.steps)
    yield f"{done[:1].upper()}{done[1:]}" + (f"; {same} stay as they are." if same else ".")
    if any(step.action != "delete" for step in plan.changes):
        month = sum(step.usd_per_month for step in plan.steps)
        yield f"Standing cost about ${month:.2f} a month, used or not."
    yield from plan.notes
    yield from (f"conflict: {conflict}" for conflict in plan.conflicts)


def down_question(plan: Plan) -> str:
    """What `down` asks, once for all of it: data that goes is named."""
    data = [step.name for step in plan.changes if step.resource.holds_data]
    if not data:
        return f"Delete these {len(plan.changes)} things?"
    return f"Delete these {len(plan.changes)} things and ALL DATA in {', '.join(data)}?"


def receipt_text(receipt: Receipt) -> str:
    """What `down` did, and the proof that nothing is left."""
    lines = [f"Deleted {len(receipt.deleted)} things."] if receipt.deleted else ["Nothing was there to delete."]
    lines += [f"kept: {kept}" for kept in receipt.kept]
    lines += [f"STILL THERE: {name}" for name in receipt.leftovers]
    if receipt.searched and not receipt.leftovers:
        lines.append("Searched the account for leftovers by tag and by name: none.")
    return "\n".join(lines)


@contextlib.contextmanager
def applying(screen: Screen) -> Iterator[Callable[[Event], None]]:
    """Progress of an `up` or `down`: a bar with what is being done now, or plain lines."""
    with screen.progress("parts") as progress:

        def on_event(event: Event) -> None:
            progress.total(event.total)
            if event.kind in {"done", "failed", "skipped"}:
                progress.line(f"{event.kind}: {event.text}") if event.kind != "done" else progress.now(event.text)
            else:
                progress.now(event.text)
            progress.at(event.done)

        yield on_event


def status_table(document: Mapping[str, Any]) -> Table:
    """Every part of the stack with its state."""
    table = new_table("what", "state", "note")
    for part in document["resources"]:
        state = STATE_MARKS.get(part["state"], part["state"])
        add_row(table, f"{part['kind']} {part['name']}", state, part["note"])
    return table


def _bill(document: Mapping[str, Any]) -> list[str]:
    """Machines, and what all of it costs right now."""
    from gpupipe.cli.watching import endpoint_text, gpu_text

    running = {one["machine"]: one for one in document["running"]}
    # Instances of an endpoint are in the ledger alone: EC2 does not show them.
    names = dict.fromkeys([*document["machines"], *running])
    lines = [
        f"endpoint of {one['pipeline']}: {endpoint_text(one)} ({duration(max(0.0, time.time() - one['seen_at']))} ago)"
        for one in document["endpoints"]
    ]
    lines.append(f"machines: {len(names) or 'none'}")
    for name in names:
        one = running.get(name)
        about = " ".join(one[part] for part in ("type", "zone", "market") if one[part]) if one else ""
        gpu = gpu_text(one) if one else ""
        lines.append(f"  {name}  {about}, {one['state']}{gpu and f', {gpu}'}" if one else f"  {name}  off")
    hour, month = sum(one["price_usd_per_hour"] for one in running.values()), document["usd_per_month"]
    cost = f"${hour:.3f} an hour for machines, and ${month:.2f} a month for the rest, used or not"
    return [*lines, f"costs nothing here; on AWS {cost}" if document["local"] else f"costs {cost}"]


def status_text(document: Mapping[str, Any]) -> str:
    """Machines and, for the local target, its processes and how to reach it."""
    lines = _bill(document)
    if document["locked_by"]:
        lines.append(f"being changed by {document['locked_by']}")
    lines += [f"not in gpupipe.toml any more: {name}" for name in document["unwanted"]]
    if local := document.get("local"):
        lines.append(f"local target: {local['phase']}, files in {local['folder']}")
        lines += [f"  {one['name']:<11} pid {one['pid']:<7} {one['url']}".rstrip() for one in local["processes"]]
        for one in local.get("containers", ()):
            lines.append(f"  container   pid {one['pid']:<7} {one['variant']}/{one['instance']}, {one['state']}")
        lines.append('  for the AWS CLI: eval "$(gpupipe local env)"; aws s3 ls')
    return "\n".join(lines)
