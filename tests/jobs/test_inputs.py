"""What a person names becomes a sorted list of inputs, or a refusal before anything is uploaded."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.jobs.desk import a_photo
from tests.properties import examples

from gpupipe.errors import InputError
from gpupipe.jobs.inputs import Inputs, collect
from gpupipe.jobs.sources import Input

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff"})
LONG_NAME = "x" * 240


def found(*arguments: Path | str, project: str = "field7") -> Inputs:
    return collect([str(argument) for argument in arguments], suffixes=SUFFIXES, project=project)


def paths(inputs: Inputs) -> list[str]:
    return [file.path for file in inputs.files]


# --- folders ---


def test_a_folder_is_searched_and_paths_are_below_it(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "deep/er/c.tiff", "deep/d.webp"):
        a_photo(tmp_path / name)
    assert paths(found(tmp_path)) == ["a.PNG", "b.jpg", "deep/d.webp", "deep/er/c.tiff"]


@pytest.mark.parametrize("ending", ["", "/", "//", "/."])
def test_the_way_a_folder_is_written_does_not_matter(tmp_path: Path, ending: str) -> None:
    a_photo(tmp_path / "deep/a.jpg")
    assert paths(found(f"{tmp_path}{ending}")) == ["deep/a.jpg"]


def test_the_current_folder_can_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_photo(tmp_path / "deep/a.jpg")
    monkeypatch.chdir(tmp_path)
    for here in (".", "./", "deep/.."):
        assert paths(found(here)) == ["deep/a.jpg"]


def test_what_is_passed_over_is_counted_by_reason(tmp_path: Path) -> None:
    names = ("a.jpg", ".hidden.jpg", "a.tfw", "a.prj", "a.tif.aux.xml", "flight.MRK", "b.doc", "no-ending", "old.zip")
    for name in (*names, ".git/x.jpg", "__MACOSX/a.jpg", "@eaDir/a.jpg"):
        a_photo(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.jpg")
    inputs = found(tmp_path)
    assert paths(inputs) == ["a.jpg"]
    assert inputs.skipped == {
        "hidden": 4,
        "sidecar file": 4,
        "not an image by its name": 2,
        "archive inside a folder": 1,
        "not a file": 1,
    }
    assert {reason: [Path(name).name for name in names] for reason, names in inputs.skipped_names.items()} == {
        "not an image by its name": ["b.doc", "no-ending"],
        "archive inside a folder": ["old.zip"],
        "not a file": ["pipe.jpg"],
    }


def test_what_is_no_image_by_its_name_is_named_where_nothing_is_left(tmp_path: Path) -> None:
    a_photo(tmp_path / "film.mov")
    with pytest.raises(InputError, match=r"passed over: 1 not an image by its name \(.*film\.mov\)"):
        found(tmp_path)


def test_a_member_that_is_no_image_is_named_with_its_archive(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("a.jpg", b"\xff\xd8\xff")
        archive.writestr("deep/film.mov", b"")
    [name] = found(tmp_path / "all.zip").skipped_names["not an image by its name"]
    assert name.endswith("all.zip:deep/film.mov")


@pytest.mark.parametrize("name", ["really_png.jpg", "scan", "photo.jfif"])
def test_a_file_named_by_hand_that_holds_an_image_is_taken_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x89PNG\r\n\x1a\n1234")
    assert paths(found(tmp_path / name)) == [name]


def test_damaged_and_empty_images_in_a_folder_are_taken(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("hello")
    assert paths(found(tmp_path)) == ["empty.jpg", "text.png"]


def test_an_empty_submission_is_an_error_that_says_what_was_passed_over(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"nothing to submit in .*passed over: 1 sidecar file.*\.jpeg, \.jpg"):
        found(tmp_path)


def test_no_argument_is_an_error() -> None:
    with pytest.raises(InputError, match="nothing to submit in no path"):
        found()


@given(
    st.lists(
        st.lists(
            st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cc", "Cs")), min_size=1, max_size=12),
            min_size=1,
            max_size=3,
        ),
        min_size=1,
        max_size=8,
    )
)
@examples(60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_name_survives_from_folder_to_key(tmp_path_factory: pytest.TempPathFactory, names: list[list[str]]) -> None:
    folder = tmp_path_factory.mktemp("any")
    expected = set()
    for parts in names:
        relative = "/".join("x" + part for part in parts) + ".jpg"
        place = folder / relative
        try:
            a_photo(place)
        except OSError:
            continue
        expected.add(unicodedata.normalize("NFC", relative))
    assert set(paths(found(folder))) == expected


# --- links ---


def test_links_are_followed_and_circles_end(tmp_path: Path) -> None:
    a_photo(tmp_path / "outside/one.jpg")
    a_photo(tmp_path / "images/two.jpg")
    (tmp_path / "images/more").symlink_to(tmp_path / "outside")
    (tmp_path / "images/again").symlink_to(tmp_path / "images")
    (tmp_path / "images/self.jpg").symlink_to(tmp_path / "images/self.jpg")
    (tmp_path / "images/lost.jpg").symlink_to(tmp_path / "nowhere.jpg")
    inputs = found(tmp_path / "images")
    assert paths(inputs) == ["more/one.jpg", "two.jpg"]
    assert inputs.skipped == {"named twice": 1, "broken link": 2}


def test_a_real_folder_counts_before_links_to_it(tmp_path: Path) -> None:
    a_photo(tmp_path / "z/one.jpg")
    (tmp_path / "a").symlink_to(tmp_path / "z")
    (tmp_path / "b.jpg").symlink_to(tmp_path / "z/one.jpg")
    inputs = found(tmp_path)
    assert paths(inputs) == ["z/one.jpg"]
    assert inputs.skipped == {"named twice": 2}


def test_a_linked_file_from_a_hidden_store_is_taken_once(tmp_path: Path) -> None:
    a_photo(tmp_path / ".store/blob")
    a_photo(tmp_path / "real.jpg")
    (tmp_path / "a.jpg").symlink_to(tmp_path / ".store/blob")
    (tmp_path / "b.jpg").symlink_to(tmp_path / ".store/blob")
    inputs = found(tmp_path)
    assert paths(inputs) == ["a.jpg", "real.jpg"]
    assert inputs.skipped == {"hidden": 1, "named twice": 1}


SECRET = b"-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def submitted(tmp_path: Path) -> Path:
    """A folder that came from somebody else, beside what is nobody's business."""
    (tmp_path / "home/keys").mkdir(parents=True)
    (tmp_path / "home/key").write_bytes(SECRET)
    (tmp_path / "home/keys/a.jpg").write_bytes(SECRET)
    (tmp_path / "home/boxes.json").write_text('{"boxes": []}')
    a_photo(tmp_path / "home/keys/photo.jpg")
    a_photo(tmp_path / "album/real.jpg")
    (tmp_path / "album/.kept").mkdir()
    a_photo(tmp_path / "album/.kept/blob")
    return tmp_path / "album"


