"""Objects of the pipeline's bucket, read and written whole, with the errors that the worker tells apart.

Bytes travel through obstore (Rust): measured with 32 threads against a server that answers after 30 ms, reading one
object and writing two takes 0.5 ms of CPU, through boto3 3.5 ms. The few keys that obstore's paths cannot express
(`a//b`, `./`, control characters) take the slow way through boto3. Every call names the bucket's expected owner.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotModifiedError, PreconditionError
from obstore.exceptions import PermissionDeniedError as DeniedError
from obstore.store import S3Store

from gpuworker.contract import Artifact
from gpuworker.contract.items import ItemError
from gpuworker.storage.boto3_fallback import SlowWay, needs_slow_way, require_at_most

T = TypeVar("T")

CONNECT_TIMEOUT_S, READ_TIMEOUT_S, REQUEST_TIMEOUT_S = 5, 30, 300
RETRIES, RETRY_FOR_S = 8, 60.0
READ_ATTEMPTS = 3

RANGE_BYTES = 32 * 1024 * 1024
"""Larger objects are read as concurrent ranges, and written as parts, of this size."""
RANGES_AT_ONCE = 4
INTO_A_FILE_BYTES = 2 * RANGES_AT_ONCE * RANGE_BYTES
"""The most that is in memory of an object on its way into a file: each range as it came, and as it is written."""

_CREDENTIALS_LIVE_S = 600
"""How long obstore may keep credentials: botocore renews those of a role when 10 minutes are left."""

_NEVER = re.compile(r"KeyTooLongError|InvalidURI|EntityTooLarge")
_EXPIRED = re.compile(r"ExpiredToken|InvalidAccessKeyId|InvalidToken|RequestTimeTooSkewed|SignatureDoesNotMatch")


class StorageError(Exception):
    """The bucket cannot be reached or refuses: no fault of an item, so the shard is given back and tried again."""


class RefusedError(StorageError):
    """The bucket will never take this object: its name or size is impossible."""


@dataclass(frozen=True, kw_only=True)
class Object:
    """What was read: bytes, and which version they are."""

    data: bytes
    etag: str
    version_id: str


class Storage:
    """One bucket. Safe to share between threads; a call blocks its thread and lets the others run."""

    def __init__(
        self,
        bucket: str,
        *,
        region: str,
        owner: str = "",
        session: Any = None,
        endpoint: str = "",
        retry_for_s: float = RETRY_FOR_S,
    ) -> None:
        """`owner` is the account that must own the bucket; `session` a boto3 session (default: a new one)."""
        import boto3

        self.bucket = bucket
        self._retry_for_s = retry_for_s
        self._region = region
        self._session = session or boto3.Session(region_name=region)
        self._endpoint = endpoint or endpoint_of(os.environ)
        self._store = self._open_store(owner)
        self._slow_way = SlowWay(
            bucket, region=region, owner=owner, session=self._session, endpoint=self._endpoint, retries=RETRIES
        )
        self._ranges: ThreadPoolExecutor | None = None
        self._making = threading.Lock()

    def _open_store(self, owner: str) -> S3Store:
        from obstore.auth.boto3 import Boto3CredentialProvider

        local: dict[str, Any] = {"endpoint": self._endpoint} if self._endpoint else {}
        return S3Store(
            self.bucket,
            region=self._region,
            virtual_hosted_style_request=not self._endpoint,
            credential_provider=Boto3CredentialProvider(self._session, ttl=timedelta(seconds=_CREDENTIALS_LIVE_S)),
            client_options={
                "allow_http": self._endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                "read_timeout": timedelta(seconds=READ_TIMEOUT_S),
                "timeout": timedelta(seconds=REQUEST_TIMEOUT_S),
                "user_agent": "gpuworker",
                **({"default_headers": {"x-amz-expected-bucket-owner": owner}} if owner else {}),
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=self._retry_for_s),
                "backoff": {
                    "init_backoff": timedelta(milliseconds=100),
                    "max_backoff": timedelta(seconds=10),
                    "base": 2,
                },
            },
            **local,
        )

    def sibling(self, bucket: str, *, retry_for_s: float) -> Storage:
        """Another bucket, of whatever account, with the same credentials."""
        return Storage(
            bucket, region=self._region, session=self._session, endpoint=self._endpoint, retry_for_s=retry_for_s
        )

    # --- reading ---

    def get(
        self, key: str, *, etag: str = "", version_id: str = "", size: int = 0, at_most: int | None = None
    ) -> Object:
        """Read an input as it was pinned.

        `size` in bytes, where it is known, decides whether it is read in ranges; `at_most` bounds it.
        Raises ItemError `not_found`, `changed` (another ETag than `etag`) or `too_large`, StorageError for all that is
        not the item's fault.
        """
        return self._input(key, etag, lambda: self._get(key, etag, version_id, size, at_most))

    def get_file(self, key: str, path: Path, *, etag: str = "", version_id: str = "", size: int) -> None:
        """Read an input as it was pinned into a file, by ranges of which a few are in memory at once.

        Raises what `get` raises; StorageError too where the disk refuses the file, which is no fault of the item.
        """
        try:
            with _new_file(path) as file:
                self._fill(file.fileno(), key, etag, version_id, size)
        except OSError as error:
            raise StorageError(f"could not put {key} on the worker's disk: {error.strerror or error}") from error

    def _fill(self, file: int, key: str, etag: str, version_id: str, size: int) -> None:
        def read(start: int, pinned: str) -> str:
            part = start, min(start + RANGE_BYTES, size)
            found = self._input(key, pinned, lambda: self._get(key, pinned, version_id, 0, part=part))
            if len(found.data) != part[1] - start:
                raise _changed(key)
            os.pwrite(file, found.data, start)
            return found.etag

        first = read(0, etag)
        rest = [self._threads().submit(read, start, first) for start in range(RANGE_BYTES, size, RANGE_BYTES)]
        try:
            for part in as_completed(rest):
                part.result()
        finally:  # nobody may write once the file is closed
            for part in rest:
                part.cancel()
            wait(rest)

    def read(self, key: str) -> Object | None:
        """Read the newest version of a document; None where there is none. Raises StorageError, also where denied."""
        return self._again(lambda: self._get(key, "", "", 0), f"read {key}")

    def _input(self, key: str, etag: str, read: Callable[[], Object | None]) -> Object:
        """An input, or part of one, by `read`. Raises ItemError and StorageError."""
        try:
            found = self._again(lambda: _unless_denied(read), f"read {key}")
        except PreconditionError as error:
            raise _changed(key) from error
        if found is None:
            raise ItemError("not_found", f"{key} is not there any more, or may not be read")
        if etag and found.etag.strip('"') != etag.strip('"'):
            raise _changed(key)
        return found

    def _get(
        self,
        key: str,
        etag: str,
        version_id: str,
        size: int,
        at_most: int | None = None,
        part: tuple[int, int] | None = None,
    ) -> Object | None:
        options = {name: value for name, value in (("if_match", _quoted(etag)), ("version", version_id)) if value}
        try:
            if needs_slow_way(key):
                pins = {"if_match": _quoted(etag), "version_id": version_id}
                return Object(**self._slow_way.get(key, **pins, at_most=at_most, part=part))
            if part is not None:
                return self._get_one(key, {**options, "range": part})
            if size > RANGE_BYTES:
                return self._get_ranges(key, options, size, at_most)
            return self._get_one(key, options, at_most)
        except FileNotFoundError:
            return None

    def _get_one(self, key: str, options: Mapping[str, Any], at_most: int | None = None) -> Object:
        answer = obstore.get(self._store, key, options=options or None)  # type: ignore[arg-type]
        meta = answer.meta
        require_at_most(key, meta["size"], at_most)  # its bytes have not been read yet
        data = answer.bytes().to_bytes()
        return Object(data=data, etag=meta["e_tag"] or "", version_id=meta["version"] or "")

    def _get_ranges(self, key: str, options: Mapping[str, Any], size: int, at_most: int | None) -> Object:
        first = self._get_one(key, {**options, "range": (0, RANGE_BYTES)}, at_most)
        pinned = {**options, "if_match": first.etag}
        ranges = [(start, min(start + RANGE_BYTES, size)) for start in range(RANGE_BYTES, size, RANGE_BYTES)]
        rest = self._threads().map(lambda part: self._get_one(key, {**pinned, "range": part}).data, ranges)
        return Object(data=b"".join([first.data, *rest]), etag=first.etag, version_id=first.version_id)

    def _threads(self) -> ThreadPoolExecutor:
        """Those that read ranges, of whichever objects: they bound what is in memory of files on their way to disk."""
        with self._making:
            if self._ranges is None:
                self._ranges = ThreadPoolExecutor(RANGES_AT_ONCE, thread_name_prefix="ranges")
            return self._ranges

    # --- writing ---

    def put(self, key: str, data: bytes, content_type: str = "application/json") -> Artifact:
        """Write an object; its version and checksum say which bytes were meant. Raises StorageError."""
        answer = self._again(lambda: self._put(key, data, content_type, create=False), f"write {key}")
        return Artifact(
            key=key,
            size=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            version_id=answer or "",
        )

    def put_new(self, key: str, data: bytes, content_type: str = "application/json") -> bool:
        """Write an object where there is none; False where there is one. Raises StorageError.

        After a lost answer the retry may find this very call's own object: a caller that gets False reads it.
        """
        try:
            self._again(lambda: self._put(key, data, content_type, create=True), f"write {key}")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def _put(self, key: str, data: bytes, content_type: str, *, create: bool) -> str | None:
        if needs_slow_way(key):
            return self._slow_way.put(key, data, content_type, create=create)
        result = obstore.put(
            self._store,
            key,
            data,
            attributes={"Content-Type": content_type},
            mode="create" if create else "overwrite",
            use_multipart=len(data) > RANGE_BYTES and not create,
            chunk_size=RANGE_BYTES // 2,
            max_concurrency=RANGES_AT_ONCE,
        )
        return result["version"]

    # --- both ---

    def _again(self, call: Callable[[], T], what: str) -> T:
        """Try a call a few times: obstore retries refused requests, this one answers that broke off."""
        deadline = time.monotonic() + self._retry_for_s
        for attempt in range(1, READ_ATTEMPTS + 1):
            try:
                return call()
            except (AlreadyExistsError, PreconditionError, NotModifiedError):
                raise
            except DeniedError as error:
                raise StorageError(f"could not {what}: access denied. {_first_line(error)}") from error
            except (BaseError, OSError, ValueError) as error:
                if never := _NEVER.search(str(error)):
                    raise RefusedError(f"could not {what}: {never.group()}") from error
                late = time.monotonic() > deadline or attempt == READ_ATTEMPTS
                if late or isinstance(error, FileNotFoundError | ValueError):
                    raise StorageError(f"could not {what}: {_first_line(error)}") from error
            time.sleep(0.2 * 4**attempt)
        raise AssertionError("unreachable")

    def close(self) -> None:
        """End the threads that read ranges."""
        if self._ranges is not None:
            self._ranges.shutdown(wait=False, cancel_futures=True)


def _new_file(path: Path) -> BinaryIO:
    """A file that nobody else reads; never where a link leads to."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_NOFOLLOW", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def _unless_denied(read: Callable[[], Object | None]) -> Object | None:
    """A person's object may be closed to us (by its key), which is its own failure. A document of ours that is refused,
    or credentials that have expired, are another matter: that passes, and nothing is lost by it."""
    try:
        return read()
    except DeniedError as error:
        if _EXPIRED.search(str(error)):
            raise
        return None


def endpoint_of(environment: Mapping[str, str]) -> str:
    """Where S3 answers, as botocore's own variables say it; "" for AWS itself."""
    return environment.get("AWS_ENDPOINT_URL_S3") or environment.get("AWS_ENDPOINT_URL") or ""


def _quoted(etag: str) -> str:
    return f'"{etag.strip(chr(34))}"' if etag else ""


def _changed(key: str) -> ItemError:
    return ItemError("changed", f"{key} was replaced after the job was submitted; submit it again")


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
