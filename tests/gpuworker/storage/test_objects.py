import hashlib
import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import boto3
import pytest
from tests.gpuworker.station import Station

from gpuworker.contract.items import ItemError
from gpuworker.storage.objects import RANGE_BYTES, RefusedError, Storage, StorageError, endpoint_of

ODD_NAMES = [
    "plain.jpg",
    "with space + plus % percent %20.jpg",
    "größe/日本/🌾.jpg",
    "double//slash.jpg",
    "./dot/../dots.jpg",
    "tab\there.jpg",
    "#?&=;'()*!~[]{}|^`<>\".jpg",
    "deep/" * 180 + "x.jpg",
]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_any_name_is_written_and_read_as_it_is(station: Station, name: str) -> None:
    # given and when
    artifact = station.storage.put(name, b"bytes", "image/jpeg")
    # then boto3 finds it under the very same name, and so do we
    head = station.client("s3").head_object(Bucket=station.name, Key=name)
    assert (head["ContentLength"], head["ContentType"]) == (5, "image/jpeg")
    assert artifact.key == name
    assert station.storage.get(name).data == b"bytes"


def test_what_was_written_is_pinned_by_version_and_checksum(station: Station) -> None:
    first = station.storage.put("k", b"one")
    second = station.storage.put("k", b"second")
    assert first.sha256 == hashlib.sha256(b"one").hexdigest()
    assert (first.size, second.size) == (3, 6)
    assert station.storage.get("k", version_id=first.version_id).data == b"one"
    assert station.storage.get("k").data == b"second"


@pytest.mark.parametrize("key", ["k", "odd//k"])
def test_replaced_input_has_changed(station: Station, key: str) -> None:
    station.storage.put(key, b"one")
    etag = station.storage.get(key).etag
    assert station.storage.get(key, etag=etag.strip('"')).data == b"one"
    station.storage.put(key, b"two")
    with pytest.raises(ItemError) as caught:
        station.storage.get(key, etag=etag)
    assert caught.value.code == "changed"


def test_pinned_version_is_read_though_a_newer_one_is_there(station: Station) -> None:
    old = station.storage.put("k", b"one")
    etag = hashlib.md5(b"one", usedforsecurity=False).hexdigest()
    station.storage.put("k", b"two")
    assert station.storage.get("k", etag=etag, version_id=old.version_id).data == b"one"


@pytest.mark.parametrize("key", ["nothing", "odd//nothing"])
def test_missing_input_is_not_found_and_missing_document_is_none(station: Station, key: str) -> None:
    assert station.storage.read(key) is None
    with pytest.raises(ItemError) as caught:
        station.storage.get(key)
    assert caught.value.code == "not_found"


@pytest.mark.parametrize("key", ["k", "odd//k"])
def test_only_the_first_of_two_conditional_writes_counts(station: Station, key: str) -> None:
    assert station.storage.put_new(key, b"first") is True
    assert station.storage.put_new(key, b"second") is False
    found = station.storage.read(key)
    assert found is not None
    assert found.data == b"first"


def test_of_many_writers_at_once_one_wins(station: Station) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        if station.storage.put_new("contended", str(number).encode()):
            won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    found = station.storage.read("contended")
    assert found is not None
    assert found.data == str(won[0]).encode()
    assert len(won) == 1


def test_large_object_goes_in_parts_and_comes_in_ranges(station: Station) -> None:
    data = os.urandom(33 * 1024 * 1024)
    artifact = station.storage.put("large", data)
    assert artifact.sha256 == hashlib.sha256(data).hexdigest()
    assert station.storage.get("large", size=len(data)).data == data


class TestIntoAFile:
    @pytest.mark.parametrize("ranges", [1, pytest.param(2, marks=pytest.mark.exhaustive)])
    def test_ranges_come_together_as_the_object(self, station: Station, tmp_path: Path, ranges: int) -> None:
        data = os.urandom(ranges * RANGE_BYTES + 12_345)
        written = station.storage.put("large", data)
        pins = {"etag": station.storage.get("large").etag, "version_id": written.version_id}
        station.storage.get_file("large", tmp_path / "file", **pins, size=len(data))
        assert (tmp_path / "file").read_bytes() == data

    @pytest.mark.parametrize("key", ["small", "odd//small"])
    def test_a_small_one_by_any_name(self, station: Station, tmp_path: Path, key: str) -> None:
        station.storage.put(key, b"bytes")
        station.storage.get_file(key, tmp_path / "file", size=5)
        assert (tmp_path / "file").read_bytes() == b"bytes"

    @pytest.mark.parametrize("key", ["k", "odd//k"])
    def test_missing_and_replaced_inputs_fail_as_they_do_in_memory(
        self, station: Station, tmp_path: Path, key: str
    ) -> None:
        station.storage.put(key, b"bytes")
        for asked, pinned, size, code in [
            (key, "0" * 32, 5, "changed"),
            (key, "", 9, "changed"),
            ("no", "", 5, "not_found"),
        ]:
            with pytest.raises(ItemError) as caught:
                station.storage.get_file(asked, tmp_path / "file", etag=pinned, size=size)
            assert caught.value.code == code

    def test_a_full_disk_is_no_fault_of_the_item(self, station: Station) -> None:
        station.storage.put("k", b"bytes")
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("this system has no /dev/full")
        with pytest.raises(StorageError, match=r"could not put k on the worker's disk: No space left"):
            station.storage.get_file("k", full, size=5)

    def test_an_unreachable_bucket_is_no_fault_of_the_item(
        self, answering: tuple[str, list[dict[str, str]], dict[str, Any]], tmp_path: Path
    ) -> None:
        endpoint, _, told = answering
        told["status"] = 500
        session = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
        storage = Storage("b", region="us-east-1", session=session, endpoint=endpoint, retry_for_s=0.1)
        with pytest.raises(StorageError, match="could not read k"):
            storage.get_file("k", tmp_path / "file", size=5)


