"""Weights in a folder of this machine, and beside them what is kept in the bucket for the next machine."""

from __future__ import annotations

import re

from gpuworker.contract import ModelSource, compiled_key
from gpuworker.log import Log
from gpuworker.models import FolderModels
from gpuworker.storage import Storage, StorageError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


class KeptInBucket(FolderModels):
    """A folder that is there already; what engines keep goes to the pipeline's bucket."""

    def __init__(self, source: ModelSource, storage: Storage, log: Log) -> None:
        super().__init__(source)
        self._storage, self._log = storage, log

    @property
    def on_this_machine(self) -> ModelSource:
        """The same weights for another process of this machine, which asks neither bucket nor hub."""
        return self.source

    def kept(self, name: str) -> bytes | None:
        try:
            found = self._storage.read(_key(name))
        except StorageError as error:
            self._log.warning("kept_not_read", name=name, error=str(error))
            return None
        return found.data if found else None

    def keep(self, name: str, data: bytes) -> None:
        try:
            self._storage.put(_key(name), data, "application/octet-stream")
        except StorageError as error:
            self._log.warning("not_kept", name=name, error=str(error))


def _key(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be kept: letters, digits, dots, - and _ only")
    return compiled_key(name)
