"""Exit codes, and how failures are told to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cli.conftest import Types

from gpupipe.cli.outcome import tell
from gpupipe.cli.screen import Screen
from gpupipe.errors import ApplyError, GpupipeError, JobError, StoppedError


def test_a_usage_error_is_told_in_json_where_that_was_asked_for(types: Types, folder: Path) -> None:
    shown = types("jobs", "--nope", "--json")
    assert shown.code == 2
    assert shown.document["error"]["type"] == "UsageError"
    assert "--nope" in shown.document["error"]["message"]
    assert "gpupipe jobs --help" in shown.err


def test_a_missing_configuration_says_how_to_get_one(types: Types, folder: Path) -> None:
    shown = types("status", "--json")
    assert shown.code == 2
    assert "gpupipe init" in shown.document["error"]["hint"]


def test_config_is_taken_before_the_command_and_from_the_environment(
    types: Types, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert types("--config", "one.toml", "init", "--name", "first").code == 0
    assert types("--config", "two.toml", "init", "--name", "second").code == 0
    monkeypatch.setenv("GPUPIPE_CONFIG", "one.toml")
    assert types("config", "show", "--json").document["stack"]["name"] == "first"
    assert types("--config", "two.toml", "config", "show", "--json").document["stack"]["name"] == "second"


def test_init_refuses_to_overwrite(types: Types, folder: Path) -> None:
    types("init")
    before = (folder / "gpupipe.toml").read_text()
    assert types("init").code == 2
    assert (folder / "gpupipe.toml").read_text() == before


@pytest.mark.parametrize("command", ["start", "stop", "jobs", "watch", "fetch", "logs", "status"])
def test_a_local_target_that_was_never_up_says_so(types: Types, folder: Path, command: str) -> None:
    types("init")
    shown = types(command, "--json")
    assert shown.code == 1
    assert "gpupipe up" in shown.document["error"]["hint"]


def test_down_of_what_never_was_is_quiet(types: Types, folder: Path) -> None:
    types("init")
    assert types("down", "--json").document == {"deleted": [], "leftovers": []}
    assert not (folder / ".gpupipe").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["submit", "x"], "--project"),
        (["submit", "s3://bucket/incoming/a/", "--project", "b"], "stands alone"),
        (["retry", "JOB"], "--failed"),
        (["logs", "--since", "yesterday"], "is no time"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_reached(
    types: Types, folder: Path, arguments: list[str], told: str
) -> None:
    types("init")
    shown = types(*arguments)
    assert shown.code == 2
    assert told in shown.err


def told(error: Exception, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    code = tell(error)
    printed = capsys.readouterr()
    return code, printed.out, printed.err


@pytest.fixture
def asked_for_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gpupipe", "up", "--json"])
    monkeypatch.setattr(Screen, "has_answered", False)


def test_a_bug_is_short_and_says_how_to_report_it(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(KeyError("x"), capsys)
    assert code == 1
    assert "mistake in gpupipe: KeyError" in err
    assert "GPUPIPE_DEBUG=1" in err
    assert "Traceback" not in err


def test_debugging_shows_where(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPUPIPE_DEBUG", "1")
    try:
        raise JobError("no job") from KeyError("x")
    except JobError as error:
        _, _, err = told(error, capsys)
    assert "KeyError: 'x'" in err
    assert "Traceback" in err


def test_names_are_neither_markup_nor_orders_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = told(GpupipeError("cannot read a [red]b[/red]\x1b[2Jc.jpg.", hint="[bold]x[/]"), capsys)
    assert "a [red]b[/red]\N{REPLACEMENT CHARACTER}[2Jc.jpg" in err
    assert "[bold]x[/]" in err


def test_a_full_disk_is_no_bug(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(OSError(28, "No space left on device", "/x/y"), capsys)
    assert code == 1
    assert "No space left on device: /x/y" in err
    assert "mistake" not in err


def test_ctrl_c_is_130_and_not_called_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = told(StoppedError("stopped.", hint="Go on with `gpupipe up`."), capsys)
    assert code == 130
    assert "error" not in err
    assert "gpupipe up" in err


@pytest.mark.usefixtures("asked_for_json")
def test_what_an_up_did_before_it_failed_is_in_its_document(capsys: pytest.CaptureFixture[str]) -> None:
    failed = ApplyError("1 step failed.", failures=[JobError("why")], receipt={"created": ["a"]})
    _, out, _ = told(failed, capsys)
    assert json.loads(out)["error"]["receipt"] == {"created": ["a"]}
    assert json.loads(out)["error"]["failures"] == ["why"]


@pytest.mark.usefixtures("asked_for_json")
def test_there_is_never_a_second_document(capsys: pytest.CaptureFixture[str]) -> None:
    Screen(as_json=True).answer({"a": 1})
    _, out, _ = told(JobError("late"), capsys)
    assert json.loads(out) == {"a": 1}


def test_a_reader_who_has_had_enough_is_no_error() -> None:
    command = f"{sys.executable} -m gpupipe config schema | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "{"
    assert done.stderr == ""