def test_unreachable_bucket_is_no_fault_of_the_item(station: Station) -> None:
    storage = Storage("nowhere", region="us-east-1", session=station.session, endpoint=station.local.endpoints["ec2"])
    with pytest.raises(StorageError, match="could not write k"):
        storage.put("k", b"x")


@pytest.fixture
def answering() -> Iterator[tuple[str, list[dict[str, str]], dict[str, Any]]]:
    """An HTTP server that answers as it is told and keeps the headers of what it was asked."""
    asked: list[dict[str, str]] = []
    told: dict[str, Any] = {"status": 200, "body": b"x"}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(told["status"])
            self.send_header("ETag", '"e"')
            self.send_header("Last-Modified", "Wed, 21 Oct 2026 07:28:00 GMT")
            self.send_header("Content-Length", str(len(told["body"])))
            self.end_headers()
            self.wfile.write(told["body"])

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def log_message(self, *arguments: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, told
    server.shutdown()
    server.server_close()
    thread.join(5)


SESSION = boto3.Session(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")


@pytest.mark.parametrize("key", ["k", "odd//k"])
def test_every_request_names_the_owner_and_signs_it(answering: Any, key: str) -> None:
    endpoint, asked, _ = answering
    Storage("bucket", region="us-east-1", owner="123456789012", session=SESSION, endpoint=endpoint).get(key)
    assert asked[0]["x-amz-expected-bucket-owner"] == "123456789012"
    assert "x-amz-expected-bucket-owner" in asked[0]["authorization"]


def test_denied_input_is_not_found_but_expired_credentials_are_no_fault_of_it(answering: Any) -> None:
    endpoint, _, told = answering
    storage = Storage("bucket", region="us-east-1", session=SESSION, endpoint=endpoint)
    told.update(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(ItemError) as caught:
        storage.get("k")
    assert caught.value.code == "not_found"
    told.update(status=403, body=b"<Error><Code>ExpiredToken</Code></Error>")
    with pytest.raises(StorageError, match="access denied"):
        storage.get("k")


def test_denied_document_is_not_taken_for_a_missing_one(answering: Any) -> None:
    """A shard whose document is missing is dead at once; one that may not be read just now is tried again."""
    endpoint, _, told = answering
    told.update(status=403, body=b"<Error><Code>AccessDenied</Code></Error>")
    with pytest.raises(StorageError, match="access denied"):
        Storage("bucket", region="us-east-1", session=SESSION, endpoint=endpoint).read("k")


def test_endpoint_of_s3_goes_before_the_general_one() -> None:
    assert endpoint_of({"AWS_ENDPOINT_URL": "a", "AWS_ENDPOINT_URL_S3": "b"}) == "b"
    assert endpoint_of({"AWS_ENDPOINT_URL": "a"}) == "a"
    assert endpoint_of({}) == ""


def test_impossible_name_is_refused_for_good(answering: Any) -> None:
    """`RefusedError` is the item's failure; any other StorageError would have the whole shard tried again."""
    endpoint, asked, told = answering
    storage = Storage("bucket", region="us-east-1", session=SESSION, endpoint=endpoint)
    told.update(status=400, body=b"<Error><Code>KeyTooLongError</Code></Error>")
    with pytest.raises(RefusedError, match="KeyTooLongError"):
        storage.put("x" * 1100, b"x")
    assert len(asked) == 1


@pytest.mark.parametrize("key", ["k", "odd//k"])
def test_object_of_unknown_size_is_read_up_to_a_limit(station: Station, key: str) -> None:
    station.storage.put(key, b"twelve bytes")
    assert station.storage.get(key, at_most=12).data == b"twelve bytes"
    with pytest.raises(ItemError) as caught:
        station.storage.get(key, at_most=11)
    assert caught.value.code == "too_large"


def test_sibling_reads_another_bucket_with_the_same_credentials(station: Station) -> None:
    other = f"{station.name}-sibling"
    station.client("s3").create_bucket(Bucket=other)
    station.client("s3").put_object(Bucket=other, Key="k", Body=b"theirs")
    assert station.storage.sibling(other, retry_for_s=1.0).get("k").data == b"theirs"
