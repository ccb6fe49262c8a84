"""The Tab key, as bash and zsh press it: a process that is asked for words and says nothing else."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from tests.cli.running_target import running_target
from tests.cli.test_help import ALL
from tests.jobs.desk import Desk, a_desk
from tests.jobs.test_listing import record

from gpupipe.aws import Aws
from gpupipe.cli.complete import WITHIN, _in_time
from gpupipe.cli.main import run
from gpupipe.local.emulators import Emulators, client_environment
from gpupipe.resources.secret import Secret
from gpuworker.ledger import JobState

CONFIG = """
[stack]
name = "{name}"
target = "{target}"
[pipelines.segment]
kind = "queue"
task = "segment"
[pipelines.segment.model]
weights = "owner/name"
revision = "{revision}"
token_secret = "hf_token"
[pipelines.rooms]
kind = "endpoint"
task = "detect-rooms"
image = "123456789012.dkr.ecr.us-east-1.amazonaws.com/rooms:1"
"""
OLD, NEW = "20261101-100000-field7-aaaa", "20261103-100000-field8-bbbb"
PATIENCE_S = 60.0
"""For words that come in the end, however busy the machine is."""


def configured(folder: Path, *, name: str = "demo", target: str = "local") -> None:
    (folder / "gpupipe.toml").write_text(CONFIG.format(name=name, target=target, revision="0" * 40))


def completions(line: str, shell: str) -> dict[str, str]:
    """The environment in which the shell asks for words that may follow `gpupipe <line>`."""
    words = f"gpupipe {line}"
    typed = {
        "bash": {"COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))},
        "zsh": {"_TYPER_COMPLETE_ARGS": words},
    }
    return {"_GPUPIPE_COMPLETE": f"complete_{shell}", **typed[shell]}


def pressed(line: str, shell: str = "bash", within_s: float = PATIENCE_S, **environment: str) -> str:
    """What the shell gets to read from the process that it starts, of which nothing else may be heard."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "GPUPIPE_"))}
    away = {"AWS_EC2_METADATA_DISABLED": "true", "PYTHONPATH": os.pathsep.join(sys.path), WITHIN: str(within_s)}
    done = subprocess.run(
        [sys.executable, "-m", "gpupipe"],
        env={**clean, **away, **completions(line, shell), **environment},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_S,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


Offers = Callable[..., list[str]]


@pytest.fixture
def offered(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Offers:
    """The same words of bash without the process, which takes most of the time."""

    def offered_(line: str, **environment: str) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["gpupipe"])
        for name, value in {WITHIN: str(PATIENCE_S), **environment, **completions(line, "bash")}.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        assert run() == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.split()

    return offered_


@pytest.fixture
def desk(emulated: Emulators) -> Desk:
    """A stack with an old job that is over and a newer one that is not, and a secret."""
    desk = a_desk(emulated, "tabbed")
    desk.ctx.ledger.put_job(record(OLD, state=JobState.FINISHED))
    desk.ctx.ledger.put_job(record(NEW))
    desk.ctx.ledger.put_job(record("20261104-100000-gone-cccc", pipeline="not-in-the-configuration"))
    Secret.called(desk.ctx.aws.stack, "hub_token").create(desk.ctx.aws)
    return desk


@pytest.fixture
def local(emulated: Emulators, folder: Path) -> Iterator[Aws]:
    """That stack as a local target that runs."""
    a_desk(emulated, "tabbed-here").ctx.ledger.put_job(record(NEW))
    configured(folder, name="tabbed-here")
    with running_target(folder / "gpupipe.toml", "tabbed-here", emulated) as aws:
        yield aws


@pytest.fixture
def aws(emulated: Emulators, folder: Path, desk: Desk) -> Mapping[str, str]:
    """The environment in which that stack is in an account of AWS."""
    configured(folder, name=desk.ctx.aws.stack.name, target="aws")
    return client_environment(emulated.account, emulated.endpoints)


def test_names_of_the_configuration_are_offered_without_asking_anybody(folder: Path, offered: Offers) -> None:
    configured(folder, target="aws")
    assert offered("jobs --pipeline ") == ["segment", "rooms"]
    assert offered("jobs --pipeline s") == ["segment"]
    assert offered("invoke plan.png --pipeline ") == ["rooms"]
    assert offered("invoke plan.png --variant ") == ["main"]
    assert offered("secrets set ") == ["hf_token"]
    assert offered("init --kind ") == ["endpoint", "queue"]
    assert offered("init --target ") == ["local", "aws"]
    assert pressed("dlq list --pipeline r", "zsh") == '_arguments \'*: :(("rooms":"endpoint, detect-rooms"))\'\n'


def test_the_configuration_is_the_one_that_is_named(folder: Path, offered: Offers) -> None:
    (folder / "other").mkdir()
    configured(folder / "other")
    assert offered("--config other/gpupipe.toml jobs --pipeline s") == ["segment"]
    assert offered("jobs --pipeline s") == []
    assert offered("jobs --pipeline s", GPUPIPE_CONFIG="other/gpupipe.toml") == ["segment"]


def test_jobs_projects_and_secrets_of_an_account_are_offered(aws: Mapping[str, str], offered: Offers) -> None:
    assert offered("watch ", **aws) == [NEW, OLD]
    assert offered("fetch 20261101", **aws) == [OLD]
    assert offered("logs --job ", **aws) == [NEW, OLD]
    assert offered("watch --project field7 ", **aws) == [OLD]
    assert offered("retry --pipeline rooms ", **aws) == []
    assert offered("cancel ", **aws) == [NEW]
    assert offered("submit images --project ", **aws) == ["field8", "field7"]
    assert offered("secrets delete ", **aws) == ["hf_token", "hub_token"]
    # and by the process that either shell starts
    assert pressed("watch ", **aws).split() == [NEW, OLD]
    assert f'"{OLD}":"finished, 3 images"' in pressed("watch ", "zsh", **aws)


def test_a_local_target_that_runs_is_asked(local: Aws, offered: Offers) -> None:
    assert pressed("watch ").split() == offered("watch ") == [NEW]
    assert {"tabbed-here-dev-ledger", local.stack.data_bucket("segment")} <= set(offered("up --delete-data "))


@pytest.mark.parametrize("shell", ["bash", "zsh"])
@pytest.mark.parametrize("target", ["local", "aws"])
def test_where_nothing_can_be_known_nothing_is_offered_said_or_started(folder: Path, target: str, shell: str) -> None:
    # given a local target that is not up, or an account without keys
    configured(folder, target=target)
    before = sorted(folder.rglob("*"))
    # then zsh, with nothing to choose from, goes on with files
    assert pressed("watch ", shell).strip() == ("" if shell == "bash" else "_files")
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("content", [None, "[stack", "[stack]\nname = 7\n"])
def test_without_a_valid_configuration_nothing_is_offered_or_said(
    folder: Path, offered: Offers, content: str | None
) -> None:
    if content is not None:
        (folder / "gpupipe.toml").write_text(content)
    assert offered("watch ") == offered("jobs --pipeline ") == []


def test_who_does_not_answer_is_not_waited_for(folder: Path) -> None:
    # given an account that takes every call and answers none
    configured(folder, target="aws")
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        # then the process ends, where botocore would ask eight times for a minute each
        assert pressed("watch ", within_s=1.5, AWS_ENDPOINT_URL=url, **keys).split() == []


def test_what_is_known_when_the_time_is_up_is_offered() -> None:
    # given a word at once, and then an account that does not answer
    never = threading.Event()

    def words() -> Iterator[tuple[str, str]]:
        yield "hf_token", "named by the configuration"
        never.wait(PATIENCE_S)

    assert _in_time(words()) == [("hf_token", "named by the configuration")]
    never.set()


@pytest.mark.parametrize("seconds", ["", "soon", "nan", "inf", "-1"])
def test_seconds_that_are_no_number_are_not_heeded(monkeypatch: pytest.MonkeyPatch, seconds: str) -> None:
    monkeypatch.setenv(WITHIN, seconds)
    assert _in_time(iter([("a", "")])) == [("a", "")]


def test_nobody_is_asked_for_a_code_at_the_tab_key(folder: Path) -> None:
    # given a profile for which botocore asks the person, on the terminal or by stdin
    configured(folder, target="aws")
    profile = "[default]\nrole_arn = arn:aws:iam::123456789012:role/r\nsource_profile = base\nmfa_serial = s\n"
    base = "[profile base]\naws_access_key_id = a\naws_secret_access_key = b\n"
    (folder / "aws").write_text(profile + base)
    assert pressed("watch ", AWS_CONFIG_FILE=str(folder / "aws")).split() == []


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_whatever_names_something_is_completed(words: tuple[str, ...]) -> None:
    named = re.compile("JOB|PROJECT|PIPELINE|VARIANT|SECRET|KIND|TARGET|INSTANCE")
    for parameter in ALL[words].params:
        if named.fullmatch(parameter.metavar or ""):
            assert parameter._custom_shell_complete is not None, parameter.name
