"""Zip archives: members become inputs, and what an archive must not do is refused."""

from __future__ import annotations

import io
import struct
import tempfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.properties import examples

from gpupipe.errors import InputError
from gpupipe.jobs.inputs import Inputs, collect
from gpupipe.jobs.upload import content_etag

SUFFIXES = frozenset({".jpg", ".tif"})
PHOTO = b"\xff\xd8\xff photo"


def an_archive(place: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(place, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return place


def found(*places: Path) -> Inputs:
    return collect([str(place) for place in places], suffixes=SUFFIXES, project="field7")


def contents(inputs: Inputs) -> dict[str, bytes]:
    read = {}
    for file in inputs.files:
        with file.open() as opened:
            read[file.path] = opened.read()
            file.check(opened)
    return read


def test_members_are_inputs_and_the_rest_is_counted(tmp_path: Path) -> None:
    members = {
        "b.jpg": PHOTO,
        "deep/a.JPG": PHOTO + b"!",
        "a.tfw": b"",
        "__MACOSX/._b.jpg": b"",
        "x/": b"",
        "in.zip": b"",
    }
    inputs = found(an_archive(tmp_path / "photos.zip", members))
    assert contents(inputs) == {"b.jpg": PHOTO, "deep/a.JPG": PHOTO + b"!"}
    assert inputs.skipped == {"sidecar file": 1, "hidden": 1, "archive inside a folder": 1}
    assert [file.size for file in inputs.files] == [len(PHOTO), len(PHOTO) + 1]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_any_method_that_python_reads_will_do(tmp_path: Path, method: int) -> None:
    assert contents(found(an_archive(tmp_path / "a.ZIP", {"a.jpg": PHOTO}, method))) == {"a.jpg": PHOTO}


def test_an_archive_beside_a_folder_and_named_twice(tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more/c.jpg").write_bytes(PHOTO)
    archive = an_archive(tmp_path / "photos.zip", {"a.jpg": PHOTO})
    inputs = found(tmp_path / "more", archive, archive)
    assert sorted(contents(inputs)) == ["a.jpg", "c.jpg"]
    assert inputs.skipped == {"named twice": 1}


@pytest.mark.parametrize("name", ["../a.jpg", "x/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg", "..\\a.jpg"])
def test_paths_that_lead_out_of_the_archive_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads out of the archive"):
        found(an_archive(tmp_path / "evil.zip", {name: PHOTO}))


def test_windows_separators_and_empty_segments_are_mended(tmp_path: Path) -> None:
    inputs = found(an_archive(tmp_path / "a.zip", {"deep\\a.jpg": PHOTO, "x//./b.jpg": PHOTO}))
    assert sorted(contents(inputs)) == ["deep/a.jpg", "x/b.jpg"]


def test_a_member_twice_is_an_error(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", PHOTO)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("a.jpg", PHOTO + b"2")
    with pytest.raises(InputError, match=r"a\.zip:a\.jpg and .*a\.zip:a\.jpg would both become a\.jpg"):
        found(tmp_path / "a.zip")


def test_names_in_utf8_that_do_not_say_so_are_read_right(tmp_path: Path) -> None:
    place = an_archive(tmp_path / "mac.zip", {"fo__to.jpg": PHOTO})
    data = place.read_bytes().replace(b"fo__to.jpg", "fo\N{LATIN SMALL LETTER O WITH DIAERESIS}to.jpg".encode())
    place.write_bytes(data)
    assert list(contents(found(place))) == ["foöto.jpg"]


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    place = an_archive(tmp_path / "secret.zip", {"a.jpg": PHOTO})
    data = bytearray(place.read_bytes())
    data[data.index(b"PK\x01\x02") + 8] |= 1
    data[data.index(b"PK\x03\x04") + 6] |= 1
    place.write_bytes(data)
    with pytest.raises(InputError, match=r"secret\.zip:a\.jpg is encrypted.*password"):
        found(place)


def test_unknown_methods_are_refused(tmp_path: Path) -> None:
    place = an_archive(tmp_path / "odd.zip", {"a.jpg": PHOTO})
    data = bytearray(place.read_bytes())
    struct.pack_into("<H", data, data.index(b"PK\x01\x02") + 10, 93)
    place.write_bytes(data)
    with pytest.raises(InputError, match=r"compressed by a method that Python cannot read \(93\)"):
        found(place)


def test_links_in_an_archive_are_no_files(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        link = zipfile.ZipInfo("link.jpg")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
        archive.writestr("a.jpg", PHOTO)
    inputs = found(tmp_path / "a.zip")
    assert (list(contents(inputs)), inputs.skipped) == (["a.jpg"], {"not a file": 1})


def test_a_bomb_is_refused_by_its_directory_alone(tmp_path: Path) -> None:
    place = an_archive(tmp_path / "bomb.zip", {"a.tif": b"\0" * 100_000})
    data = bytearray(place.read_bytes())
    struct.pack_into("<I", data, data.index(b"PK\x01\x02") + 24, 3 * 1024**3)
    place.write_bytes(data)
    with pytest.raises(InputError, match=r"would unpack to 3 GiB, .*times its size"):
        found(place)


def test_content_other_than_the_archive_says_is_refused_when_read(tmp_path: Path) -> None:
    place = an_archive(tmp_path / "a.zip", {"a.jpg": PHOTO}, zipfile.ZIP_STORED)
    inputs = found(place)
    place.write_bytes(place.read_bytes().replace(b"photo", b"PHOTO"))
    with pytest.raises(InputError, match=r"cannot read .*a\.zip:a\.jpg: Bad CRC"):
        content_etag(inputs.files[0])


def test_a_cut_archive_is_refused(tmp_path: Path) -> None:
    place = an_archive(tmp_path / "cut.zip", {"a.jpg": PHOTO * 100}, zipfile.ZIP_STORED)
    place.write_bytes(place.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"cannot read the archive .*Make or copy it again"):
        found(place)


@given(st.binary(max_size=300))
@example(b"\x00\xc8\xb6")  # the name in a member's own header is no UTF-8
@examples(80)
def test_damage_anywhere_is_a_refusal_and_never_anything_else(noise: bytes) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", PHOTO * 20)
        archive.writestr("deep/b.jpg", PHOTO)
    data = bytearray(whole.getvalue())
    for position, byte in enumerate(noise):
        data[(position * 37 + byte) % len(data)] ^= byte
    with tempfile.NamedTemporaryFile(suffix=".zip") as file:
        file.write(data)
        file.flush()
        try:
            for one in found(Path(file.name)).files:
                content_etag(one)
        except InputError:
            pass
