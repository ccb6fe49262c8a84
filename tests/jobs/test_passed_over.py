"""What a search passes over is counted by reason, and named where a person may have meant it to be taken."""

from __future__ import annotations

from gpupipe.jobs.passed_over import ARCHIVE, BROKEN_LINK, HIDDEN, NAMED_MAX, OTHER, SIDECAR, PassedOver, in_words


def test_files_that_are_no_images_are_named_and_hidden_ones_are_not() -> None:
    passed = PassedOver()
    for name in ("a.mov", "b.mov"):
        passed.add(OTHER, name)
    passed.add(HIDDEN, ".secret")
    passed.add(ARCHIVE, "old.zip")
    assert str(passed) == ("1 archive inside a folder (old.zip), 1 hidden, 2 not an image by its name (a.mov, b.mov)")


def test_of_many_the_first_are_named_and_the_rest_is_counted() -> None:
    passed = PassedOver()
    for number in range(1_200):
        passed.add(OTHER, f"{number}.mov")
    assert str(passed) == "1,200 not an image by its name (0.mov, 1.mov, 2.mov and 1,197 more)"
    assert passed.names[OTHER] == [f"{number}.mov" for number in range(NAMED_MAX)]


def test_nothing_is_nothing() -> None:
    assert str(PassedOver()) == in_words({}, {}) == ""


def test_several_are_said_in_the_plural() -> None:
    assert in_words({SIDECAR: 4, BROKEN_LINK: 1, ARCHIVE: 2}, {ARCHIVE: ["a.zip", "b.zip"]}) == (
        "4 sidecar files, 1 broken link, 2 archives inside a folder (a.zip, b.zip)"
    )
