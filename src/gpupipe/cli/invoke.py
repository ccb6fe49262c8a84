"""`invoke`: one image, answer now."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gpupipe.cli import complete
from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, add_row, duration, new_table, plural
from gpupipe.errors import UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from gpupipe.jobs.invoke import Answer, InvokeProgress

SAY_EVERY_S = 30.0
"""Seconds between two plain lines that say the same, and until one says that all is as it should be."""


class Format(StrEnum):
    """What the answer may look like."""

    json = "json"
    coco = "coco"


def invoke(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="One image file.")],
    pipeline: Annotated[
        str | None,
        typer.Option(
            "--pipeline",
            metavar="PIPELINE",
            autocompletion=complete.endpoints,
            help="Needed where several have an endpoint.",
        ),
    ] = None,
    variant: Annotated[
        str,
        typer.Option(
            "--variant",
            metavar="VARIANT",
            autocompletion=complete.variants,
            help="Which variant shall answer; realtime.",
        ),
    ] = "",
    prompts: Annotated[
        list[str] | None, typer.Option("--prompt", metavar="WORDS", help="What to find, instead of what it finds else.")
    ] = None,
    negative_prompts: Annotated[
        list[str] | None, typer.Option("--negative-prompt", metavar="WORDS", help="What not to take for it.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--option", metavar="KEY=VALUE", help="Option of the task; repeat for several.")
    ] = None,
    accept: Annotated[
        Format, typer.Option("--accept", metavar="FORMAT", help="json, the task's own, or coco.")
    ] = Format.json,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write the answer to FILE.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option("--timeout", metavar="SECONDS", min=1, help="Seconds to wait; 900. Realtime: 60 at most."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send one image to an endpoint and show its answer; nothing of it becomes a job.

    What lies beside it (IMAGE.prompts.json with boxes) goes with it, where the engine looks at it.

    Example: gpupipe invoke plan.png --pipeline rooms
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.jobs.endpoints import choose_endpoint
    from gpupipe.jobs.invoke import invoke as ask

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    ctx = choose_endpoint(opened.aws, opened.config, pipeline)
    _require_place(out)
    with telling(screen) as tell:
        answer = ask(
            ctx,
            image,
            variant=variant,
            prompts=prompts or (),
            negative_prompts=negative_prompts or (),
            assignments=options or (),
            accept=accept.value,
            timeout_s=timeout,
            on_progress=tell,
        )
    show(screen, answer, out)


def _require_place(out: Path | None) -> None:
    """Before an instance is started for an answer that could not be kept. Raises UsageError."""
    if out is not None and (out.is_dir() or not out.parent.is_dir()):
        what = "is a folder" if out.is_dir() else f"cannot be written: there is no folder {out.parent}"
        raise UsageError(f"{out} {what}.", hint="Name a file in a folder that exists.")


# --- while it goes on ---


@contextlib.contextmanager
def telling(screen: Screen) -> Iterator[Callable[[InvokeProgress], None]]:
    """A line on a terminal that changes; elsewhere a line when something changed in kind, and now and then."""
    console = screen.err
    if console.is_terminal:
        with console.status("") as status:
            yield lambda now: status.update(_told(now))
    else:
        yield _Plain(screen).show


_AS_IT_SHOULD_BE = "an instance is at work"


class _Plain:
    def __init__(self, screen: Screen) -> None:
        self._screen = screen
        self._told: object = _AS_IT_SHOULD_BE
        self._told_at = 0.0

    def show(self, now: InvokeProgress) -> None:
        state = now.endpoint
        is_usual = state is not None and state.status == "InService" and state.current > 0 and not now.is_paused
        kind = _AS_IT_SHOULD_BE if is_usual else (now.is_paused, state)
        if now.step == "wait" and (kind != self._told or now.waited_s - self._told_at >= SAY_EVERY_S):
            self._told, self._told_at = kind, now.waited_s
            self._screen.say(_told(now))


def _told(now: InvokeProgress) -> str:
    """What is going on, in plain words."""
    if now.step == "upload":
        return "uploading"
    if now.step == "send" or now.endpoint is None:
        return "asking"
    since = f"; {duration(now.waited_s)} so far" if now.waited_s >= 1 else ""
    state = now.endpoint
    if now.is_paused:
        return f"waiting: the pipeline is stopped, and `gpupipe start` lets it go on{since}"
    if state.status not in ("InService", "Updating"):
        return f"waiting: the endpoint is {state.status}{since}"
    if not state.current:
        return f"waiting: no instance runs; from zero it takes a few minutes until one answers{since}"
    return f"waiting: {plural(state.current, 'instance')} at work{since}"


# --- the answer ---


def show(screen: Screen, answer: Answer, out: Path | None) -> None:
    """Write the answer to `out` as it came, or show it: rooms as a table, anything else as JSON."""
    if out is not None:
        out.write_bytes(answer.body)
    document = {**answer.document(), "file": str(out) if out else None}
    screen.answer(document, table=_table(answer.result) if out is None else None, text=_text(answer, out))


def _table(result: Any) -> Table | None:
    """Rooms, one a line; None for what is no list of rooms."""
    rooms = result.get("rooms") if isinstance(result, Mapping) else None
    if not isinstance(rooms, list) or not rooms:
        return None
    labels = ["label"] if any(room.get("label") for room in rooms) else []  # text is read where there is OCR
    table = new_table("room", *labels, "area", "x", "y", "width", "height", "corners", right=_NUMBERS)
    for number, room in enumerate(rooms, 1):
        corners = room.get("polygon") or ()
        box = [_number(value) for value in (*(room.get("bbox") or ()), "", "", "", "")[:4]]
        label = [str(room.get("label") or "")] * len(labels)
        add_row(table, str(number), *label, _number(room.get("area")), *box, str(len(corners)))
    return table


_NUMBERS = ("room", "area", "x", "y", "width", "height", "corners")


def _number(value: Any) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else str(value or "")


def _text(answer: Answer, out: Path | None) -> str:
    by = f" by variant {answer.variant}" if answer.variant else ""
    end = f"{answer.image}: {_found(answer)}, in {answer.seconds:.2f} s{by}"
    if out is not None:
        return "\n".join([end, *_why_empty(answer.result), f"written to {out}"])
    if answer.result is None:
        kept = f"{len(answer.body):,} bytes of {answer.content_type or 'an unknown type'}"
        return f"{end}\n{kept}; -o FILE keeps them"
    if _table(answer.result) is not None or _count(answer.result) == 0:
        return "\n".join([end, *_why_empty(answer.result)])
    return "\n".join([json.dumps(answer.result, indent=2, ensure_ascii=False), end, *_why_empty(answer.result)])


def _why_empty(result: Any) -> list[str]:
    """Why there are no rooms and what to try, a line each; nothing where there are, or where nobody says so."""
    about = _about_image(result)
    return [str(about[word]) for word in ("reason", "hint") if about.get(word)]


def _about_image(result: Any) -> Mapping[str, Any]:
    """The record itself, or COCO's one image."""
    if not isinstance(result, Mapping):
        return {}
    images = result.get("images")
    first = images[0] if isinstance(images, list) and images else result
    return first if isinstance(first, Mapping) else {}


def _found(answer: Answer) -> str:
    count = _count(answer.result)
    if count is not None:
        return plural(count, "room")
    annotations = answer.result.get("annotations") if isinstance(answer.result, Mapping) else None
    return plural(len(annotations), "annotation") if isinstance(annotations, list) else "answered"


def _count(result: Any) -> int | None:
    rooms = result.get("rooms") if isinstance(result, Mapping) else None
    return len(rooms) if isinstance(rooms, list) else None
