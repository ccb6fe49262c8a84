"""Plans and receipts as people read them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from gpupipe.cli.differences import difference_lines
from gpupipe.cli.screen import Screen, add_row, new_table

if TYPE_CHECKING:
    from gpupipe.plan import Event, Plan, Receipt, Step

MARKS = {"keep": "=", "create": "+", "update": "~", "replace": "±", "delete": "-"}


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
