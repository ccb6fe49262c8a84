"""What a pytest process is before any test runs in it; the processes that tests start inherit it."""

from __future__ import annotations

import os
import signal

ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM")
"""Read once, when numpy, torch or cv2 are imported."""


def compute_in_one_thread() -> None:
    """Workers share the cores: threads that wait for each other on cores that others use are slower than one."""
    for name in ONE_THREAD:
        os.environ.setdefault(name, "1")


def heed_ctrl_c() -> None:
    """Raise KeyboardInterrupt on SIGINT even where the run was started with it ignored.

    A shell starts `make test &` so, and every child would inherit it: no test could interrupt a command.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def ignore_ctrl_c() -> None:
    """End undisturbed: xdist interrupts a worker that is not gone five seconds after its tests, if it is busy."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
