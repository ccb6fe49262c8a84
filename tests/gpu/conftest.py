"""What only a GPU can show, on the tiny SAM3. Run by benchmarks/gpu_check.sh on a machine that has one.

`GPUPIPE_TEST_DEVICE=cpu` tries the tests themselves where there is none; else they skip there. Nothing here may import
what such a machine lacks: no emulators, no AWS.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.tiny_sam3 import write_tiny_sam3

from gpuworker.contract import ModelSource
from gpuworker.engines.sam3.engine import Sam3
from gpuworker.models import FolderModels


@pytest.fixture(scope="session")
def device() -> str:
    """The GPU, or what stands for it."""
    chosen = os.environ.get("GPUPIPE_TEST_DEVICE") or "cuda"
    if chosen == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no CUDA device here (GPUPIPE_TEST_DEVICE=cpu tries the test itself)")
    return chosen


@pytest.fixture
def cuda(device: str) -> str:
    """The GPU, for what has no meaning on a processor."""
    if device != "cuda":
        pytest.skip("only a CUDA device shows this")
    return device


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam3(tmp_path_factory.mktemp("sam3") / "weights")


@pytest.fixture(scope="session")
def models(weights: Path) -> FolderModels:
    return FolderModels(ModelSource(weights=str(weights), on_cpu=True))


@pytest.fixture(scope="session")
def engine(models: FolderModels, device: str) -> Sam3:
    """As a worker loads it: in the device's own dtype, with the batch that fits."""
    loaded = Sam3()
    loaded.use_models(models)
    loaded.load(device)
    return loaded
