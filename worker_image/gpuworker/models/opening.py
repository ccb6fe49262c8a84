"""The weights of this worker's pipeline, wherever the configuration says that they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gpuworker.contract import COMMIT, HUB_NAME, ModelSource, WorkerSettings
from gpuworker.ledger import Ledger
from gpuworker.models import ModelError
from gpuworker.models.hub import Hub
from gpuworker.models.kept import KeptInBucket, Seals
from gpuworker.models.mirror import ATTEMPTS, CONNECTIONS, Mirror
from gpuworker.models.mirrored import MirroredModels
from gpuworker.models.token import read_token
from gpuworker.process.log import Log
from gpuworker.storage.objects import Storage


def open_models(
    settings: WorkerSettings, *, storage: Storage, session: Any, ledger: Ledger, root: Path, log: Log
) -> KeptInBucket:
    """Nothing is read before somebody asks for it; what comes from a hub is put below `root`. Raises ModelError."""
    source, seals = settings.model, Seals(ledger, settings.pipeline)
    require_form(source)
    if not source.revision:
        return KeptInBucket(source, storage, log, seals=seals)
    return MirroredModels(
        source,
        storage,
        log,
        seals=seals,
        mirror=Mirror(source, storage, s3=_client(session, "s3"), owner=settings.account),
        hub=lambda: Hub(source, token=read_token(source, _client(session, "secretsmanager"))),
        root=root,
    )


def require_form(source: ModelSource) -> None:
    """A hub's repository at one commit, a folder by its whole path, or none: no address, no path from anywhere else.

    Raises ModelError.
    """
    of_hub = HUB_NAME.fullmatch(source.weights) and COMMIT.fullmatch(source.revision)
    of_folder = not source.revision and (not source.weights or source.weights.startswith(("/", "~")))
    if not of_hub and not of_folder:
        raise ModelError(
            f"{source.weights!r} is neither a hub's owner/name with a commit nor the whole path of a folder "
            "([pipelines.<name>.model] weights)"
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
