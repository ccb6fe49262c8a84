"""File names as the programs change them that people draw with: each found again by its rule, or by none."""

from __future__ import annotations

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.properties import examples

from gpupipe.evaluation.matching import Match, Matching, matched

HASH = "0123456789abcdef0123456789abcdef"
WORDS = st.text(string.ascii_letters + string.digits + "äß漢é_- ", min_size=1, max_size=8).map(str.strip).filter(bool)
FILES = st.builds("{}x.{}".format, WORDS, st.sampled_from(["png", "jpg", "tif"]))


def only(matching: Matching) -> Match:
    (match,) = matching.matches
    assert not matching.ambiguities
    return match


@pytest.mark.parametrize(
    ("truth", "result", "rule"),
    [
        ("a.png", "a.png", "name"),
        ("day 1\\a.png", "day 1/a.png", "spelling"),
        ("./day%201/A.PNG", "day 1/a.png", "spelling"),
        (unicodedata.normalize("NFD", "gärten.png"), "gärten.png", "spelling"),
        ("images/train/a.png", "field 7/a.png", "folder"),
        ("https://host.example/x/a%20b.png?X-Amz-Date=1", "flight/a b.png", "folder"),
        ("/data/local-files/?d=flight%2Fa.png", "flight/a.png", "spelling"),
        ("images\\cb0618f6-name.png", "name.png", "label_studio"),
        ("upload/3/cb0618f6-name.png", "field 7/name.png", "label_studio"),
        ("/data/upload/3/cb0618f6-name_1.png", "name (1).png", "label_studio"),
        ("name.png", "cb0618f6-name.png", "label_studio"),
        (f"name_png.rf.{HASH}.jpg", "name.png", "roboflow"),
        (f"train/My-photo-1-_JPEG.rf.{HASH}.jpg", "field 7/My photo (1).JPEG", "roboflow"),
        (f"name_tif.rf.{HASH}.jpg", "name.tif", "roboflow"),
        ("name_jpg.rf.Lh2GnZ3x0yQ1.jpg", "name.jpg", "roboflow"),
        (f"cb0618f6-name_png.rf.{HASH}.jpg", "name.png", "roboflow"),
        ("name.jpg", "name.tif", "stem"),
        ("ortho.v2", "ortho.v2.tif", "stem"),
        ("cb0618f6-name.jpg", "name.tif", "stem"),
        (f"name_png.rf.{HASH}.jpg", "name.webp", "stem"),
    ],
)
def test_a_name_is_found_again_by_its_rule(truth: str, result: str, rule: str) -> None:
    match = only(matched([truth, "other one.png"], [result, "another.png"]))
    assert (match.truth, match.result, match.rule) == (truth, result, rule)


@pytest.mark.parametrize(
    ("truth", "results"),
    [
        ([f"name_png.rf.{HASH}.jpg", f"name_png.rf.{HASH[::-1]}.jpg"], ["name.png"]),  # augmented
        (["cb0618f6-name.png", "d00f1111-name.png"], ["name.png"]),
        (["cb0618f6-name.png"], ["x/name.png", "y/name.png"]),
        (["name.tif"], ["name.png", "name.jpg"]),
        (["train/name.png", "valid/name.png"], ["name.png"]),
        (["A.png"], ["a.png", "a.PNG"]),
    ],
)
def test_what_could_be_several_is_not_guessed(truth: list[str], results: list[str]) -> None:
    matching = matched(truth, results)
    assert not matching.matches
    (one,) = matching.ambiguities
    assert (sorted(one.truth), sorted(one.results)) == (sorted(truth), sorted(results))


@pytest.mark.parametrize(
    ("truth", "result"),
    [
        ("20260304-name.png", "20260305-name.png"),  # days, not Label Studio's digits
        (f"name_png.rf.{HASH}.jpg", f"name_png.rf.{HASH[::-1]}.jpg"),
        ("日本.png", "中国.png"),
        (f"日本_png.rf.{HASH}.jpg", "中国.png"),
        ("name.png", "names.png"),
    ],
)
def test_other_pictures_are_none(truth: str, result: str) -> None:
    matching = matched([truth], [result])
    assert not matching.matches
    assert not matching.ambiguities


def test_another_picture_of_the_same_name_is_not_taken_for_the_one_that_is_left() -> None:
    matching = matched(["day 1/a.png", "day 2/a.png"], ["day 1/a.png", "day 3/a.png"])
    assert [one.truth for one in matching.matches] == ["day 1/a.png"]
    assert [(list(one.truth), list(one.results)) for one in matching.ambiguities] == [
        (["day 2/a.png"], ["day 3/a.png"])
    ]


def test_the_more_folders_agree_the_better() -> None:
    truth = ["images/day 1/cb0618f6-a.png", "images/day 2/cb0618f6-a.png"]
    matching = matched(truth, ["day 2/a.png", "day 1/a.png"])
    assert [one.result for one in matching.matches] == ["day 1/a.png", "day 2/a.png"]


@examples(200)
@given(names=st.lists(FILES, max_size=6), others=st.lists(FILES, max_size=6))
def test_no_name_is_matched_twice_and_the_same_name_always(names: list[str], others: list[str]) -> None:
    matching = matched(names, others)
    truths, results = [one.truth for one in matching.matches], [one.result for one in matching.matches]
    assert len(set(truths)) == len(truths)
    assert len(set(results)) == len(results)
    assert {one.truth for one in matching.matches if one.rule == "name"} == set(names) & set(others)
    ambiguous = {name for one in matching.ambiguities for name in one.truth}
    assert not ambiguous & set(truths)


@examples(200)
@given(
    names=st.lists(FILES, min_size=1, max_size=6, unique_by=lambda name: name.casefold().rpartition(".")[0]),
    rename=st.sampled_from(["{}", "images\\cb0618f6-{}", "upload/3/0a0b0c0d-{}", "/data/upload/9/ffffffff-{}", "x/{}"]),
)
def test_a_whole_data_set_renamed_is_matched_to_itself_or_named(names: list[str], rename: str) -> None:
    renamed = {rename.format(name): name for name in names}
    matching = matched(renamed, names)
    assert all(renamed[one.truth] == one.result for one in matching.matches)
    ambiguous = sum(len(one.truth) for one in matching.ambiguities)
    assert len(matching.matches) + ambiguous == len(names)
