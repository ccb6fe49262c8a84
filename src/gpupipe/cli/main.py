"""The entry point: runs a command and turns its outcome into an exit code, in this one place.

0 done   1 failed   2 usage or configuration   3 finished, but some items failed   130 interrupted
"""

from __future__ import annotations

import sys


def main() -> None:
    """Run gpupipe and exit."""
    if sys.argv[1:] == ["--version"]:  # before any import, so that scripts may ask often
        from gpupipe import __version__

        print(f"gpupipe {__version__}")
        sys.exit(0)
    sys.exit(_run())


def _run() -> int:
    from gpupipe.cli.app import app
    from gpupipe.errors import GpupipeError

    try:
        app(prog_name="gpupipe")
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except GpupipeError as error:
        from gpupipe.cli.screen import show_error

        show_error(error)
        return error.exit_code
    return 0
