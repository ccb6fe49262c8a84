"""Images that a request names in S3, in the pipeline's bucket or in another that the endpoint's role may read."""

from __future__ import annotations

import threading

from gpuworker.contract.items import ItemError
from gpuworker.entries.serving.requests import Reference
from gpuworker.storage.objects import Storage, StorageError

FOREIGN_BUCKETS = 16
RETRY_FOREIGN_FOR_S = 10.0


class Buckets:
    """The pipeline's storage, and those of other buckets as they are asked for."""

    def __init__(self, own: Storage) -> None:
        self._own = own
        self._foreign: dict[str, Storage] = {}
        self._lock = threading.Lock()

    def fetch(self, reference: Reference, *, limit_bytes: int) -> bytes:
        """The image's bytes. Raises ItemError, and StorageError where the pipeline's own bucket does not answer."""
        if reference.bucket == self._own.bucket:
            return self._get(self._own, reference, limit_bytes)
        try:
            return self._get(self._storage(reference.bucket), reference, limit_bytes)
        except (ItemError, StorageError) as error:
            if isinstance(error, ItemError) and error.code != "not_found":
                raise
            raise _not_readable(reference, error) from error

    def _get(self, storage: Storage, reference: Reference, limit_bytes: int) -> bytes:
        return storage.get(reference.key, version_id=reference.version_id, at_most=limit_bytes).data

    def _storage(self, bucket: str) -> Storage:
        with self._lock:
            if bucket not in self._foreign:
                if len(self._foreign) >= FOREIGN_BUCKETS:  # the oldest goes
                    self._foreign.pop(next(iter(self._foreign))).close()
                self._foreign[bucket] = self._own.sibling(bucket, retry_for_s=RETRY_FOREIGN_FOR_S)
            return self._foreign[bucket]


def _not_readable(reference: Reference, error: Exception) -> ItemError:
    place = f"s3://{reference.bucket}/{reference.key}"
    return ItemError(
        "not_found",
        f"{place} is not there, or this endpoint's role may not read it ({error}). Put the image into the pipeline's"
        f" own bucket, or allow s3:GetObject on arn:aws:s3:::{reference.bucket}/* to the role",
    )
