import os
from pathlib import Path

import pytest

from gpuworker.process.memory import (
    budget_bytes,
    is_device_lost,
    is_out_of_memory,
    memory_available_bytes,
    memory_limit_bytes,
    resident_bytes,
)

PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def write(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_machine_without_control_groups_has_all_its_memory(tmp_path: Path) -> None:
    assert memory_limit_bytes(root=tmp_path) == PHYSICAL


def test_container_sees_its_own_limit(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/\n")
    write(tmp_path, "sys/fs/cgroup/memory.max", "500000000\n")
    assert memory_limit_bytes(root=tmp_path) == 500_000_000


def test_tightest_limit_of_the_groups_above_counts(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "0::/system.slice/worker.service\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/worker.service/memory.max", "max\n")
    write(tmp_path, "sys/fs/cgroup/system.slice/memory.max", "400000000\n")
    assert memory_limit_bytes(root=tmp_path) == 400_000_000


def test_version_1_without_a_limit_is_no_limit(tmp_path: Path) -> None:
    write(tmp_path, "proc/self/cgroup", "4:memory:/docker/abc\n")
    write(tmp_path, "sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n")
    assert memory_limit_bytes(root=tmp_path) == PHYSICAL


def container(root: Path, *, used: int, cached: int = 0, limit: int = 500_000_000) -> Path:
    write(root, "proc/self/cgroup", "0::/\n")
    write(root, "sys/fs/cgroup/memory.max", f"{limit}\n")
    write(root, "sys/fs/cgroup/memory.current", f"{used}\n")
    write(root, "sys/fs/cgroup/memory.stat", f"anon 1\ninactive_file {cached}\n")
    return root


def test_what_others_in_the_container_hold_is_not_available_but_files_they_have_read_are(tmp_path: Path) -> None:
    assert memory_available_bytes(root=container(tmp_path, used=400_000_000, cached=150_000_000)) == 250_000_000


def test_what_other_programs_of_the_machine_hold_is_not_available(tmp_path: Path) -> None:
    write(tmp_path, "proc/meminfo", "MemTotal: 99 kB\nMemAvailable:   1000 kB\n")
    assert memory_available_bytes(root=tmp_path) == 1_024_000


def test_where_nobody_can_tell_all_of_it_is_available(tmp_path: Path) -> None:
    assert memory_available_bytes(root=tmp_path) == PHYSICAL


@pytest.mark.parametrize(
    ("used", "expected"),
    [(0, 200_000_000), (100_000_000, 200_000_000), (350_000_000, 120_000_000), (490_000_000, 50_000_000)],
    ids=["its own", "little else runs", "busy", "full"],
)
def test_the_budget_is_a_share_of_the_limit_and_of_what_is_available(tmp_path: Path, used: int, expected: int) -> None:
    assert budget_bytes(root=container(tmp_path, used=used)) == expected


def test_own_memory_is_seen_and_that_of_nobody_is_none() -> None:
    assert resident_bytes(os.getpid()) > 1_000_000
    assert resident_bytes(2**22 + 1) == 0


class OutOfMemoryError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (OutOfMemoryError("CUDA"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("OpenCV(5.0.0) error: (-4:Insufficient memory) Failed to allocate"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("out of range"), False),
    ],
)
def test_running_out_of_memory_is_told_apart(error: Exception, expected: bool) -> None:
    assert is_out_of_memory(error) is expected


class AcceleratorError(RuntimeError):
    """As torch names its own."""


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
        (RuntimeError("CUDA error: unspecified launch failure"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasGemmEx`"), True),
        (AcceleratorError("CUDA error: out of memory"), False),
        (OutOfMemoryError("CUDA out of memory"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), False),
        (ValueError("the model cannot count"), False),
        (RuntimeError("The size of tensor a (3) must match"), False),
    ],
)
def test_the_loss_of_a_gpu_is_told_apart(error: Exception, expected: bool) -> None:
    assert is_device_lost(error) is expected
