"""Inputs up into the bucket, many at once, each exactly as it was listed or not at all."""

from __future__ import annotations

import hashlib
import lzma
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol
from zipfile import BadZipFile

import obstore

from gpupipe.errors import InputError
from gpupipe.jobs.flow import concurrently
from gpupipe.jobs.transfer import (
    IN_FLIGHT_BYTES,
    MB,
    PART_BYTES,
    PARTS_AT_ONCE,
    Store,
    bytes_held,
    explained,
    part_bytes,
)

READ_BYTES = 4 * MB


class Source(Protocol):
    """The bytes of one input, as they were listed."""

    @property
    def size(self) -> int: ...

    def open(self) -> BinaryIO:
        """Open for reading. Raises InputError where it cannot be read."""

    def check(self, opened: BinaryIO) -> None:
        """Raise InputError when what was opened is not what was listed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    """One object to write."""

    key: str
    source: Source
    content_type: str = "application/octet-stream"


@dataclass(frozen=True, kw_only=True, slots=True)
class Stored:
    """One object as S3 has it; the ETag without quotes."""

    key: str
    size: int
    etag: str
    version_id: str = ""


def upload(store: Store, uploads: Iterable[Upload]) -> Iterator[tuple[Upload, Stored | Exception]]:
    """Write many objects at once; yields each with what S3 stored, or with why it failed."""
    return concurrently(
        uploads,
        lambda one: upload_one(store, one),
        threads=store.threads,
        cost=lambda one: bytes_held(one.source.size),
        budget=IN_FLIGHT_BYTES,
    )


def upload_one(store: Store, one: Upload) -> Stored:
    """Write one object. Raises InputError where the source is not what was listed, AwsError where S3 refuses."""
    return store.aws.answered(lambda: _upload_one(store, one))


def _upload_one(store: Store, one: Upload) -> Stored:
    with one.source.open() as opened:
        if one.source.size <= PART_BYTES:
            data = _read(one.source, opened, one.source.size + 1)
            _check(one.source, opened, len(data))
            answer = _put(store, one, data, use_multipart=False)
        else:
            answer = _put(
                store,
                one,
                _checked_parts(one.source, opened),
                use_multipart=True,
                chunk_size=part_bytes(one.source.size),
                max_concurrency=PARTS_AT_ONCE,
            )
    etag = (answer["e_tag"] or "").strip('"')
    return Stored(key=one.key, size=one.source.size, etag=etag, version_id=answer["version"] or "")


def write_document(store: Store, key: str, text: str) -> None:
    """Write a JSON document of ours; what was there is replaced."""

    def write() -> None:
        with explained(f"write {key}"):
            attributes = {"Content-Type": "application/json"}
            obstore.put(store.s3, key, text.encode(), attributes=attributes, use_multipart=False)

    store.aws.answered(write)


def _put(store: Store, one: Upload, data: bytes | Iterator[bytes], **how: Any) -> Any:
    with explained(f"upload {one.source} to {one.key}"):
        return obstore.put(store.s3, one.key, data, attributes={"Content-Type": one.content_type}, **how)


def _checked_parts(source: Source, opened: BinaryIO) -> Iterator[bytes]:
    """The content of a large source. Its last act is to refuse content that is not what was listed.

    obstore then aborts the multipart upload, so that wrong bytes never become an object.
    """
    got = 0
    while got <= source.size and (data := _read(source, opened, READ_BYTES)):
        got += len(data)
        yield data
    _check(source, opened, got)


def _read(source: Source, opened: BinaryIO, size: int) -> bytes:
    try:
        return opened.read(size)
    except (OSError, EOFError, RuntimeError, BadZipFile, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"cannot read {source}: {error}.", hint="Repair or remove it, and submit again.") from error


def _check(source: Source, opened: BinaryIO, got: int) -> None:
    source.check(opened)
    if got != source.size:
        raise InputError(
            f"{source} changed while it was read: {source.size} bytes were listed, {got} came.",
            hint="Submit again once nothing writes to it; what is uploaded is not uploaded again.",
        )


def content_etag(source: Source) -> str:
    """The ETag that S3 gives this content when `upload_one` writes it: MD5, or MD5 of the parts' MD5s.

    In a bucket encrypted with a KMS key ETags are something else; there nothing is recognised as already uploaded.
    """
    whole = source.size <= PART_BYTES
    step = PART_BYTES if whole else part_bytes(source.size)
    parts, got = [], 0
    with source.open() as opened:
        while got <= source.size and (data := _read(source, opened, step)):
            got += len(data)
            parts.append(hashlib.md5(data, usedforsecurity=False))
        _check(source, opened, got)
    if whole:
        return (parts or [hashlib.md5(usedforsecurity=False)])[0].hexdigest()
    joined = b"".join(part.digest() for part in parts)
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(parts)}"
