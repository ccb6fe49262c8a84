"""`plan`, `up`, `status`, `down`: the stack as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from gpupipe.cli import complete
from gpupipe.cli.outputs import lines, outputs_of
from gpupipe.cli.parameters import Json, OnlyPipeline
from gpupipe.cli.screen import Screen, going_on
from gpupipe.cli.turns import NoWait, in_turn

if TYPE_CHECKING:
    from gpupipe.cli.opened import Opened
    from gpupipe.plan import Event, Receipt

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DeleteData = Annotated[
    list[str] | None,
    typer.Option(
        "--delete-data",
        metavar="NAME",
        autocompletion=complete.data,
        help="Allow deleting this bucket, table or secret, and all it holds.",
    ),
]

NOTHING_THERE = "Nothing is there to delete: the local target has no files."


def _command(verb: str, pipeline: str | None) -> str:
    """What a person types to go on with it, which is about no more than it was."""
    return f"gpupipe {verb} --pipeline {pipeline}" if pipeline else f"gpupipe {verb}"


def plan(
    context: typer.Context, delete_data: DeleteData = None, pipeline: OnlyPipeline = None, as_json: Json = False
) -> None:
    """Show what `up` would do, and what it would cost; changes nothing.

    Example: gpupipe plan
    """
    from gpupipe.cli.opened import check_before_up, rehearsed
    from gpupipe.cli.plans import show_plan
    from gpupipe.provision import plan_up

    screen = Screen(as_json=as_json)
    check_before_up(context.obj, pipeline)
    with rehearsed(context.obj, screen) as opened:
        wanted = plan_up(opened.config, opened.aws, delete_data=tuple(delete_data or ()), pipeline=pipeline or "")
        show_plan(screen, wanted)


def up(
    context: typer.Context,
    yes: Yes = False,
    delete_data: DeleteData = None,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="Take over a local target that came with the folder: objects only, no code.")
    ] = False,
    pipeline: OnlyPipeline = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Create or update everything that gpupipe.toml describes.

    Example: gpupipe up --yes
    """
    from gpupipe.cli.opened import adopt_local, check_before_up, open_stack

    screen = Screen(as_json=as_json)
    check_before_up(context.obj, pipeline)
    with going_on(f"What was made is kept. Go on with `{_command('up', pipeline)}`."):
        adopted = adopt and adopt_local(context.obj, screen)
        opened = open_stack(context.obj, screen, start=True)
        receipt = bring_up(
            opened, screen, yes=yes, delete_data=tuple(delete_data or ()), pipeline=pipeline or "", wait=not no_wait
        )
        if adopted:
            opened.rebuild()
        found = outputs_of(opened, pipeline)
        what = f"Pipeline {pipeline}" if pipeline else "The stack"
        which = f" --pipeline {pipeline or 'NAME'}" if len(opened.config.pipelines) > 1 else ""
        text = [*lines(found), f"{what} is up. Next: `gpupipe submit FOLDER --project NAME{which}`"]
        screen.answer({**receipt.document(), "outputs": found}, text="\n".join(text))


def bring_up(
    opened: Opened,
    screen: Screen,
    *,
    yes: bool,
    delete_data: tuple[str, ...] = (),
    pipeline: str = "",
    wait: bool = True,
) -> Receipt:
    """Wait for the stack to be free, plan, show, ask and apply. Raises where the person says no, and as `in_turn`."""
    from gpupipe.secrets import check_set, unset

    within = opened.config.only(pipeline) if pipeline else opened.config
    check_set(within, opened.aws)
    receipt = in_turn(
        opened.aws,
        screen,
        lambda: _change(opened, screen, yes=yes, delete_data=delete_data, pipeline=pipeline),
        command=_command("up", pipeline),
        wait=wait,
    )
    opened.remember()
    for name in unset(within, opened.aws):
        screen.say(f"note: secret {name} has no value yet: `gpupipe secrets set {name}`.")
    return receipt


def _change(opened: Opened, screen: Screen, *, yes: bool, delete_data: tuple[str, ...], pipeline: str) -> Receipt:
    from gpupipe.cli.plans import applying, show_plan
    from gpupipe.provision import plan_up
    from gpupipe.provision import up as apply

    wanted = plan_up(opened.config, opened.aws, delete_data=delete_data, pipeline=pipeline)
    wanted.check_ours()
    show_plan(screen.aside(), wanted)
    if wanted.changes and not opened.is_local:
        screen.confirm("Make these changes?", yes=yes)
    with applying(screen) as on_event:
        return apply(
            opened.config,
            opened.aws,
            plan=wanted,
            delete_data=delete_data,
            command=_command("up", pipeline),
            on_event=on_event,
        )


