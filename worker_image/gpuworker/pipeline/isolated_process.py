"""The child process of `gpuworker.pipeline.isolation`: one item at a time, with a memory limit, and the first to go."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from gpuworker.contract.items import ItemError
from gpuworker.models import FolderModels, ModelError
from gpuworker.pipeline.isolation import NO_WEIGHTS, ChildSettings, Weight
from gpuworker.pipeline.shard_run import Content
from gpuworker.process.memory import is_device_lost, is_out_of_memory, resident_bytes
from gpuworker.process.threads import start_daemon
from gpuworker.tasks.base import Decoded, Encoded, Task

_PR_SET_PDEATHSIG = 1
_TELL_EVERY_S = 0.1


def main() -> None:
    """Serve the pipe whose file descriptor is the only argument, until it is closed."""
    pipe: Connection[Any, Any] = Connection(int(sys.argv[1]))
    _die_with_parent()
    settings: ChildSettings = pipe.recv()
    task = _load(settings, pipe)
    _limit_memory(settings, task)
    while True:
        try:
            content, source, options = pipe.recv()
        except EOFError:
            return
        pipe.send(_worked_on(task, content, source, options, pipe))


def _load(settings: ChildSettings, pipe: Connection[Any, Any]) -> Task:
    """Load the task and tell the parent: None, or what went wrong."""
    try:
        module, _, name = settings.task.partition(":")
        task: Task = getattr(importlib.import_module(module), name)()
        task.use_models(FolderModels(settings.model))
        task.load(settings.device, settings.options)
    except Exception:
        pipe.send(traceback.format_exc(limit=-3))
        raise
    pipe.send(None)
    return task


def _worked_on(
    task: Task, content: Content, source: Any, options: Any, pipe: Connection[Any, Any]
) -> Encoded | tuple[str, str]:
    """The result, or code and message of the item's failure."""
    try:
        decoded = task.decode(content, source, options)
        with _telling_weight(decoded, pipe):
            [result] = task.run([decoded], options)
            if isinstance(result, ItemError):
                return result.code, result.message
            return task.encode(decoded, result, options)
    except ItemError as error:
        return error.code, error.message
    except ModelError as error:
        return NO_WEIGHTS, str(error)
    except Exception as error:
        if is_out_of_memory(error):
            return "out_of_memory", f"not enough memory: {error}"
        if is_device_lost(error):
            raise  # and end: the next item gets a process whose GPU answers
        traceback.print_exc()
        return "internal_error", f"{type(error).__name__}: {error}"


@contextlib.contextmanager
def _telling_weight(decoded: Decoded, pipe: Connection[Any, Any]) -> Iterator[None]:
    """Tell the parent how much time the item may take, again whenever that has become more; nobody else sends then."""
    done = threading.Event()

    def tell() -> None:
        announced = decoded.weight
        while not done.wait(_TELL_EVERY_S):
            weight = decoded.weight + decoded.extra_weight()
            if weight > announced:
                announced = weight
                pipe.send(Weight(weight=weight))

    pipe.send(Weight(weight=decoded.weight))
    teller = start_daemon(tell, name="weight")
    try:
        yield
    finally:
        done.set()
        teller.join()


def _limit_memory(settings: ChildSettings, task: Task) -> None:
    """Make large allocations fail here, where it is one item's MemoryError. The parent watches what this misses.

    RLIMIT_DATA counts what is written to; RLIMIT_AS would count CUDA's reservations of address space too. What the
    model has taken already is not there for an image, and one that needs more is told so.
    """
    if settings.memory_limit_bytes:
        task.use_memory(max(0, settings.memory_limit_bytes - resident_bytes(os.getpid())))
    if settings.device == "cpu":
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (settings.memory_limit_bytes, resource.RLIM_INFINITY))
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")  # if the kernel has to kill somebody, then this one


def _die_with_parent() -> None:
    """Never outlive the worker, even if it is killed while this process hangs in a decoder."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getppid()
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is None:  # macOS
        start_daemon(partial(_watch_parent, parent), name="parent")
        return
    prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        threading.Event().wait(1.0)
    os._exit(1)


if __name__ == "__main__":
    main()
