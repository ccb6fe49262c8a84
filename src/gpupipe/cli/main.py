"""The entry point: runs a command and turns its outcome into an exit code, in this one place.

0 done   1 failed   2 usage or configuration   3 finished, but some items failed   130 interrupted
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys

INTERRUPTED = 130
COMPLETE = "_GPUPIPE_COMPLETE"
"""Set by the shell's completion, which runs the command to ask for words."""


def main() -> None:
    """Run gpupipe and exit."""
    gc.set_threshold(100_000, 20, 20)  # collecting while modules load is a quarter of the time that `--help` takes
    if sys.argv[1:] == ["--version"]:  # before any import, so that scripts may ask often
        from gpupipe import __version__

        print(f"gpupipe {__version__}")
        sys.exit(0)
    is_completing = os.environ.get(COMPLETE, "").startswith("complete")
    if is_completing:
        _hush()
    code = run()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the outcome is decided; a late Ctrl-C only spoils the exit code
    if code == INTERRUPTED or is_completing:
        _leave_at_once(code)
    sys.exit(code)


def run() -> int:
    """The command that `sys.argv` names, once; its exit code."""
    try:
        for stream in (sys.stdout, sys.stderr):  # a name that the terminal cannot write must not end a command
            getattr(stream, "reconfigure", lambda **_: None)(errors="backslashreplace")
        from gpupipe.cli.app import app

        code = app(prog_name="gpupipe", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else int(bool(exit_.code))
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # `gpupipe jobs | head -1`: who reads has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        from gpupipe.cli.outcome import tell

        return tell(error)


def _hush() -> None:
    """At the Tab key nothing may be shown but words, nor asked, as AWS's profiles ask for a code on the terminal."""
    with contextlib.suppress(OSError):  # the shell that made this process leads its group, as a rule
        os.setsid()  # away from the terminal
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 2):
        os.dup2(null, descriptor)


def _leave_at_once(code: int) -> None:
    """After Ctrl-C, and at the Tab key, nobody waits for threads that still wait for an answer."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
