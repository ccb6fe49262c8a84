from typing import Any

import pytest

from gpuworker.contract import ContractError, Item, Shard
from gpuworker.entries.serving.answers import Refused
from gpuworker.entries.serving.requests import Head, is_shard, place_of, read_document, read_reference, read_shard


def head(**headers: str) -> Head:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Head.of({"method": "POST", "path": "/invocations", "headers": pairs})


@pytest.mark.parametrize(
    "given",
    [
        *("image/png", "IMAGE/JPEG", "image/webp; x=y", "image/tiff", "application/json", "image/heic", "image/heif"),
        *("image/avif", "image/bmp", "image/jp2", "image/x-adobe-dng", "image/jpg"),
    ],
)
def test_media_types_of_the_contract_are_taken(given: str) -> None:
    assert head(content_type=given).media_type == given.partition(";")[0].lower()


@pytest.mark.parametrize("given", ["", "text/plain", "image/gif", "application/x-image", "multipart/form-data"])
def test_other_media_types_are_refused_with_those_that_are_taken(given: str) -> None:
    with pytest.raises(Refused) as refused:
        _ = (head(content_type=given) if given else head()).media_type
    assert refused.value.answer.status == 415
    assert b"image/png" in refused.value.answer.body


@pytest.mark.parametrize(
    ("given", "wish"),
    [
        ("", "record"),
        ("*/*", "record"),
        ("application/json", "record"),
        ("application/*;q=0.5", "record"),
        ("application/json; format=coco", "coco"),
        ('application/json;format="COCO"', "coco"),
        ("text/html, application/json;q=0.9", "record"),
        ("application/json;q=0.2, application/json;format=coco;q=0.7", "coco"),
    ],
)
def test_accept_chooses_the_form(given: str, wish: str) -> None:
    assert head(accept=given).accepts == wish


@pytest.mark.parametrize(
    "given", ["text/html", "application/json;q=0", "application/json;format=xml", "image/png", "application/json;q=x"]
)
def test_what_cannot_be_made_is_not_acceptable(given: str) -> None:
    with pytest.raises(Refused) as refused:
        _ = head(accept=given).accepts
    assert refused.value.answer.status == 406


@pytest.mark.parametrize(("given", "length"), [("12", 12), ("", None), ("-1", None), ("many", None)])
def test_content_length_is_a_number_or_unknown(given: str, length: int | None) -> None:
    assert head(content_length=given).content_length == length


def test_inference_id_is_sagemakers_header() -> None:
    assert head(X_Amzn_SageMaker_Inference_Id="job.0.0").inference_id == "job.0.0"
    assert head().inference_id == ""


@pytest.mark.parametrize(
    ("headers", "elsewhere"),
    [
        ({"host": "127.0.0.1:8080"}, False),
        ({"host": "localhost"}, False),
        ({"host": "evil.example:8080"}, True),
        ({}, True),
        ({"host": "127.0.0.1:8080", "origin": "http://evil.example"}, True),
        ({"host": "127.0.0.1:8080", "sec_fetch_site": "cross-site"}, True),
    ],
)
def test_web_pages_and_other_names_are_told_apart(headers: dict[str, str], elsewhere: bool) -> None:
    assert head(**headers).is_from_elsewhere is elsewhere


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "empty"), (b"  ", "empty"), (b"{", "bad_json"), (b"[]", "bad_json"), (b"\xff\xfe{}", "bad_json")],
)
def test_body_that_is_no_json_object_is_refused(body: bytes, code: str) -> None:
    with pytest.raises(Refused) as refused:
        read_document(body)
    assert (refused.value.answer.status, refused.value.answer.code) == (400, code)


def test_endlessly_nested_json_is_refused() -> None:
    with pytest.raises(Refused):
        read_document(b"[" * 100_000)


def test_reference_is_read_with_and_without_metadata() -> None:
    reference = read_reference({"bucket": "b", "key": "k", "metadata": {"plan": 7}})
    assert (reference.bucket, reference.key, reference.metadata) == ("b", "k", {"plan": 7})
    assert read_reference({"bucket": "b", "key": "k", "metadata": None}).metadata is None
    beside = {"boxes": [{"x": 1, "y": 2, "width": 3, "height": 4}]}
    assert read_reference({"bucket": "b", "key": "k", "sidecar": beside}).sidecar == beside


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({}, "bucket"),
        ({"bucket": "b"}, "key"),
        ({"bucket": "b", "key": 7}, "key"),
        ({"bucket": "b", "key": "k", "metadata": "x"}, "metadata"),
        ({"bucket": "b", "key": "k", "meta": {}}, "meta"),
        ({"bucket": "b", "key": "k", "options": ["x"]}, "options"),
    ],
)
def test_reference_with_a_wrong_field_is_refused_by_its_name(document: dict[str, Any], named: str) -> None:
    with pytest.raises(Refused) as refused:
        read_reference(document)
    assert (refused.value.answer.status, refused.value.answer.code) == (400, "bad_request")
    assert repr(named) in refused.value.answer.body.decode()


def test_shard_goes_through_json_unchanged() -> None:
    item = Item(key="inputs/p/a.png", etag="e", size=1, output="a")
    shard = Shard(job="j", pipeline="p", project="p", number=3, generation=1, task="t", options={"x": 1}, items=(item,))
    document = read_document(shard.to_json().encode())
    assert is_shard(document)
    assert read_shard(document, pipeline="p") == shard
    assert place_of(document) == ("j", 3, 1)


@pytest.mark.parametrize("items", [[], [{}], "items", [7], None])
def test_unusable_shard_raises_contract_error_only(items: Any) -> None:
    document = {"version": 1, "job": "j", "number": 0, "items": items, "task": "t", "options": {}}
    with pytest.raises(ContractError):
        read_shard(document, pipeline="p")


def test_place_of_what_has_none_is_none() -> None:
    assert place_of({"job": "j", "number": "many", "items": []}) is None
    assert place_of({"items": []}) is None
