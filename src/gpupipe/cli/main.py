"""The entry point: runs a command and turns its outcome into an exit code, in this one place.

0 done   1 failed   2 usage or configuration   3 finished, but some items failed   130 interrupted
"""

from __future__ import annotations

import gc
import os
import signal
import sys

INTERRUPTED = 130


def main() -> None:
    """Run gpupipe and exit."""
    gc.set_threshold(100_000, 20, 20)  # collecting while modules load is a quarter of the time that `--help` takes
    if sys.argv[1:] == ["--version"]:  # before any import, so that scripts may ask often
        from gpupipe import __version__

        print(f"gpupipe {__version__}")
        sys.exit(0)
    code = run()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the outcome is decided; a late Ctrl-C only spoils the exit code
    if code == INTERRUPTED:
        _leave_at_once(code)
    sys.exit(code)


def run() -> int:
    """The command that `sys.argv` names, once; its exit code."""
    from gpupipe.cli.ending import AT_END

    with AT_END:
        return _run()


def _run() -> int:
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


def _leave_at_once(code: int) -> None:
    """After Ctrl-C nobody waits for threads that still wait for an answer; what must be put away has been."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)
