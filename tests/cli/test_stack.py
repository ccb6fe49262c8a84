"""`plan` and `up` typed as commands: what they refuse before anything is started."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.cli.conftest import Types

CONFIG = """
[stack]
name = "demo"
target = "local"
[pipelines.segment]
kind = "queue"
task = "segment"
[pipelines.segment.model]
weights = "{weights}"
"""
TYPOS = """
[stack]
name = "demo"
target = "local"
region = "us-est-1"
[pipelines.segment]
kind = "queue"
task = "segment"
[pipelines.segment.compute]
instance_types = ["g9.large"]
"""


@pytest.mark.parametrize("command", [("plan",), ("up", "--yes")])
def test_weights_that_are_not_there_are_told_before_anything_starts(
    types: Types, folder: Path, command: tuple[str, ...]
) -> None:
    # given
    (folder / "gpupipe.toml").write_text(CONFIG.format(weights=folder / "nowhere"))
    # when
    typed = types(*command)
    # then
    assert typed.code == 2
    assert f"pipelines.segment.model.weights: there is no folder {folder}/nowhere" in typed.err
    assert not (folder / ".gpupipe").exists()


@pytest.mark.parametrize("target", ["local", "aws"])
@pytest.mark.parametrize("command", [("plan",), ("up", "--yes")])
def test_typos_in_what_aws_has_are_told_before_anything_starts(
    types: Types, folder: Path, command: tuple[str, ...], target: str
) -> None:
    # given
    (folder / "gpupipe.toml").write_text(TYPOS.replace('"local"', f'"{target}"'))
    # when
    typed = types(*command)
    # then
    told = " ".join(typed.err.split())
    assert typed.code == 2
    assert "stack.region: AWS has no region 'us-est-1'; did you mean 'us-" in told
    assert "'us-east-1'" in told
    assert "pipelines.segment.compute.instance_types: EC2 has no instance type 'g9.large'; did you mean" in told
    assert "Traceback" not in typed.err
    assert not (folder / ".gpupipe").exists()


def test_a_stack_with_such_typos_can_still_be_deleted(types: Types, folder: Path) -> None:
    (folder / "gpupipe.toml").write_text(TYPOS)
    assert types("down", "--yes").code == 0


def test_a_stack_whose_weights_are_gone_can_still_be_deleted(types: Types, folder: Path) -> None:
    (folder / "gpupipe.toml").write_text(CONFIG.format(weights=folder / "nowhere"))
    assert types("down", "--yes").code == 0
