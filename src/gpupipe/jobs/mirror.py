"""A job's documents kept on disk: they never change once written, so each travels over the network once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from gpupipe.aws import Aws
from gpupipe.errors import IntegrityError
from gpupipe.explain import explained
from gpupipe.jobs import transfer
from gpupipe.jobs.folder import replacing


class Mirror:
    """Documents of a pipeline's bucket under `folder`, by their keys (our own, never a person's words)."""

    def __init__(self, store: transfer.Store, folder: Path) -> None:
        self._store = store
        self._folder = folder

    def list(self, aws: Aws, prefix: str) -> Iterator[tuple[str, int]]:
        """Key and size of every object below `prefix`, as S3 has them now."""
        pages = aws.client("s3").get_paginator("list_objects_v2")
        with explained(f"list {prefix} in bucket {self._store.bucket}"):
            for page in pages.paginate(Bucket=self._store.bucket, Prefix=prefix, ExpectedBucketOwner=aws.stack.account):
                for found in page.get("Contents", ()):
                    yield found["Key"], found["Size"]

    def _path(self, key: str) -> Path:
        """Raises IntegrityError for a key that is no path below the folder."""
        if {"", ".", ".."} & {*key.split("/")} or "\\" in key or "\0" in key:
            raise IntegrityError(f"{key!r} is not the key of a document of gpupipe's, so it is not copied.")
        return self._folder / key

    def fill(self, listed: Iterable[tuple[str, int]]) -> None:
        """Copy those of the listed documents that are not here yet, many at once."""
        missing = (
            transfer.Download(key=key, target=self._path(key), size=size)
            for key, size in listed
            if not _has_size(self._path(key), size)
        )
        for _, problem in transfer.download(self._store, missing):
            if problem is not None:
                raise problem

    def read(self, key: str, *, fresh: bool = False) -> bytes:
        """One document, from S3 where it is not here or `fresh` is asked for. Raises AwsError where it is nowhere."""
        path = self._path(key)
        if not fresh and path.is_file():
            return path.read_bytes()
        data = bytes(transfer.read(self._store, key))
        with replacing(path) as opened:
            opened.write(data)
        return data


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except OSError:
        return False