def down(
    context: typer.Context,
    yes: Yes = False,
    keep_data: Annotated[bool, typer.Option("--keep-data", help="Keep buckets, tables and secrets.")] = False,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only delete the local target's folder, also one that others made.")
    ] = False,
    pipeline: OnlyPipeline = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Delete everything of the stack, and prove that nothing is left.

    Example: gpupipe down --keep-data
    """
    from gpupipe.cli.opened import open_stack, was_never_up
    from gpupipe.cli.plans import receipt_text

    screen = Screen(as_json=as_json)
    if forget:
        _forget(context.obj, screen, yes=yes, keep_data=keep_data, pipeline=pipeline)
        return
    if was_never_up(context.obj):
        screen.answer({"deleted": [], "leftovers": []}, text=NOTHING_THERE)
        return
    with going_on(f"Some of the stack is still there. Go on with `{_command('down', pipeline)}`."):
        opened = open_stack(context.obj, screen, start=True)
        receipt = take_down(opened, screen, yes=yes, keep_data=keep_data, pipeline=pipeline or "", wait=not no_wait)
        screen.answer(receipt.document(), text=receipt_text(receipt))
    if receipt.leftovers:
        raise typer.Exit(1)


def _forget(file: str | None, screen: Screen, *, yes: bool, keep_data: bool, pipeline: str | None) -> None:
    from gpupipe.cli.opened import forget_local
    from gpupipe.errors import UsageError

    if keep_data:
        raise UsageError(
            "`--forget` deletes the folder with all data; `--keep-data` keeps it.", hint="Give one of them."
        )
    if pipeline:
        raise UsageError(
            "`--forget` deletes the folder with all pipelines; `--pipeline` names one.", hint="Give one of them."
        )
    folder = forget_local(file, screen, yes=yes)
    text = f"{folder} is deleted." if folder else NOTHING_THERE
    screen.answer({"forgotten": str(folder) if folder else None}, text=text)


def take_down(
    opened: Opened, screen: Screen, *, yes: bool, keep_data: bool = False, pipeline: str = "", wait: bool = True
) -> Receipt:
    """Wait for the stack to be free, plan, show, ask and delete; ends the local target, unless of one pipeline only.

    Raises where the person says no, and as `in_turn`.
    """
    receipt = in_turn(
        opened.aws,
        screen,
        lambda: _delete(opened, screen, yes=yes, keep_data=keep_data, pipeline=pipeline),
        command=_command("down", pipeline),
        wait=wait,
    )
    if not pipeline:
        opened.close(remove=not keep_data and not receipt.leftovers)
    return receipt


def _delete(opened: Opened, screen: Screen, *, yes: bool, keep_data: bool, pipeline: str) -> Receipt:
    from gpupipe.cli.plans import applying, down_question, show_plan
    from gpupipe.provision import down as delete
    from gpupipe.provision import plan_down

    wanted = plan_down(opened.config, opened.aws, keep_data=keep_data, pipeline=pipeline)
    if wanted.changes:
        show_plan(screen.aside(), wanted)
        screen.confirm(down_question(wanted), yes=yes)
    with applying(screen) as show:

        def on_event(event: Event) -> None:
            # Only now something goes: until then another command may come first.
            if event.step is not None and not pipeline:
                opened.forget()
            show(event)

        command = _command("down", pipeline)
        return delete(opened.config, opened.aws, plan=wanted, keep_data=keep_data, command=command, on_event=on_event)


def status(
    context: typer.Context,
    resources: Annotated[bool, typer.Option("--resources", help="List all resources, not only what is wrong.")] = False,
    as_json: Json = False,
) -> None:
    """Show open jobs, what runs and what it costs, and what is wrong with the stack.

    Example: gpupipe status
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.cli.status import gathered
    from gpupipe.jobs.overview import overview
    from gpupipe.provision import known_outputs
    from gpupipe.provision import status as stack_status

    screen = Screen(as_json=as_json)
    opened = open_stack(context.obj, screen)
    config = opened.config
    shown = gathered(
        stack_status(config, opened.aws),
        overview(opened.aws, config),
        region=config.stack.region,
        budgets={name: one.budget.monthly_usd for name, one in config.pipelines.items() if one.budget.monthly_usd},
        local=opened.local_status(),
        outputs=known_outputs(config, opened.aws),
    )
    screen.answer(shown.document(), text=shown.text(with_resources=resources))
