"""The weights of this worker's pipeline, wherever the configuration says that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuworker.contract import ModelSource
from gpuworker.log import Log
from gpuworker.models.kept import KeptInBucket
from gpuworker.storage import Storage


def open_models(source: ModelSource, *, storage: Storage, session: Any, folder: Path, log: Log) -> KeptInBucket:
    """Nothing is read before somebody asks for it."""
    return KeptInBucket(source, storage, log)
