"""The weights of this worker's pipeline, wherever the configuration says that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuworker.contract import WorkerSettings
from gpuworker.log import Log
from gpuworker.models.hub import Hub
from gpuworker.models.kept import KeptInBucket
from gpuworker.models.mirror import ATTEMPTS, CONNECTIONS, Mirror
from gpuworker.models.mirrored import MirroredModels
from gpuworker.models.token import read_token
from gpuworker.storage import Storage


def open_models(settings: WorkerSettings, *, storage: Storage, session: Any, root: Path, log: Log) -> KeptInBucket:
    """Nothing is read before somebody asks for it; what comes from a hub is put below `root`."""
    source = settings.model
    if not source.revision:
        return KeptInBucket(source, storage, log)
    return MirroredModels(
        source,
        storage,
        log,
        mirror=Mirror(source, storage, s3=_client(session, "s3"), owner=settings.account),
        hub=lambda: Hub(source, token=read_token(source, _client(session, "secretsmanager"))),
        root=root,
    )


def _client(session: Any, service: str) -> Any:
    from botocore.config import Config

    patience = Config(
        retries={"mode": "standard", "max_attempts": ATTEMPTS},
        connect_timeout=5,
        read_timeout=60,
        max_pool_connections=CONNECTIONS,
    )
    return session.client(service, config=patience)
