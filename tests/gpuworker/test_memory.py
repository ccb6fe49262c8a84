import os
from pathlib import Path

import pytest

from gpuworker.memory import is_device_lost, is_out_of_memory, memory_limit_bytes, resident_bytes

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
