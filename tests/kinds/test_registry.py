"""Kinds of other packages: found where they are installed, and refused by name where they are none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.toy_kinds import python_path

NAMES = "from gpupipe.kinds import registry; print(*registry.names())"


def said(script: str, path: str) -> str:
    """What a process says that finds packages on `path` too; a look at what is installed is taken once a process."""
    answer = subprocess.run(
        [
            sys.executable,
            "-c",
            f"from gpupipe.errors import ConfigError\ntry:\n    {script}\n"
            "except ConfigError as error:\n    print(error)",
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip()


def package(folder: Path, *entries: str, code: str = "") -> str:
    """A folder of packages with one that brings these kinds; PYTHONPATH with it."""
    about = folder / "alien-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: alien\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("\n".join(["[gpupipe.kinds]", *entries]))
    (folder / "alien.py").write_text(code)
    return os.pathsep.join([str(folder), python_path(os.environ.get("PYTHONPATH"))])


def test_installed_kinds_stand_beside_ours() -> None:
    assert said(NAMES, python_path(os.environ.get("PYTHONPATH"))) == "endpoint pushed queue staged"


def test_ours_are_found_without_a_look_at_what_is_installed(tmp_path: Path) -> None:
    broken = package(tmp_path, "alien = alien:KIND", code="raise RuntimeError")
    assert said("from gpupipe.kinds import registry; print(registry.find('queue').name)", broken) == "queue"


@pytest.mark.parametrize(
    ("entry", "code", "why"),
    [
        ("alien = alien:KIND", "raise RuntimeError('no luck')", "it cannot be loaded: RuntimeError: no luck"),
        ("alien = alien:NOTHING", "", "it cannot be loaded: AttributeError"),
        ("alien = alien:KIND", "KIND = 7", "it is no Kind: 7"),
        ("alien = tests.toy_kinds.pushed:KIND", "", "it calls itself 'pushed'"),
        ("queue = tests.toy_kinds.pushed:KIND", "", "there is another of this name"),
        ("pushed = tests.toy_kinds.pushed:KIND", "", "there is another of this name"),
    ],
)
def test_what_is_no_kind_is_refused_with_whose_it_is(tmp_path: Path, entry: str, code: str, why: str) -> None:
    told = said(NAMES, package(tmp_path, entry, code=code))

    name = entry.partition(" ")[0]
    assert told.startswith(f"pipeline kind {name} (")
    assert why in told
    assert "uninstall" in told.lower()
