"""Keys that obstore's paths cannot express (`a//b`, `./a`, control characters): read and written through boto3."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, PreconditionError

from gpuworker.contract import http_status
from gpuworker.contract.items import ItemError

CONNECT_TIMEOUT_S, READ_TIMEOUT_S = 5, 30
_NOT_FOR_OBSTORE = re.compile(r"^/|//|/$|(^|/)\.{1,2}(/|$)|[\x00-\x1f\x7f]")
_ERRORS: Mapping[int, type[Exception]] = {
    404: FileNotFoundError,
    403: PermissionDeniedError,
    409: AlreadyExistsError,
    412: PreconditionError,
}


def require_at_most(key: str, size: int, at_most: int | None) -> None:
    """Raises ItemError for an object that has more bytes than may be read."""
    if at_most is not None and size > at_most:
        raise ItemError("too_large", f"{key} has {size:,} bytes; the limit is {at_most:,}")


def needs_slow_way(key: str) -> bool:
    """Whether obstore would refuse this key or read another one."""
    return _NOT_FOR_OBSTORE.search(key) is not None


class SlowWay:
    """One bucket through boto3, with obstore's errors: seven times the CPU, and any key that S3 takes."""

    def __init__(self, bucket: str, *, region: str, owner: str, session: Any, endpoint: str, retries: int) -> None:
        self._bucket, self._region, self._session, self._endpoint = bucket, region, session, endpoint
        self._retries = retries
        self._owner = {"ExpectedBucketOwner": owner} if owner else {}
        self._made: Any = None
        self._making = threading.Lock()

    def get(
        self,
        key: str,
        *,
        if_match: str,
        version_id: str,
        at_most: int | None = None,
        part: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """`data`, `etag` and `version_id` of an object. Raises ItemError where it has more than `at_most` bytes."""
        pins = {name: value for name, value in (("IfMatch", if_match), ("VersionId", version_id)) if value}
        if part is not None:
            pins["Range"] = f"bytes={part[0]}-{part[1] - 1}"
        with _errors_of_obstore():
            answer = self._client().get_object(Bucket=self._bucket, Key=key, **pins, **self._owner)
            require_at_most(key, answer["ContentLength"], at_most)
            return {
                "data": answer["Body"].read(),
                "etag": answer.get("ETag", ""),
                "version_id": answer.get("VersionId", ""),
            }

    def put(self, key: str, data: bytes, content_type: str, *, create: bool) -> str:
        """The version that was written."""
        condition = {"IfNoneMatch": "*"} if create else {}
        with _errors_of_obstore():
            answer = self._client().put_object(
                Bucket=self._bucket, Key=key, Body=data, ContentType=content_type, **condition, **self._owner
            )
            return str(answer.get("VersionId", ""))

    def _client(self) -> Any:
        with self._making:
            self._made = self._made or self._make()
        return self._made

    def _make(self) -> Any:
        from botocore.config import Config

        return self._session.client(
            "s3",
            region_name=self._region,
            endpoint_url=self._endpoint or None,
            config=Config(
                retries={"mode": "standard", "max_attempts": self._retries},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                s3={"addressing_style": "path" if self._endpoint else "auto"},
            ),
        )


@contextlib.contextmanager
def _errors_of_obstore() -> Iterator[None]:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        yield
    except ClientError as error:
        kind = _ERRORS.get(http_status(error), BaseError)
        raise kind(str(error)) from error
    except BotoCoreError as error:
        raise BaseError(str(error)) from error
