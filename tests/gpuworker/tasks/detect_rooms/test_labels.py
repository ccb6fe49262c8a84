"""Which text is a room's name, and what reads it."""

from __future__ import annotations

import numpy as np
import pytest

from gpuworker.tasks.detect_rooms.labels import Blind, RapidOcr, Text, is_name, label_of, make_reader

SQUARE = np.array([[0, 0], [100, 0], [100, 100], [0, 100]], np.float64)


def text(words: str, x: float, y: float, height: float = 12) -> Text:
    return Text(text=words, x=x, y=y, height=height)


@pytest.mark.parametrize("words", ["Kitchen", "Living Room", "WC", "Büro 3", "R 1.04 Lager", "浴室"])
def test_words_are_names(words: str) -> None:
    assert is_name(words)


@pytest.mark.parametrize(
    "words", ["", "12", "3.20", "12.5 m2", "12,5 m²", "3.2 x 4.1 m", "350 cm", "11'6\" x 9 ft", "A"]
)
def test_measures_are_no_names(words: str) -> None:
    assert not is_name(words)


def test_words_are_joined_from_top_to_bottom_and_left_to_right() -> None:
    texts = [
        text("2", 60, 60),
        text("Room", 70, 51),
        text("Living", 30, 50),
        text("Area", 30, 80),
        text("9 m2", 50, 90),
    ]
    assert label_of(SQUARE, texts) == "Living Room Area"


def test_words_of_other_rooms_are_left_out() -> None:
    assert label_of(SQUARE, [text("Hall", 150, 50)]) == ""


def test_text_is_not_read_where_nobody_asked() -> None:
    reader = make_reader("off")
    reader.load()
    assert isinstance(reader, Blind)
    assert reader.read(np.zeros((50, 50, 3), np.uint8)) == []


def test_asking_for_it_is_no_question_of_what_is_installed() -> None:
    assert isinstance(make_reader("on"), RapidOcr)


def test_names_are_read_from_a_plan() -> None:
    pytest.importorskip("rapidocr")
    pytest.importorskip("onnxruntime")
    from benchmarks.plans import make_plan

    plan = make_plan(303, clean=True)
    texts = make_reader("on").read(plan.rgb)
    labels = [label_of(room, texts) for room in plan.rooms]
    right = sum(label == name for label, name in zip(labels, plan.names, strict=True) if name)
    assert right >= 0.8 * sum(bool(name) for name in plan.names)
