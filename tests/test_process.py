"""What every pytest process is, and with it the processes that tests start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import process

CHILD = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
ROOT = Path(__file__).parents[1]


def started_with_ctrl_c_ignored(code: str) -> str:
    """What a process prints that a shell starts in the background, as `nohup make test &` is."""
    program = f"import signal, subprocess, sys\n{code}\nsubprocess.run([sys.executable, '-c', {CHILD!r}], check=True)"
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, check=True, timeout=60, stdout=subprocess.PIPE, text=True).stdout.strip()


def test_children_inherit_that_ctrl_c_is_ignored() -> None:
    assert started_with_ctrl_c_ignored("") == "False"


def test_children_heed_ctrl_c_though_the_run_was_started_without() -> None:
    assert started_with_ctrl_c_ignored("from tests import process; process.heed_ctrl_c()") == "True"


def test_a_handler_of_somebody_else_stays() -> None:
    code = "handler = lambda *_: None; signal.signal(signal.SIGINT, handler)\n"
    code += "from tests import process; process.heed_ctrl_c(); print(signal.getsignal(signal.SIGINT) is handler)"
    assert started_with_ctrl_c_ignored(code).split() == ["True", "True"]


def test_this_process_heeds_ctrl_c() -> None:
    assert signal.getsignal(signal.SIGINT) is not signal.SIG_IGN


def test_libraries_of_children_compute_in_one_thread() -> None:
    code = (
        "import os; from tests import process; process.compute_in_one_thread(); import cv2; print(cv2.getNumThreads())"
    )
    environment = {name: value for name, value in os.environ.items() if name not in process.ONE_THREAD}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, env=environment, check=True, timeout=60, stdout=subprocess.PIPE, text=True)
    assert told.stdout.strip() == "1"
