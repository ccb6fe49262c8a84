"""What is asked: the head of a request, and the document of a JSON body."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from gpuworker import contract
from gpuworker.contract import ContractError, Shard, read_json
from gpuworker.entries.serving.answers import refusal

JSON = "application/json"
IMAGES: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/tiff": "tif",
    "image/bmp": "bmp",
    "image/jp2": "jp2",
    "image/avif": "avif",
    "image/heic": "heic",
    "image/heif": "heif",
    "image/x-adobe-dng": "dng",
    "image/jpg": "jpg",
    "image/x-ms-bmp": "bmp",
    "image/jpx": "jpx",
}
"""Media type -> extension. What the bytes really are is seen by themselves."""
INFERENCE_ID = "x-amzn-sagemaker-inference-id"

Format = Literal["record", "coco"]


@dataclass(frozen=True, kw_only=True)
class Head:
    """Method, path and headers (names in lower case)."""

    method: str
    path: str
    headers: Mapping[str, str]

    @classmethod
    def of(cls, scope: Mapping[str, Any]) -> Head:
        """From an ASGI scope."""
        pairs: Iterable[tuple[bytes, bytes]] = scope["headers"]
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in pairs}
        return cls(method=scope["method"], path=scope["path"], headers=headers)

    @property
    def inference_id(self) -> str:
        """SageMaker's, else ""."""
        return self.headers.get(INFERENCE_ID, "")[:200]

    @property
    def is_from_elsewhere(self) -> bool:
        """Did a web page send it, or somebody who knows this machine by another name (DNS rebinding)?"""
        host = self.headers.get("host", "").lower()
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdecimal() else host
        page = "origin" in self.headers or self.headers.get("sec-fetch-site", "none") != "none"
        return page or name not in ("127.0.0.1", "localhost")

    @property
    def content_length(self) -> int | None:
        """Bytes of the body, where it was said."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isdecimal() else None

    @property
    def media_type(self) -> str:
        """One of JSON and IMAGES. Raises Refused (415)."""
        given = self.headers.get("content-type", "")
        media_type = given.partition(";")[0].strip().lower()
        if media_type != JSON and media_type not in IMAGES:
            takes = ", ".join([JSON, *IMAGES])
            message = f"the content type {given!r} is not supported" if given else "the content type is missing"
            raise refusal(415, "unsupported_media_type", f"{message}; send one of {takes}")
        return media_type

    @property
    def accepts(self) -> Format:
        """Which form of the result is wanted. Raises Refused (406)."""
        given = self.headers.get("accept", "").strip()
        if not given:
            return "record"
        offers = [_offer(part) for part in given.split(",")]
        acceptable = [(quality, wish) for quality, wish in offers if wish and quality > 0]
        if not acceptable:
            gives = f"{JSON} or {JSON}; format=coco"
            raise refusal(406, "not_acceptable", f"the answer cannot be {given!r}; accept {gives}")
        return max(acceptable, key=lambda offer: offer[0])[1]


def _offer(part: str) -> tuple[float, Format | Literal[""]]:
    """Quality and form of one part of an Accept header; "" for what is not made here."""
    media_type, *parameters = (piece.strip().lower() for piece in part.split(";"))
    given = {name.strip(): value.strip(' "') for name, _, value in (piece.partition("=") for piece in parameters)}
    try:
        quality = float(given.get("q", "1"))
    except ValueError:
        quality = 0.0
    if media_type not in (JSON, "application/*", "*/*"):
        return quality, ""
    wish: Mapping[str, Format] = {"": "record", "record": "record", "coco": "coco"}
    return quality, wish.get(given.get("format", ""), "")


@dataclass(frozen=True, kw_only=True)
class Reference:
    """`{"bucket": …, "key": …, "metadata": {…}}`: one image of S3."""

    bucket: str
    key: str
    metadata: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    """Of the task, over those of the model."""
    sidecar: Mapping[str, Any] = field(default_factory=dict)
    """What the person has written beside it (`contract.Item.sidecar`)."""
    version_id: str = ""


_STRINGS, _MAPPINGS = ("bucket", "key", "version_id"), ("metadata", "options", "sidecar")


def read_document(body: bytes) -> dict[str, Any]:
    """The body's JSON object. Raises Refused (400)."""
    if not body.strip():
        raise refusal(400, "empty", "the body is empty; send a JSON object")
    try:
        document = read_json(body, limit_bytes=len(body))  # bounded when it was received
    except ContractError as error:
        raise refusal(400, "bad_json", f"the body is not a document: {error}") from error
    if not isinstance(document, dict):
        raise refusal(400, "bad_json", "the body is JSON, but not an object")
    return document


def is_shard(document: Mapping[str, Any]) -> bool:
    """Is it a shard of a job? Else it should name an image of S3."""
    return "items" in document and "job" in document


def read_reference(document: Mapping[str, Any]) -> Reference:
    """Raises Refused (400)."""
    known = {*_STRINGS, *_MAPPINGS}
    form = 'send {"bucket": …, "key": …, "metadata": {…}}, where metadata may be left out'
    if unknown := sorted(set(document) - known):
        raise refusal(400, "bad_request", f"there is no field {unknown[0]!r}; {form}")
    for name in ("bucket", "key"):
        if not document.get(name):
            raise refusal(400, "bad_request", f"the field {name!r} is missing; {form}")
    for names, kind, word in ((_STRINGS, str, "a text"), (_MAPPINGS, dict, "an object")):
        for name in names:
            if not isinstance(document.get(name) or kind(), kind):
                raise refusal(400, "bad_request", f"the field {name!r} is not {word}; {form}")
    return Reference(**{name: value for name, value in document.items() if value is not None})


def read_shard(document: Mapping[str, Any], *, pipeline: str) -> Shard:
    """Raises ContractError for one that no worker of this pipeline can ever do."""
    place = (document["job"], document.get("number"), document.get("generation", 0))
    return contract.read_shard(json.dumps(document), place=cast(contract.Place, place), pipeline=pipeline)


def place_of(document: Mapping[str, Any]) -> contract.Place | None:
    """The place of a shard that could not be read otherwise; None where not even these are there."""
    try:
        return str(document["job"]), int(document["number"]), int(document.get("generation", 0))
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
