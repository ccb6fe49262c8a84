"""Objects up: exactly as listed or not at all, in bounded memory, and known again by their ETag."""

from __future__ import annotations

import contextlib
import http.server
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.jobs.desk import Desk

from gpupipe.aws import Aws
from gpupipe.errors import AwsError, InputError, NotDeployedError
from gpupipe.jobs.sources import LocalFile
from gpupipe.jobs.transfer import MB, PART_BYTES, Store, open_store, part_bytes
from gpupipe.jobs.upload import Stored, Upload, content_etag, upload, upload_one, write_document
from gpupipe.names import Stack

LARGE = PART_BYTES + 3


@pytest.fixture
def store(desk: Desk) -> Store:
    return open_store(desk.ctx.aws, desk.ctx.bucket)


def a_file(place: Path, content: bytes) -> LocalFile:
    place.write_bytes(content)
    found = place.stat()
    return LocalFile(str(place.parent), place.name, found.st_size, found.st_mtime_ns)


def sparse(place: Path, size: int) -> LocalFile:
    """A file of zeros that takes no room."""
    with place.open("wb") as opened:
        opened.truncate(size)
    found = place.stat()
    return LocalFile(str(place.parent), place.name, found.st_size, found.st_mtime_ns)


class Answers(http.server.BaseHTTPRequestHandler):
    """Says yes to everything."""

    def do_HEAD(self) -> None:
        self._yes()

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self._yes()

    def _yes(self) -> None:
        self.send_response(200)
        self.send_header("ETag", '"abc"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None: ...


@contextlib.contextmanager
def https_server(folder: Path) -> Iterator[tuple[str, Path]]:
    """A server under a certificate that nobody knows; its address, and the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "known.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "server.pem").write_bytes(secret + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"https://localhost:{server.server_address[1]}", folder / "known.pem"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("size", [0, 1, 100_000, PART_BYTES, LARGE])
def test_what_is_stored_is_what_was_read(desk: Desk, store: Store, tmp_path: Path, size: int) -> None:
    content = os.urandom(size)
    file = a_file(tmp_path / "a.jpg", content)
    stored = upload_one(store, Upload(key="inputs/p/a.jpg", source=file, content_type="image/jpeg"))
    assert desk.get("inputs/p/a.jpg", stored.version_id) == content
    head = desk.s3.head_object(Bucket=desk.ctx.bucket, Key="inputs/p/a.jpg")
    assert (head["ETag"], head["VersionId"], head["ContentType"]) == (
        f'"{stored.etag}"',
        stored.version_id,
        "image/jpeg",
    )
    assert content_etag(file) == stored.etag


def test_names_that_urls_would_mangle_arrive_as_they_are(desk: Desk, store: Store, tmp_path: Path) -> None:
    names = ["a b.jpg", "a+b.jpg", "50%.jpg", "a%20b.jpg", "ä 日本.jpg", "q?#[1]{2}|~'\"\\.jpg", " .jpg", "x" * 900]
    file = a_file(tmp_path / "a", b"x")
    for outcome in upload(store, [Upload(key=f"inputs/p/{name}", source=file) for name in names]):
        assert isinstance(outcome[1], Stored)
    assert sorted(desk.keys("inputs/p/")) == sorted(f"inputs/p/{name}" for name in names)


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("change", ["content", "shorter", "longer", "gone"])
def test_a_source_that_changed_never_becomes_an_object(
    desk: Desk, store: Store, tmp_path: Path, size: int, change: str
) -> None:
    file = sparse(tmp_path / "a.tif", size)
    place = tmp_path / "a.tif"
    if change == "gone":
        place.unlink()
    elif change == "content":
        os.utime(place, ns=(0, 12345))
    else:
        os.truncate(place, size + (5 if change == "longer" else -5))
    with pytest.raises(InputError, match=r"a\.tif (was changed|is not there)"):
        upload_one(store, Upload(key="inputs/p/a.tif", source=file))
    assert desk.keys() == []
    assert not desk.s3.list_multipart_uploads(Bucket=desk.ctx.bucket).get("Uploads")


def test_one_bad_source_does_not_hold_up_the_others(store: Store, tmp_path: Path) -> None:
    files = [a_file(tmp_path / f"{number}.jpg", b"x") for number in range(20)]
    (tmp_path / "7.jpg").unlink()
    outcomes = dict(upload(store, [Upload(key=f"k/{file.path}", source=file) for file in files]))
    bad = [one.key for one, outcome in outcomes.items() if isinstance(outcome, InputError)]
    assert (len(outcomes), bad) == (20, ["k/7.jpg"])


def test_documents_replace_each_other(desk: Desk, store: Store) -> None:
    write_document(store, "jobs/x.json", "{}")
    write_document(store, "jobs/x.json", '{"a":1}')
    assert desk.get("jobs/x.json") == b'{"a":1}'


def test_a_missing_bucket_says_what_to_do(desk: Desk) -> None:
    with pytest.raises(NotDeployedError, match=r"there is no bucket nothing-here.*gpupipe up"):
        open_store(desk.ctx.aws, "nothing-here")


def test_certificates_that_boto3_trusts_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with https_server(tmp_path) as (endpoint, certificate):
        stack = Stack(name="x", environment="dev", account="123456789012", region="us-east-1")
        keys = {"aws_access_key_id": "a", "aws_secret_access_key": "b"}
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
        store = open_store(Aws(stack=stack, endpoints={"default": endpoint}, credentials=keys), "bucket")
        assert upload_one(store, Upload(key="a.jpg", source=a_file(tmp_path / "a.jpg", b"x"))).etag == "abc"


def test_a_bucket_of_somebody_else_is_refused(desk: Desk) -> None:
    aws = desk.ctx.aws
    stranger = Aws(
        stack=replace(aws.stack, account="999999999999"), endpoints=aws.endpoints, credentials=aws.credentials
    )
    with pytest.raises(AwsError, match="could not open bucket"):
        open_store(stranger, desk.ctx.bucket)


def test_a_server_that_is_gone_is_told_in_a_sentence(desk: Desk, store: Store, tmp_path: Path) -> None:
    file = a_file(tmp_path / "a.jpg", b"x")
    desk.s3.delete_bucket(Bucket=desk.ctx.bucket)
    with pytest.raises(AwsError) as caught:
        upload_one(store, Upload(key="a.jpg", source=file))
    assert caught.value.message.startswith("could not upload")
    assert "\n" not in caught.value.message
    assert "Debug" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "part"), [(PART_BYTES + 1, 16), (2 * 1024 * MB, 16), (160_000 * MB, 16), (200_000 * MB, 20)]
)
def test_parts_are_of_sixteen_megabytes_or_as_large_as_they_must(size: int, part: int) -> None:
    assert part_bytes(size) == part * MB
    assert size / part_bytes(size) <= 10_000


@pytest.mark.parametrize("size", [3 * PART_BYTES + 5, pytest.param(300 * MB, marks=pytest.mark.exhaustive)])
def test_a_large_file_travels_in_little_memory(desk: Desk, tmp_path: Path, size: int) -> None:
    """In a process of its own, because memory is measured over a process's life; the larger file would not fit."""
    sparse(tmp_path / "big.tif", size)
    script = """
import resource, sys
from pathlib import Path
from gpupipe.aws import Aws
from gpupipe.jobs.sources import LocalFile
from gpupipe.jobs.transfer import Download, download_one, open_store
from gpupipe.jobs.upload import Upload, upload_one
from gpupipe.names import Stack
account, region, endpoint, secret, bucket, place = sys.argv[1:]
stack = Stack(name="x", environment="dev", account=account, region=region)
keys = {"aws_access_key_id": account, "aws_secret_access_key": secret}
store = open_store(Aws(stack=stack, endpoints={"default": endpoint}, credentials=keys), bucket)
found = Path(place).stat()
source = LocalFile("", place, found.st_size, found.st_mtime_ns)
stored = upload_one(store, Upload(key="big", source=source))
download_one(store, Download(key="big", target=Path(place + ".back"), size=found.st_size, version_id=stored.version_id))
status = Path("/proc/self/status")
if status.exists():  # Linux's ru_maxrss begins with the peak of the process that forked this one
    print(int(status.read_text().split("VmHWM:")[1].split()[0]) // 1024)
else:
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024**2)
"""
    aws = desk.ctx.aws
    arguments = [aws.stack.account, aws.stack.region, aws.endpoints["default"]]
    secret = aws.credentials["aws_secret_access_key"]
    command = [sys.executable, "-c", script, *arguments, secret, desk.ctx.bucket, str(tmp_path / "big.tif")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 250
    assert (tmp_path / "big.tif.back").stat().st_size == size
