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


GROUPS = {
    (): ROOT,
    **{(name,): command for name, command in ROOT.commands.items() if hasattr(command, "commands")},
}
WIDTHS = (60, 80, 120)


def helped(types: Types, words: tuple[str, ...], width: int) -> str:
    """The help of a command or group, on a terminal so wide."""
    shown = types(*words, "--help", columns=width)
    assert shown.code == 0
    return shown.out


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("words", GROUPS, ids=lambda words: " ".join(words) or "gpupipe")
def test_a_groups_help_holds_every_summary_whole(types: Types, words: tuple[str, ...], width: int) -> None:
    shown = flat(helped(types, words, width))
    for name, command in GROUPS[words].commands.items():
        paragraph = flat((command.help or "").partition("\n\n")[0])
        sentence = re.match(r".*?\.(?= |$)|.*", paragraph)
        assert sentence
        assert f" {name} {sentence[0]}" in shown
    assert "…" not in shown
    assert "..." not in shown.replace("COMMAND [ARGS]...", "")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("words", [*GROUPS, *ALL], ids=lambda words: " ".join(words) or "gpupipe")
def test_help_calls_arguments_and_values_by_words(types: Types, words: tuple[str, ...], width: int) -> None:
    # given what a person reads, but for the text that the docstring brings
    shown = helped(types, words, width)
    usage, _, below = shown.partition("\n\n")
    parameters = below[below.find("\nOptions:") :]
    arguments = below[below.find("\nArguments:") :] if "\nArguments:" in below else ""
    # then nothing in it is a type, or a bracket of no meaning
    assert not re.search(r"\[\[|[{}<>…]", usage + arguments + parameters)
    assert not re.search(r"--[a-z-]+ (TEXT|INTEGER|FLOAT|PATH|BOOLEAN|DIRECTORY|DIR|[A-Z])(?![\w=])", parameters)
    assert "…" not in shown
    # and no line is longer than the terminal, but for the example, which is there to be copied
    assert max(len(line) for line in shown.splitlines() if "Example: " not in line) <= width


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_every_value_has_a_word_of_capitals(words: tuple[str, ...]) -> None:
    for parameter in ALL[words].params:
        if not getattr(parameter, "is_flag", False):
            assert re.fullmatch(r"[A-Z]{3,}(=[A-Z]+)?", parameter.metavar or ""), parameter.name


def test_usage_shows_what_may_be_left_out_and_what_may_be_several(types: Types) -> None:
    lines = [
        helped(types, words, 80).splitlines()[0]
        for words in (("watch",), ("cancel",), ("submit",), ("jobs",), ("dlq",))
    ]
    assert lines == [
        "Usage: gpupipe watch [OPTIONS] [JOB]",
        "Usage: gpupipe cancel [OPTIONS] JOB",
        "Usage: gpupipe submit [OPTIONS] [PATH...]",
        "Usage: gpupipe jobs [OPTIONS]",
        "Usage: gpupipe dlq [OPTIONS] COMMAND [ARGS]...",
    ]


def test_the_whole_help_of_a_command(types: Types) -> None:
    assert (
        helped(types, ("watch",), 80)
        == """\
Usage: gpupipe watch [OPTIONS] [JOB]

  Follow a job until it is finished: counts, rate, time left, cost, machines,
  and why it waits.

  Ctrl-C ends the watching, never the job.

  Example: gpupipe watch --project field7

Arguments:
  JOB  Job id, or its beginning; default: the newest.

Options:
  --project PROJECT    The newest job of this project.
  --pipeline PIPELINE  Needed where there are several.
  --json               Print one JSON document when the job is over.
  --jsonl              Print a JSON line at every look.
  -h, --help           Show this message and exit.
"""
    )


def test_the_whole_help_of_a_group_on_a_narrow_terminal(types: Types) -> None:
    assert (
        helped(types, ("dlq",), 60)
        == """\
Usage: gpupipe dlq [OPTIONS] COMMAND [ARGS]...

  What nobody could work on: show it, send it again,
  forget it.

Options:
  -h, --help  Show this message and exit.

Commands:
  list     Show dead letters: shards and events that are
           not tried again by themselves.
  redrive  Send all dead letters again.
  purge    Forget all dead letters; their images stay
           failures of their jobs, and `retry` can still
           send those again.
"""
    )


def test_commands_come_in_the_order_in_which_a_person_meets_them() -> None:
    stack, jobs = (
        "demo init plan up status outputs down",
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
