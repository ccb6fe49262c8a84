"""How much memory this process may use, and what running out of it looks like, or the loss of its GPU."""

from __future__ import annotations

import os
import sys
from pathlib import Path

SHARE_FOR_FLIGHT = 0.4
"""Of the memory limit, for everything in flight. The rest is for the model and what a step needs while it runs."""
SHARE_FOR_CHILD = 0.5
"""The most that an isolated item may take before its process is killed."""
SHARE_OF_AVAILABLE, LEAST_SHARE = 0.8, 0.1
"""What other programs hold is not ours: for everything in flight at most the first of what is available when it is
asked, but at least the second of the limit, or a moment's shortage would refuse ordinary images."""


def budget_bytes(*, root: Path = Path("/")) -> int:
    """What may be in flight on this machine, as it is now."""
    limit = memory_limit_bytes(root=root)
    available = memory_available_bytes(root=root) * SHARE_OF_AVAILABLE
    return int(min(limit * SHARE_FOR_FLIGHT, max(available, limit * LEAST_SHARE)))


def memory_available_bytes(*, root: Path = Path("/")) -> int:
    """Memory that this process can have without others losing theirs; the limit where nobody can tell."""
    left = [_left_on_machine(root), *map(_left_in_group, _groups(root))]
    return min([memory_limit_bytes(root=root), *(one for one in left if one is not None)])


def _left_on_machine(root: Path) -> int | None:
    return _field(root / "proc/meminfo", "MemAvailable:", unit=1024)


def _left_in_group(folder: Path) -> int | None:
    """Of a control group with a limit, version 2; files that it has read lately are given up when memory is short."""
    limit, used = _number_in(folder / "memory.max"), _number_in(folder / "memory.current")
    if limit is None or used is None:
        return None
    return max(0, limit - used + (_field(folder / "memory.stat", "inactive_file", unit=1) or 0))


def _field(file: Path, name: str, *, unit: int) -> int | None:
    """The number that follows a word, in bytes."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return None
    found = next((line.split() for line in lines if line.startswith(name)), [])
    return int(found[1]) * unit if len(found) > 1 and found[1].isdecimal() else None


def memory_limit_bytes(*, root: Path = Path("/")) -> int:
    """Memory this process may use: the control group's limit (version 2 or 1) or what the machine has."""
    limits = [_physical_bytes(), *_cgroup_limits(root)]
    return min(limit for limit in limits if limit > 0)


def _physical_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _cgroup_limits(root: Path) -> list[int]:
    files = [folder / "memory.max" for folder in _groups(root)]
    files.append(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")
    return [limit for file in files if (limit := _number_in(file)) is not None]


def _groups(root: Path) -> list[Path]:
    """This process's control group and those above it; inside a container the root is the container's own."""
    mount = root / "sys/fs/cgroup"
    own = _own_group(root)
    folders = [mount / own, *(mount / own).parents] if own else [mount]
    return [folder for folder in folders if folder == mount or mount in folder.parents]


def _own_group(root: Path) -> str:
    """Path of this process's group below the mount, in version 2 (`0::/user.slice/…`)."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:].strip("/") for line in lines if line.startswith("0::")), "")


def _number_in(file: Path) -> int | None:
    try:
        text = file.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def resident_bytes(pid: int) -> int:
    """Memory that process `pid` holds now; 0 where it is gone or cannot be seen."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        pass
    try:
        import psutil  # macOS has no /proc
    except ImportError:
        return 0
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def is_out_of_memory(error: BaseException) -> bool:
    """Python's MemoryError, what torch, CUDA and its libraries say, and OpenCV's `Insufficient memory` (-4)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    text = str(error)
    words = "out of memory" in text.lower() or "Insufficient memory" in text or "_STATUS_ALLOC_FAILED" in text
    return isinstance(error, Exception) and words


def is_device_lost(error: BaseException) -> bool:
    """Errors after which a GPU does nothing more for this process: an illegal access, a GPU that fell off the bus.

    CUDA tells them at whatever is asked of it next, so they may be of another batch, and repeats them for ever
    (`cudaErrorIllegalAddress` and others: "the process must be terminated and relaunched").
    """
    if is_out_of_memory(error) or not isinstance(error, Exception):
        return False
    text = str(error)
    is_cuda = "CUDA error" in text or "CUDA driver error" in text or "_STATUS_EXECUTION_FAILED" in text
    return type(error).__name__ == "AcceleratorError" or (isinstance(error, RuntimeError) and is_cuda)


def free_cached() -> None:
    """Give back what torch keeps for later, if torch is in use, so that a smaller batch finds room."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
