"""One tiny SAM3 for all tests of this folder, loaded once; its numbers must not depend on how busy the machine is."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tests.gpuworker.engines.sam3.reference import plain_roi_align
from tests.tiny_sam3 import write_tiny_sam3

from gpuworker.contract import ModelSource
from gpuworker.engines.sam3.engine import Sam3
from gpuworker.models import FolderModels


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_sam3(tmp_path_factory.mktemp("sam3") / "weights")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other on cores that others use are slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def engine(weights: Path) -> Sam3:
    loaded = Sam3()
    loaded.use_models(FolderModels(ModelSource(weights=str(weights))))
    loaded.load("cpu")
    return loaded


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> None:
    """What transformers asks of torchvision, for the reference; the engine must do without."""

    def roi_align(features: torch.Tensor, boxes: Sequence[torch.Tensor], side: int) -> torch.Tensor:
        pairs = [(one.double().numpy(), box) for one, its in zip(features, boxes, strict=True) for box in its.tolist()]
        return torch.from_numpy(np.stack([plain_roi_align(one, box, side) for one, box in pairs])).float()

    stand_in = SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))
    model = importlib.import_module("transformers.models.sam3.modeling_sam3")
    monkeypatch.setattr(model, "torchvision", stand_in, raising=False)
