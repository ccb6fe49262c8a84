"""A file of this machine in the person's own browser, where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("xdg-open", "x-www-browser", "wslview")
"""What opens a page on a desktop that is not a Mac's: by the person's choice, by Debian's, and from within WSL."""
SETTLES_S = 2.0
"""A program that has not failed by then shows the page: where it finds no browser, xdg-open says so in 0.2 to 0.4 s
(measured on Debian 12, two cores), and where it becomes the browser it stays as long."""


def show(page: Path, *, settles_s: float = SETTLES_S) -> bool:
    """Open a page; False where this machine has no screen or no browser (a server, a container, a line of SSH)."""
    return any(_is_shown(command, settles_s) for command in _commands(page.absolute().as_uri()))


def _commands(address: str) -> Iterator[list[str]]:
    """Ways to open an address, the person's own first: `BROWSER`, as other programs read it."""
    for given in filter(None, os.environ.get("BROWSER", "").split(os.pathsep)):
        words = given.split()
        yield [word.replace("%s", address) for word in words] if "%s" in given else [*words, address]
    if sys.platform == "darwin":
        yield ["open", address]
    elif any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME")):
        yield from ([program, address] for program in PROGRAMS if shutil.which(program))


def _is_shown(command: list[str], settles_s: float) -> bool:
    """Start a program that may outlive this one, and whose own words belong on neither of our streams."""
    quiet = subprocess.DEVNULL
    try:
        started = subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)
        return started.wait(settles_s) == 0
    except subprocess.TimeoutExpired:
        return True
    except OSError:
        return False
