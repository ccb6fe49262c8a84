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


def test_a_stack_whose_weights_are_gone_can_still_be_deleted(types: Types, folder: Path) -> None:
    (folder / "gpupipe.toml").write_text(CONFIG.format(weights=folder / "nowhere"))
    assert types("down", "--yes").code == 0
