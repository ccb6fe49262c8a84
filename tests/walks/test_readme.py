"""README's commands, as they stand there: each is one that there is, and its quick start works in an empty folder."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pytest
from tests.cli.test_help import parsed
from tests.e2e.conftest import Person, eventually
from tests.walks.transcript import Walk

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
PHOTOS = Path(str(resources.files("gpupipe.examples"))) / "photos"


def blocks(section: str) -> list[str]:
    """The indented blocks below a heading, up to the next of its kind."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return [block.replace("\n    ", "\n").strip() for block in re.findall(r"(?m)(?:^    .+\n)+", text)]


def commands() -> Iterator[str]:
    """Every command of gpupipe that README shows, in blocks and in running text."""
    lines = README.replace("\\\n", " ")
    for line in re.findall(r"(?m)^ {4}(?:\$ )?(gpupipe .+)$", lines):
        yield line
    for line in re.findall(r"`(gpupipe [a-z][^`]*)`", lines):
        if line.split()[1:] != ["evaluate"]:  # there it is only named, without what it needs
            yield line


@pytest.mark.parametrize("command", dict.fromkeys(commands()))
def test_every_command_is_one_that_there_is(command: str) -> None:
    arguments = shlex.split(re.split(r"[<>|;]", command)[0], comments=True)[1:]
    assert parsed(arguments)


def test_it_shows_more_than_a_few() -> None:
    """What finds commands in it finds them."""
    assert len(set(commands())) > 30
    assert len(blocks("Use it")) >= 3


def types(person: Person, block: str) -> None:
    """Run a block as a shell does, with this Python's programs and a browser that notes what it shows."""
    here = person.folder
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "BROWSER": str(here.parent / "browser.sh")}
    done = subprocess.run(
        ["bash", "-euc", block], cwd=here, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, f"{block}\n{done.stdout}\n{done.stderr}"


@pytest.fixture
def newcomer(walk: Walk) -> Person:
    """Somebody in a folder with nothing in it but three photographs."""
    here = walk.person.folder
    (here / "images").mkdir()
    for name in ("airplane.jpg", "cat.jpg", "football.jpg"):
        shutil.copy(PHOTOS / name, here / "images")
    browser = here.parent / "browser.sh"
    browser.write_text(f'#!/bin/sh\necho "$1" > "{here.parent}/shown"\n')
    browser.chmod(0o755)
    return walk.person


@pytest.mark.exhaustive
@pytest.mark.timeout(600)  # two stacks come up and down, and three jobs run
def test_the_quick_start_works_in_a_folder_that_is_no_clone(newcomer: Person) -> None:
    install, first, drop_in = blocks("Use it")[:3]
    assert install.startswith("pip install")  # a wheel's own tests install it
    # the first commands
    types(newcomer, first)
    report = newcomer.folder / "field7-results" / "report.html"
    assert (newcomer.folder.parent / "shown").read_text().strip() == report.as_uri()
    assert "cat.jpg" in report.read_text(encoding="utf-8")
    # what any S3 client drops in
    types(newcomer, drop_in.replace("BUCKET", newcomer.bucket("segment")))
    # the five commands at the top
    five = README.split("\n\n")[1]
    up, submit, watch, fetch, down = re.findall(r"(?m)^    (gpupipe .+)$", five)
    for line in (up, submit, watch, fetch, f"{down.partition('#')[0]} --yes"):  # nobody is there to be asked
        types(newcomer, line)
    assert eventually("every process has ended", lambda: not newcomer.processes())
    assert not (newcomer.folder / ".gpupipe").exists()