def link(place: Path, target: Path) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)
    return place


def test_a_link_out_is_followed_to_images_only_and_named_else(submitted: Path) -> None:
    home = submitted.parent / "home"
    link(submitted / "key.jpg", home / "key")
    link(submitted / "deep/passwd.jpg", Path("/etc/passwd"))
    link(submitted / "all", home)  # with what is below it
    link(submitted / "photo.jpg", home / "keys/photo.jpg")
    link(submitted / "stored.jpg", submitted / ".kept/blob")
    inputs = found(submitted)
    assert paths(inputs) == ["all/keys/photo.jpg", "real.jpg", "stored.jpg"]
    assert inputs.skipped == {"hidden": 1, "not an image by its name": 1, "sidecar file": 1, "named twice": 1} | {
        "link to what is no image": 3
    }
    assert sorted(inputs.links_left_out) == [
        f"{submitted}/all/keys/a.jpg -> {home}/keys/a.jpg",
        f"{submitted}/deep/passwd.jpg -> /etc/passwd",
        f"{submitted}/key.jpg -> {home}/key",
    ]


@pytest.mark.parametrize("pattern", ["*.jpg", "**/*.jpg", "a*"])
def test_a_pattern_follows_no_further_than_its_folder(submitted: Path, pattern: str) -> None:
    link(submitted / "a.jpg", submitted.parent / "home/key")
    link(submitted / "all/keys", submitted.parent / "home/keys")
    inputs = found(submitted / pattern)
    assert "a.jpg" not in paths(inputs)
    assert not [path for path in paths(inputs) if path.endswith("keys/a.jpg")]
    assert f"{submitted}/a.jpg -> {submitted.parent}/home/key" in inputs.links_left_out


