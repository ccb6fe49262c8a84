"""`secrets` typed as commands: values come from standard input and are never printed."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path

import boto3
import pytest
from tests.cli.conftest import Types

from gpupipe.local.emulators import Emulators

_numbers = itertools.count(1)
VALUE = "hf_" + "s" * 30
CONFIG = """
[stack]
name = "{name}"
target = "aws"
[pipelines.segment]
kind = "queue"
task = "segment"
[pipelines.segment.model]
weights = "meadow/trees-1"
revision = "0123456789abcdef0123456789abcdef01234567"
token_secret = "hf_token"
"""


@pytest.fixture
def stack(emulated: Emulators, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Somebody in a folder whose account is the emulators'."""
    name = f"secretive{next(_numbers)}"
    (folder / "gpupipe.toml").write_text(CONFIG.format(name=name))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", emulated.account.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", emulated.account.secret_key)
    monkeypatch.setenv("AWS_ENDPOINT_URL", emulated.endpoints["default"])
    return f"{name}-dev"


def stored(emulated: Emulators, stack: str) -> str:
    client = boto3.client("secretsmanager", region_name="us-east-1", endpoint_url=emulated.endpoints["default"])
    return str(client.get_secret_value(SecretId=f"{stack}/hf_token")["SecretString"])


def test_a_value_is_read_from_standard_input_and_shown_nowhere(
    types: Types, emulated: Emulators, stack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    before = types("secrets", "list", "--json").document
    assert [(one["name"], one["has_value"], one["used_by"]) for one in before] == [("hf_token", False, ["segment"])]
    assert "`gpupipe secrets set hf_token`" in types("secrets", "list").out
    # when
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{VALUE}\n"))
    typed = types("secrets", "set", "hf_token")
    # then
    assert typed.code == 0
    assert stored(emulated, stack) == VALUE
    listed = types("secrets", "list")
    assert "hf_token" in listed.out
    assert VALUE not in typed.out + typed.err + listed.out + listed.err


def test_a_value_as_an_argument_is_refused_and_not_repeated(types: Types, stack: str) -> None:
    for arguments in (("hf_token", VALUE), ("hf_token", f"--value={VALUE}")):
        typed = types("secrets", "set", *arguments)
        assert typed.code == 2
        assert "never an argument" in typed.err
        assert VALUE not in typed.out + typed.err


def test_an_empty_value_changes_nothing(types: Types, stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n"))
    typed = types("secrets", "set", "hf_token")
    assert (typed.code, "is empty" in typed.err) == (2, True)
    assert types("secrets", "list", "--json").document[0]["exists"] is False


def test_a_secret_is_deleted_by_who_agrees(
    types: Types, emulated: Emulators, stack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # given
    monkeypatch.setattr(sys, "stdin", io.StringIO(VALUE))
    types("secrets", "set", "hf_token")
    assert types("secrets", "delete", "hf_token").code == 2
    assert stored(emulated, stack) == VALUE
    # when
    assert types("secrets", "delete", "hf_token", "--yes", "--json").document == {"deleted": "hf_token"}
    # then
    assert types("secrets", "list", "--json").document[0]["exists"] is False
    gone = types("secrets", "delete", "hf_token", "--yes")
    assert (gone.code, "no secret hf_token" in gone.err) == (1, True)
