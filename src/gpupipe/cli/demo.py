"""`demo`: the whole of it on this machine, with packaged photographs; no AWS account, no torch, no download."""

from __future__ import annotations

import itertools
import os
import tomllib
from pathlib import Path
from typing import Annotated

import typer

from gpupipe.cli.parameters import Json
from gpupipe.cli.screen import Screen, going_on
from gpupipe.cli.turns import NoWait

DEFAULT_FOLDER = Path("gpupipe-demo")
KIND = "queue"
STACK = "gpupipe-demo"
PROJECT = "examples"


def demo(
    folder: Annotated[Path, typer.Option("-o", "--out", metavar="FOLDER", help="Where it works.")] = DEFAULT_FOLDER,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack up, to try the other commands.")] = False,
    open_: Annotated[bool, typer.Option("--open", help="Show report.html in the browser.")] = False,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Run the main job on this machine: init, up, submit example photographs, watch, fetch, down.

    Example: gpupipe demo --open
    """
    from gpupipe.cli.opened import open_stack
    from gpupipe.cli.results import bring, finish
    from gpupipe.cli.stack import bring_up, take_down
    from gpupipe.cli.work import see_through, send
    from gpupipe.jobs.awaited import awaits

    screen = Screen(as_json=as_json)
    config = _prepared(folder)
    screen.say(f"1/5 up: an emulated AWS account in {folder}")
    with going_on(f"Stop what runs with `gpupipe --config {config} down`."):
        opened = open_stack(str(config), screen, start=True)
        bring_up(opened, screen.quiet(), yes=True, wait=not no_wait)
        screen.say("2/5 submit: photographs with their sources named in gpupipe/examples/SOURCES.md")
        job = send(opened, screen, [_examples()], project=PROJECT)
        awaits(opened.context(), job.job)
        screen.say("3/5 watch: the guard starts a machine, the worker finds things")
        see_through(opened.context(), screen, job.job, final=False)
        screen.say("4/5 fetch: COCO, masks, overlays and a report, verified")
        report = bring(opened, screen, job=job.job, out=_free(folder))
        if not keep:
            screen.say("5/5 down: everything is deleted, and nothing is left running")
            take_down(opened, screen.quiet(), yes=True, wait=not no_wait)
        else:
            screen.say(f"5/5 kept: gpupipe --config {config} status; `down` ends it")
    finish(report, screen, open_=open_)


def _prepared(folder: Path) -> Path:
    """The configuration of the demo in `folder`; that of an earlier demo is used again, and no other.

    The demo asks nothing before it makes things: another's file might name the person's AWS account, or a program.
    """
    from gpupipe.config import Config, load
    from gpupipe.config_file import render, write_new
    from gpupipe.errors import UsageError

    config = folder / "gpupipe.toml"
    if folder == DEFAULT_FOLDER and folder.is_symlink():
        raise UsageError(f"{folder} is a link, which nobody named.", hint="Name a folder with --out.")
    if config.exists() and load(config) != Config(**tomllib.loads(render(kinds=[KIND], name=STACK, target="local"))):
        raise UsageError(
            f"{config} is not as the demo writes it.",
            hint=f"Choose another folder with --out; `gpupipe --config {config} up` makes what is in it.",
        )
    if not config.exists():
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty and no demo's folder.", hint="Choose another with --out.")
        folder.mkdir(parents=True, exist_ok=True)
        write_new(config, kind=KIND, name=STACK, target="local")
    return config


def _free(folder: Path) -> Path:
    """`results`, or the first `results-2`, `results-3` … that no earlier demo has filled."""
    names = itertools.chain(["results"], (f"results-{number}" for number in itertools.count(2)))
    return next(path for name in names if not os.path.lexists(path := folder / name))


def _examples() -> str:
    from importlib import resources

    return str(resources.files("gpupipe.examples") / "photos")
