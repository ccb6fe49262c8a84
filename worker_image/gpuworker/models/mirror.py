"""The copy of a hub's weights in the pipeline's bucket: the next machine reads it, and never asks the hub.

Its manifest is written last, so whoever finds it finds all of it. Machines that write at the same time write the same
bytes: a commit of the hub never changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gpuworker.contract import NO_OBJECT, ModelSource, error_code, model_manifest_key, model_prefix
from gpuworker.models import ModelError
from gpuworker.models.files import ModelFile, from_manifest, to_manifest
from gpuworker.storage.objects import Storage, StorageError

FILES_AT_ONCE = 4
PART_BYTES = 32 * 1024 * 1024
PARTS_AT_ONCE = 8
CONNECTIONS = FILES_AT_ONCE * PARTS_AT_ONCE
ATTEMPTS = 5


class DamagedMirrorError(Exception):
    """What lies in the bucket is not what its manifest says."""


class Mirror:
    """`models/<owner>/<name>/<revision>/` of the bucket."""

    def __init__(self, source: ModelSource, storage: Storage, *, s3: Any, owner: str = "") -> None:
        """`s3` is boto3's client, for files that are larger than memory; `owner` the account of the bucket."""
        self._prefix = model_prefix(source.weights, source.revision)
        self._manifest_key = model_manifest_key(source.weights, source.revision)
        self._storage, self._s3, self._owner = storage, s3, owner

    def files(self) -> tuple[ModelFile, ...] | None:
        """What the bucket holds; None where nobody has put it there, or not all of it. Raises StorageError."""
        found = self._storage.read(self._manifest_key)
        return from_manifest(found.data) if found else None

    def fetch(self, files: Sequence[ModelFile], into: Path) -> None:
        """Download `files` into a folder; those that are there and right are left. Raises DamagedMirrorError, and
        ModelError where the bucket cannot be read now."""
        with ThreadPoolExecutor(FILES_AT_ONCE, thread_name_prefix="weights") as threads:
            list(threads.map(lambda one: self._fetch_one(one, into), files))

    def _fetch_one(self, file: ModelFile, into: Path) -> None:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        if file.verified(into):
            return
        key = self._prefix + file.path
        try:
            self._s3.download_file(
                self._storage.bucket, key, str(into / file.path), ExtraArgs=self._expected(), Config=_transfer()
            )
        except ClientError as error:
            if error_code(error) in NO_OBJECT:
                raise DamagedMirrorError(f"{key} is missing") from error
            raise _unreadable(key, error) from error
        except (BotoCoreError, Boto3Error) as error:
            raise _unreadable(key, error) from error
        if not file.verified(into):
            (into / file.path).unlink(missing_ok=True)
            raise DamagedMirrorError(f"{key} is not what the manifest says")

    def keep(self, files: Sequence[ModelFile], folder: Path) -> None:
        """Upload `files` and then their manifest. Raises StorageError."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            for file in files:
                self._s3.upload_file(
                    str(folder / file.path),
                    self._storage.bucket,
                    self._prefix + file.path,
                    ExtraArgs=self._expected(),
                    Config=_transfer(),
                )
        except (BotoCoreError, ClientError, Boto3Error) as error:
            raise StorageError(f"could not write {self._prefix}: {error}") from error
        self._storage.put(self._manifest_key, to_manifest(files))

    def _expected(self) -> dict[str, str]:
        return {"ExpectedBucketOwner": self._owner} if self._owner else {}


def _transfer() -> Any:
    """Files of gigabytes go through memory in parts."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(
        multipart_threshold=PART_BYTES,
        multipart_chunksize=PART_BYTES,
        max_concurrency=PARTS_AT_ONCE,
        num_download_attempts=ATTEMPTS,
    )


def _unreadable(key: str, error: Exception) -> ModelError:
    return ModelError(f"the weights in the bucket cannot be read ({key}): {error}", is_final=False)
