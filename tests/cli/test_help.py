"""`--help` of every command: an example that works, in little time."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import typer.main
from tests.cli.conftest import Types

from gpupipe.cli.app import app

ROOT = typer.main.get_command(app)


def commands(group: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


ALL = dict(commands())


def example(command: Any) -> list[str]:
    """The arguments of gpupipe in a command's example, without what the shell takes."""
    line = re.search(r"^\s*Example: (.+)$", command.help, re.MULTILINE)
    assert line, "no example"
    told = re.search(r"gpupipe ([^;>)]+)", line[1])
    assert told
    return shlex.split(told[1])


def parsed(arguments: list[str]) -> tuple[str, ...]:
    """The words of the command that `arguments` mean; raises where they are not valid usage."""
    context, command, words = ROOT.make_context("gpupipe", list(arguments)), ROOT, ()
    while hasattr(command, "commands"):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        words = (*words, name)
        context = command.make_context(name, rest, parent=context)
    return words


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_the_example_is_valid_and_of_this_command(words: tuple[str, ...]) -> None:
    assert parsed(example(ALL[words])) == words


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_shows_the_example(types: Types, words: tuple[str, ...]) -> None:
    shown = types(*words, "--help")
    assert shown.code == 0
    assert "Example: " in shown.out


def test_commands_come_in_the_order_in_which_a_person_meets_them() -> None:
    stack, jobs = (
        "demo init plan up status down",
        "submit watch fetch open evaluate run jobs invoke cancel retry logs start stop",
    )
    assert list(ROOT.commands) == f"{stack} {jobs} dlq config secrets local".split()


@pytest.mark.parametrize("words", [w for w in ALL if w[0] not in ("local",)], ids=" ".join)
def test_every_command_that_reports_has_json(words: tuple[str, ...]) -> None:
    assert "--json" in {option for parameter in ALL[words].params for option in parameter.opts}


def test_without_arguments_help_is_shown(types: Types) -> None:
    shown = types()
    assert shown.code == 2
    assert "Commands:" in shown.err


def test_a_mistyped_command_names_the_near_one(types: Types) -> None:
    shown = types("sumbit")
    assert shown.code == 2
    assert "Did you mean 'submit'" in shown.err


SLOW = ("boto3", "botocore", "pydantic", "rich", "obstore", "jinja2", "numpy", "cv2", "torch")


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (["--help"], SLOW),
        (["submit", "--help"], sorted({*SLOW} - {"pydantic"})),
        (["--version"], (*SLOW, "typer", "gpupipe.config")),
    ],
)
def test_nothing_slow_is_imported_for(arguments: list[str], unwanted: Sequence[str]) -> None:
    code = (
        "import atexit, json, sys\n"
        "atexit.register(lambda: print(json.dumps(sorted(sys.modules)), file=sys.stderr))\n"
        f"sys.argv = ['gpupipe', *{arguments!r}]\n"
        "from gpupipe.cli.main import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert set(unwanted) & set(json.loads(done.stderr)) == set()


def test_the_shell_completes_commands_and_options() -> None:
    environment = {"_GPUPIPE_COMPLETE": "complete_bash", "COMP_WORDS": "gpupipe su", "COMP_CWORD": "1"}
    code = "import sys; sys.argv = ['gpupipe']; from gpupipe.cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=60)
    assert done.stdout.split() == ["submit"]
