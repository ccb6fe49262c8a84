"""The result folder: names that stay inside and apart, what counts as current, and whose folder it is."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gpupipe.errors import GpupipeError, UsageError
from gpupipe.jobs import folder as folders
from gpupipe.jobs.folder import Names, ResultFolder, has_stamp, is_current, portable, replacing, stamp_ns
from gpuworker.contract import Artifact

ROOT = Path("/results/items")
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


def an_artifact(data: bytes, version_id: str = "v1") -> Artifact:
    return Artifact(key="k", size=len(data), sha256=hashlib.sha256(data).hexdigest(), version_id=version_id)


# --- names ---


@given(name=words)
@example(name="../../etc/passwd")
@example(name="/etc/passwd")
@example(name="a//b/./..")
@example(name="")
def test_no_name_leads_outside_or_to_the_root_itself(name: str) -> None:
    folder = Names(ROOT).folder(name)
    assert ROOT in Path(os.path.normpath(folder)).parents
    assert Path(os.path.normpath(folder)) == folder


@given(first=words, second=words)
@example(first="a:b", second="a_b")
@example(first="x" * 300 + "1", second="x" * 300 + "2")
@example(first=".", second="_")
def test_different_components_stay_different(first: str, second: str) -> None:
    assert (portable(first) == portable(second)) == (first == second)


@given(part=words)
def test_a_component_fits_every_file_system_and_is_stable(part: str) -> None:
    safe = portable(part)
    assert 1 <= len(os.fsencode(safe)) <= folders.COMPONENT_BYTES
    assert not set(safe) & set('/\\<>:"|?*\0')
    assert safe[-1] not in ". "
    assert portable(safe) == safe


@pytest.mark.parametrize("name", ["DJI_0001", "Grüße 100%+äöü", "a.b.c", ".hidden", "images~1", "空中"])
def test_ordinary_names_are_kept(name: str) -> None:
    assert portable(name) == name


@pytest.mark.parametrize("name", ["con", "NUL.tif", "com1", "a:b", "what?", "end.", "end ", "tab\there", "..", ""])
def test_names_that_some_system_refuses_are_marked(name: str) -> None:
    assert portable(name) != name


def test_a_deep_path_is_shortened_to_what_the_system_takes() -> None:
    deep = "/".join(["a" * 100] * 60)
    folder = Names(ROOT).folder(deep)
    assert len(os.fsencode(folder)) + folders.INSIDE_BYTES < 4096
    assert folder != Names(ROOT).folder(deep + "b")


def test_a_path_of_a_thousand_characters_is_kept() -> None:
    deep = "/".join(["b" * 99] * 10)
    assert Names(ROOT).folder(deep) == ROOT / deep


def test_names_that_differ_in_case_only_go_apart_where_the_file_system_sees_no_difference() -> None:
    names = Names(ROOT, case_sensitive=False)
    first, second, third = names.folder("Tree"), names.folder("tree"), names.folder("cafe\u0301/x")
    assert first == ROOT / "Tree"
    assert second.name.startswith("tree~")
    assert names.folder("caf\u00e9/x") != third
    assert names.folder("Tree") == first, "asked twice it says the same"
    assert Names(ROOT).folder("tree") == ROOT / "tree", "elsewhere they may differ in case"


def test_an_item_called_like_a_file_of_its_parent_goes_beside_it() -> None:
    files = ("annotations.json", "overlay.jpg", "masks/a_masks.tif")
    names = Names(ROOT)
    assert names.folder("tree/overlay.jpg", files).parent == ROOT / "tree"
    assert names.folder("tree/overlay.jpg", files).name.startswith("overlay.jpg~")
    assert names.folder("overlay.jpg", files) == ROOT / "overlay.jpg"
    assert names.folder("tree/masks", files) == ROOT / "tree/masks"


# --- current files ---


@pytest.fixture
def fetched(tmp_path: Path) -> tuple[Path, Artifact, int]:
    """A file as fetch leaves it."""
    path, artifact = tmp_path / "overlay.jpg", an_artifact(b"pixels")
    path.write_bytes(b"pixels")
    time_ns = stamp_ns(artifact, 1_795_000_000.7)
    os.utime(path, ns=(time_ns, time_ns))
    return path, artifact, time_ns


def test_a_fetched_file_is_current_and_dated_by_its_result(fetched: tuple[Path, Artifact, int]) -> None:
    path, artifact, time_ns = fetched
    assert is_current(path, artifact, time_ns)
    assert has_stamp(path, artifact, time_ns)
    assert int(path.stat().st_mtime) == 1_795_000_000


def test_a_copied_file_is_recognised_by_its_content_and_dated_again(fetched: tuple[Path, Artifact, int]) -> None:
    path, artifact, time_ns = fetched
    os.utime(path)
    assert not has_stamp(path, artifact, time_ns)
    assert is_current(path, artifact, time_ns)
    assert has_stamp(path, artifact, time_ns)


@pytest.mark.parametrize("content", [b"pixelz", b"pixel", b"", None])
def test_a_file_that_was_damaged_cut_emptied_or_deleted_is_not_current(
    fetched: tuple[Path, Artifact, int], content: bytes | None
) -> None:
    path, artifact, time_ns = fetched
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    assert not is_current(path, artifact, time_ns)


def test_a_folder_in_the_way_is_not_current(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    size = (tmp_path / "x").stat().st_size
    artifact = Artifact(key="k", size=size, sha256="")
    assert not is_current(tmp_path / "x", artifact, (tmp_path / "x").stat().st_mtime_ns)


def test_versions_and_contents_have_times_of_their_own() -> None:
    stamps = {stamp_ns(an_artifact(data, version), 5.0) for data in (b"a", b"b") for version in ("v1", "v2")}
    assert len(stamps) == 4


# --- writing ---


def test_a_replaced_file_is_whole_or_as_before(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "annotations.json"
    with replacing(path) as opened:
        opened.write(b"first")
    with pytest.raises(KeyboardInterrupt), replacing(path) as opened:  # noqa: PT012
        opened.write(b"sec")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"first"
    assert [found.name for found in path.parent.iterdir()] == ["annotations.json"]


def test_what_cannot_be_written_is_said_with_its_path(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(GpupipeError, match=r"cannot write .*file/x: File exists"), replacing(tmp_path / "file/x"):
        pass


# --- whose folder ---


def test_a_folder_holds_one_thing_and_says_which(tmp_path: Path) -> None:
    ResultFolder(tmp_path / "out").claim({"job": "j1"})
    ResultFolder(tmp_path / "out").claim({"job": "j1"})
    with pytest.raises(UsageError, match="holds the results of job j1, not of project field7"):
        ResultFolder(tmp_path / "out").claim({"project": "field7"})


def test_a_persons_own_files_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "annotations.json").write_text("years of work")
    with pytest.raises(UsageError, match=r"has annotations\.json in it"):
        ResultFolder(tmp_path).claim({"job": "j1"})
    assert (tmp_path / "annotations.json").read_text() == "years of work"


def test_other_files_in_the_folder_are_no_matter(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    ResultFolder(tmp_path).claim({"job": "j1"})
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_old_parts_of_killed_fetches_are_swept_and_new_ones_left(tmp_path: Path) -> None:
    target = ResultFolder(tmp_path)
    target.claim({"job": "j1"})
    old, new = target.scratch / ".1.gpupipe-part", target.scratch / ".2.gpupipe-part"
    for part in (old, new):
        part.write_bytes(b"half")
    os.utime(old, (0, 0))
    target.claim({"job": "j1"})
    assert not old.exists()
    assert new.exists()


def test_room_for_results_is_asked_for_before_there_are_any(tmp_path: Path) -> None:
    # given folders that hold a job's results, somebody's own file, and nothing
    ResultFolder(tmp_path / "held").claim({"job": "j1", "stack": "s"})
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "annotations.json").write_text("{}")
    # then only what is meant, or free, has room, and nothing is made by asking
    ResultFolder(tmp_path / "held").require_room(lambda holds: holds["job"] == "j1")
    with pytest.raises(UsageError, match="holds the results of job j1") as caught:
        ResultFolder(tmp_path / "held").require_room(lambda _: False)
    assert f"`gpupipe fetch j1 -o {tmp_path}/held`. Nothing was submitted." in caught.value.hint
    with pytest.raises(UsageError, match=r"annotations\.json in it"):
        ResultFolder(tmp_path / "mine").require_room(lambda _: True)
    ResultFolder(tmp_path / "new").require_room(lambda _: False)
    assert not (tmp_path / "new").exists()
