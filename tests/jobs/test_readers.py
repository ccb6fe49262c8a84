"""HEIC for a local worker without pillow-heif is refused by name before anything is uploaded."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

from gpupipe.errors import InputError
from gpupipe.jobs.inputs import collect
from gpupipe.jobs.readers import require_readers
from gpupipe.jobs.sources import Input

HEIC = b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf"
PNG = b"\x89PNG\r\n\x1a\n0000"
SUFFIXES = frozenset({".jpg", ".png", ".heic", ".heif", ".avif"})


def inputs(*places: Path) -> list[Input]:
    return list(collect([str(place) for place in places], suffixes=SUFFIXES, project="p").files)


@pytest.fixture
def album(tmp_path: Path) -> Path:
    folder = tmp_path / "album"
    folder.mkdir()
    for name, content in {"a.heic": HEIC, "b.jpg": HEIC, "c.png": PNG, "d.heic": PNG, "e.heif": b"damaged"}.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)


@pytest.mark.usefixtures("lacking")
class TestWithoutPillowHeif:
    def test_files_in_a_folder_are_named_by_content_or_else_by_name(self, album: Path) -> None:
        with pytest.raises(InputError, match=r"a\.heic, .*b\.jpg, .*e\.heif\.") as caught:
            require_readers(inputs(album), here=True)
        assert "pip install 'gpupipe-aws[heif]'" in str(caught.value.hint)
        assert "c.png" not in caught.value.message
        assert "d.heic" not in caught.value.message

    def test_a_file_named_by_hand(self, album: Path) -> None:
        with pytest.raises(InputError, match=r"b\.jpg"):
            require_readers(inputs(album / "b.jpg"), here=True)

    def test_members_of_an_archive(self, tmp_path: Path) -> None:
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("deep/x.heic", HEIC)
            archive.writestr("y.png", PNG)
        with pytest.raises(InputError, match=r"all\.zip:deep/x\.heic\."):
            require_readers(inputs(tmp_path / "all.zip"), here=True)

    def test_many_are_not_all_named(self, tmp_path: Path) -> None:
        for number in range(9):
            (tmp_path / f"{number}.heic").write_bytes(HEIC)
        with pytest.raises(InputError, match=r"4\.heic and 4 more\."):
            require_readers(inputs(tmp_path), here=True)

    def test_others_need_nothing_and_on_aws_the_worker_has_it(self, album: Path) -> None:
        require_readers(inputs(album / "c.png", album / "d.heic"), here=True)
        require_readers(inputs(album), here=False)


def test_with_pillow_heif_all_are_taken(album: Path) -> None:
    pytest.importorskip("pillow_heif")
    require_readers(inputs(album), here=True)
