"""Inputs on disk: exactly what was listed, or a clear refusal."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from gpupipe.errors import InputError
from gpupipe.jobs.sources import LocalFile, composed, content_type, found_type, require_image, shown

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"


def listed(place: Path) -> LocalFile:
    found = place.stat()
    return LocalFile(str(place.parent), place.name, found.st_size, found.st_mtime_ns)


def test_an_unchanged_file_passes(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"one")
    file = listed(tmp_path / "a.jpg")
    with file.open() as opened:
        assert opened.read() == b"one"
        file.check(opened)


@pytest.mark.parametrize("content", [b"two", b"longer than it was"])
def test_a_changed_file_is_refused_also_at_the_same_size(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "a.jpg"
    place.write_bytes(b"one")
    os.utime(place, ns=(1, 1))
    file = listed(place)
    place.write_bytes(content)
    with file.open() as opened, pytest.raises(InputError, match=r"a\.jpg was changed"):
        file.check(opened)


def test_a_vanished_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"one")
    file = listed(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(InputError, match="not there any more"):
        file.open()


def test_a_folder_in_the_files_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").mkdir()
    with pytest.raises(InputError, match="cannot open"):
        listed(tmp_path / "a.jpg").open()


def test_paths_are_composed() -> None:
    name = "Ä Ö.jpg"
    assert LocalFile("", unicodedata.normalize("NFD", name), 0, 0).path == unicodedata.normalize("NFC", name)
    assert composed("plain") == "plain"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", b"\xff\xd8\xff\xdb"),
        ("a.JPEG", b"\xff\xd8\xff\xe1"),
        ("a.png", b"\x89PNG\r\n\x1a\n1234"),
        ("a.webp", b"RIFF1234WEBP"),
        ("a.tif", b"II*\0"),
        ("a.tiff", b"MM\0*"),
        ("big.tif", b"II+\0"),
        ("really_png.jpg", b"\x89PNG\r\n\x1a\n1234"),
        ("really_webp.jpg", b"RIFF1234WEBP"),
        ("really_heic.jpg", HEIC),
        ("a.heic", HEIC),
        ("a.heif", b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic"),
        ("a.avif", b"\0\0\0\x1cftypavif\0\0\0\0mif1avif"),
        ("a.bmp", b"BM" + bytes(12) + b"\x28\0\0\0"),
        ("a.jp2", b"\0\0\0\x0cjP  \r\n\x87\n"),
        ("a.j2k", b"\xff\x4f\xff\x51"),
        ("a.dng", b"II*\0"),
        ("other.task", b"anything"),
    ],
)
def test_images_are_known_by_their_first_bytes(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    require_image(listed(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jpg", b"", "it is empty"),
        ("a.jpg", b"GIF89a", r"not that of a \.jpg file"),
        ("a.bmp", b"BMW is no bitmap, and this is a text", r"not that of a \.bmp file"),
        ("a.heic", b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", r"not that of a \.heic file"),
        ("a.webp", b"RIFF1234WAVE", r"not that of a \.webp file"),
        ("a.TIF", b"hello", r"not that of a \.tif file"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        require_image(listed(tmp_path / name))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("really_png.jpg", b"\x89PNG\r\n\x1a\n1234", "image/png"),
        ("really_heic.jpg", HEIC, "image/heic"),
        ("scan", b"II*\0", "image/tiff"),
        ("a.webp", b"damaged", "image/webp"),
    ],
)
def test_a_type_is_told_by_the_content_or_else_by_the_name(
    tmp_path: Path, name: str, content: bytes, expected: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert found_type(listed(tmp_path / name)) == expected


def test_names_are_shown_so_that_a_terminal_survives_them() -> None:
    assert shown("a\x1b[31mb\n") == "a\\x1b[31mb\\n"
    assert shown("Ä 日本.jpg") == "Ä 日本.jpg"


def test_content_types_follow_the_name() -> None:
    assert content_type("x/a.JPG") == "image/jpeg"
    assert content_type("a.tiff") == "image/tiff"
    assert content_type("a.HEIC") == "image/heic"
    assert content_type("a.dng") == "image/x-adobe-dng"
    assert content_type("a") == "application/octet-stream"