def test_without_links_none_is_followed_and_each_is_named(submitted: Path) -> None:
    link(submitted / "photo.jpg", submitted.parent / "home/keys/photo.jpg")
    link(submitted / "stored.jpg", submitted / ".kept/blob")
    link(submitted / "all", submitted.parent / "home")
    by_hand = link(submitted.parent / "by-hand.jpg", submitted.parent / "home/keys/photo.jpg")
    inputs = collect([str(submitted), str(by_hand)], suffixes=SUFFIXES, project="p", follow_links=False)
    assert paths(inputs) == ["real.jpg"]
    assert inputs.skipped == {"hidden": 1, "link": 4}
    assert len(inputs.links_left_out) == 4
    # but a folder that was named is searched, whatever leads to it
    folder = link(submitted.parent / "linked", submitted)
    assert paths(collect([str(folder)], suffixes=SUFFIXES, project="p", follow_links=False)) == ["real.jpg"]


def test_where_only_links_are_left_the_error_names_one(submitted: Path) -> None:
    (submitted / "real.jpg").unlink()
    link(submitted / "key.jpg", submitted.parent / "home/key")
    with pytest.raises(InputError, match=r"1 link to what is no image.*The first link: .*key\.jpg -> .*/home/key"):
        found(submitted)


@pytest.mark.parametrize("target", ["home/boxes.json", "home/key"])
def test_a_sidecar_that_is_a_link_out_is_passed_over_and_named(submitted: Path, target: str) -> None:
    suffix = ".prompts.json"
    sidecar = link(submitted / f"real.jpg{suffix}", submitted.parent / target)
    for argument in (submitted, submitted / "real.jpg", submitted / "*.jpg", sidecar):
        arguments = [str(submitted / "real.jpg"), str(argument)] if argument == sidecar else [str(argument)]
        inputs = collect(arguments, suffixes=SUFFIXES, project="p", sidecar_suffix=suffix)
        assert paths(inputs) == ["real.jpg"]
        assert inputs.sidecars.by_path == {}
        assert f"{sidecar} -> {submitted.parent / target}" in inputs.links_left_out


def test_a_link_or_file_that_leads_elsewhere_by_the_time_it_is_read_is_refused(submitted: Path) -> None:
    photo, key = submitted.parent / "home/keys/photo.jpg", submitted.parent / "home/key"
    linked = link(submitted / "photo.jpg", photo)
    inputs = found(submitted)
    # given files whose size and time somebody has made those of what they lead to now
    key.write_bytes(SECRET[:1] * photo.stat().st_size)
    for file in (linked, submitted / "real.jpg"):
        os.utime(key, ns=(0, file.stat().st_mtime_ns))
        file.unlink()
        file.symlink_to(key)
    for one in inputs.files:
        with pytest.raises(InputError, match="was changed after it was listed"):
            read(one)


def read(file: Input) -> bytes:
    with file.open() as opened:
        file.check(opened)
        return opened.read()


# --- files by hand ---


def test_a_file_named_by_hand_has_its_own_name(tmp_path: Path) -> None:
    assert paths(found(a_photo(tmp_path / "deep/a b+c%20.jpg"))) == ["a b+c%20.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("notes.txt", b"\xff\xd8\xff", r"notes\.txt is not an image by its name"),
        ("notes.txt", b"hello", r"notes\.txt is not an image by its name.*\.jpg"),
        ("a.jpg", b"hello", r"a\.jpg is not an image: its content is not that of a \.jpg file"),
        ("a.jpg", b"", r"a\.jpg is not an image: it is empty"),
    ],
)
def test_a_file_named_by_hand_must_be_an_image(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        found(tmp_path / name)


def test_a_missing_file_and_a_broken_link_are_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"there is no .*nowhere"):
        found(tmp_path / "nowhere.jpg")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "nowhere.jpg")
    with pytest.raises(InputError, match="is a link to nothing"):
        found(tmp_path / "link.jpg")


