"""`gpupipe local env`: what it prints, and whom it warns."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from tests.cli.conftest import Types
from tests.local.test_state import TARGET

from gpupipe.cli import opened

V1 = "#!/bin/sh\necho aws-cli/1.45.11 Python/3.11.7 Linux/6.1 botocore/1.43.11\n"
V1_OF_OLD = "#!/bin/sh\necho aws-cli/1.15.0 Python/2.7 >&2\n"
V2 = "#!/bin/sh\necho aws-cli/2.31.1 Python/3.13.7 Linux/6.1 exe/x86_64.debian.13\n"


@pytest.fixture
def path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are looked for in; and a local target that runs."""
    path = folder / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    monkeypatch.setattr(opened, "open_local", lambda *_: SimpleNamespace(target=TARGET))
    return path


def installed(path: Path, script: str, mode: int = 0o755) -> None:
    (path / "aws").write_text(script)
    (path / "aws").chmod(mode)


@pytest.mark.parametrize("script", [V1, V1_OF_OLD])
def test_version_1_of_the_cli_is_warned_of(types: Types, path: Path, script: str) -> None:
    installed(path, script)
    for arguments in ((), ("--json",)):
        typed = types("local", "env", *arguments)
        assert typed.code == 0
        said = " ".join(typed.err.split())
        assert f"note: {path}/aws is version 1 of the AWS CLI, whose `aws sqs` asks AWS itself" in said
        assert '--endpoint-url "$AWS_ENDPOINT_URL"' in said
    # and stdout is what `eval` takes, or one document
    assert json.loads(typed.out)["AWS_ACCESS_KEY_ID"] == TARGET.account_id
    assert all(line.startswith("export AWS_") for line in types("local", "env").out.splitlines())


@pytest.mark.parametrize(
    ("script", "mode"),
    [(V2, 0o755), ("#!/nonexistent\n", 0o755), ("#!/bin/sh\nexit 1\n", 0o755), (V1, 0o644)],
)
def test_no_other_is(types: Types, path: Path, script: str, mode: int) -> None:
    installed(path, script, mode)
    assert (types("local", "env").code, types("local", "env").err) == (0, "")


def test_without_the_cli_nothing_is_said(types: Types, path: Path) -> None:
    assert (types("local", "env").code, types("local", "env").err) == (0, "")
