"""Weights in a folder of this machine, and beside them what is kept in the bucket for the next machine."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from gpuworker.contract import ModelSource, compiled_key
from gpuworker.ledger import Ledger
from gpuworker.models import FolderModels
from gpuworker.process.log import Log
from gpuworker.storage.objects import Storage

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")


@dataclass(frozen=True)
class Seals:
    """The checksums of what this pipeline's workers have kept, in the ledger.

    What an engine keeps is compiled code: it runs when it is loaded. Who may write into the bucket is more people than
    may write into the ledger, so nothing is given back but what a worker has put there.
    """

    ledger: Ledger
    pipeline: str

    def put(self, name: str, data: bytes) -> None:
        self.ledger.put_seal(self.pipeline, name, hashlib.sha256(data).hexdigest())

    def fits(self, name: str, data: bytes) -> bool:
        return self.ledger.seal(self.pipeline, name) == hashlib.sha256(data).hexdigest()


class KeptInBucket(FolderModels):
    """A folder that is there already; what engines keep goes to the pipeline's bucket."""

    def __init__(self, source: ModelSource, storage: Storage, log: Log, *, seals: Seals) -> None:
        super().__init__(source)
        self._storage, self._log, self._seals = storage, log, seals

    @property
    def on_this_machine(self) -> ModelSource:
        """The same weights for another process of this machine, which asks neither bucket nor hub."""
        return self.source

    def kept(self, name: str) -> bytes | None:
        key = _key(name)
        try:
            found = self._storage.read(key)
            if found is None or self._seals.fits(name, found.data):
                return found.data if found else None
            self._log.warning("kept_by_nobody", name=name, key=key)
        except Exception as error:  # the bucket's, the ledger's: it is made anew
            self._log.warning("kept_not_read", name=name, error=str(error))
        return None

    def keep(self, name: str, data: bytes) -> None:
        key = _key(name)
        try:
            self._storage.put(key, data, "application/octet-stream")
            self._seals.put(name, data)
        except Exception as error:  # the bucket's, the ledger's: the next machine makes its own
            self._log.warning("not_kept", name=name, error=str(error))


def _key(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be kept: letters, digits, dots, - and _ only")
    return compiled_key(name)