@pytest.mark.parametrize("order", [1, -1])
def test_a_file_named_twice_or_with_its_folder_is_taken_once(tmp_path: Path, order: int) -> None:
    photo = a_photo(tmp_path / "images/a.jpg")
    inputs = found(*[photo, photo, tmp_path / "images"][::order])
    assert paths(inputs) == ["a.jpg"]
    assert inputs.skipped == {"named twice": 2}


def test_a_folder_inside_a_named_folder_is_searched_once(tmp_path: Path) -> None:
    a_photo(tmp_path / "images/deep/a.jpg")
    assert paths(found(tmp_path / "images", tmp_path / "images/deep")) == ["deep/a.jpg"]


# --- patterns ---


def test_a_pattern_keeps_the_folders_after_its_fixed_beginning(tmp_path: Path) -> None:
    for name in ("flight1/a.jpg", "flight2/a.jpg", "flight2/a.tfw", "other/a.jpg"):
        a_photo(tmp_path / name)
    inputs = found(f"{tmp_path}/flight*/*")
    assert paths(inputs) == ["flight1/a.jpg", "flight2/a.jpg"]
    assert inputs.skipped == {"sidecar file": 1}


def test_a_pattern_can_be_relative_recursive_and_match_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flight1/a.jpg", "flight2/deep/b.jpg", "c.jpg"):
        a_photo(tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert paths(found("flight*")) == ["flight1/a.jpg", "flight2/deep/b.jpg"]
    assert paths(found("**/*.jpg")) == ["c.jpg", "flight1/a.jpg", "flight2/deep/b.jpg"]
    assert paths(found("?.jpg", "c.jpg")) == ["c.jpg"]


def test_a_pattern_that_leads_out_of_its_beginning_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_photo(tmp_path / "a.jpg")
    (tmp_path / "in/deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "in")
    with pytest.raises(InputError, match="outside of what the pattern begins with"):
        found("d*/../../*.jpg")


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing matches .*\*\.jpg"):
        found(f"{tmp_path}/*.jpg")


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    a_photo(tmp_path / "a[1].jpg")
    a_photo(tmp_path / "a1.jpg")
    assert paths(found(tmp_path / "a[1].jpg")) == ["a[1].jpg"]


# --- what can be a key ---


def test_two_inputs_with_one_path_are_an_error_that_names_both(tmp_path: Path) -> None:
    one, other = a_photo(tmp_path / "flight1/a.jpg"), a_photo(tmp_path / "flight2/a.jpg")
    with pytest.raises(InputError) as caught:
        found(one, other)
    for part in (str(one), str(other), "would both become a.jpg", "'flight*/*.jpg'"):
        assert part in str(caught.value)


def test_two_spellings_of_one_name_are_an_error(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        a_photo(tmp_path / f"{unicodedata.normalize(form, 'ä')}.jpg")
    with pytest.raises(InputError, match="would both become"):
        found(tmp_path)


def test_paths_of_a_thousand_characters_pass_and_longer_ones_are_refused(tmp_path: Path) -> None:
    deep = "/".join([LONG_NAME] * 4)
    a_photo(tmp_path / "ok" / deep / "a.jpg")
    assert len(paths(found(tmp_path / "ok"))[0]) > 960
    a_photo(tmp_path / "long" / deep / ("y" * 60) / "a.jpg")
    with pytest.raises(InputError, match=r"too long for S3: its key would have 10\d\d bytes of 1024"):
        found(tmp_path / "long")


@pytest.mark.parametrize("name", [b"a\nb.jpg", b"a\x7f.jpg", b"caf\xe9.jpg"])
def test_names_that_no_listing_could_show_are_refused(tmp_path: Path, name: bytes) -> None:
    place = os.fsencode(tmp_path) + b"/" + name
    with open(place, "wb") as opened:
        opened.write(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"control character|not valid UTF-8"):
        found(tmp_path)


@pytest.mark.parametrize("project", ["", ".", "..", "a/b", "a b", "ä", "x" * 65, "field 7/2026"])
def test_project_names_are_safe_and_a_near_one_is_offered(tmp_path: Path, project: str) -> None:
    a_photo(tmp_path / "a.jpg")
    with pytest.raises(InputError, match=r"cannot be a project's name.*such as '[A-Za-z0-9._-]{1,64}'"):
        found(tmp_path, project=project)
