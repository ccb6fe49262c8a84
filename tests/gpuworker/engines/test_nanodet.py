"""NanoDet on the example photographs: it finds what is there, in every thread the same."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

import gpupipe.examples
from gpuworker.engines import make_engine
from gpuworker.engines.nanodet import NanoDet, coco_names
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image, decode
from gpuworker.masks.instances import Instance

EXAMPLES = Path(gpupipe.examples.__file__).parent / "photos"


@cache
def engine() -> NanoDet:
    loaded = NanoDet()
    loaded.load("cpu")
    return loaded


@cache
def example(name: str) -> Image:
    return decode((EXAMPLES / name).read_bytes())


def found(name: str, options: Options = Options()) -> Sequence[Instance]:  # noqa: B008
    (result,) = engine().detect([example(name)], options)
    assert isinstance(result, list)
    return result


@cache
def usual(name: str) -> Sequence[Instance]:
    """What is found with the usual options; several tests look at it."""
    return found(name)


def names_of(instances: Sequence[Instance]) -> list[str]:
    return [coco_names()[one.category_id - 1] for one in instances]


class TestExamples:
    @pytest.mark.parametrize(
        ("name", "things"),
        [
            ("astronaut.jpg", {"person"}),
            pytest.param("photographer.png", {"person"}, marks=pytest.mark.exhaustive),
            pytest.param("coffee_sideways.jpg", {"cup"}, marks=pytest.mark.exhaustive),
            ("cat.jpg", {"cat"}),
            pytest.param("horse_race.jpg", {"horse"}, marks=pytest.mark.exhaustive),
            ("taxis.webp", {"car"}),
            pytest.param("airplane.jpg", {"airplane"}, marks=pytest.mark.exhaustive),
            ("football.jpg", {"person", "sports ball"}),
        ],
    )
    def test_what_is_there_is_found(self, name: str, things: set[str]) -> None:
        assert things <= set(names_of(usual(name)))

    def test_a_forest_is_none_of_the_80_things(self) -> None:
        assert found("OSBS_029.tif") == []

    def test_the_astronaut_is_where_she_is(self) -> None:
        (person,) = usual("astronaut.jpg")
        assert person.source == "grabcut"
        mask = np.zeros((512, 512), np.bool_)
        mask[person.y : person.y + person.mask.shape[0], person.x : person.x + person.mask.shape[1]] = person.mask
        assert mask[100, 220], "her face"
        assert mask[400, 150], "her suit"
        assert not mask[60, 60], "the flag"
        assert not mask[100, 430], "the shuttle"


class TestOptions:
    def test_prompts_choose_and_number_the_categories(self) -> None:
        options = Options(prompts=("sports ball", "person"))
        assert engine().categories(options) == ("sports ball", "person")
        assert sorted({one.category_id for one in found("football.jpg", options)}) == [1, 2]
        assert {one.category_id for one in found("football.jpg", Options(prompts=("sports ball",)))} == {1}
        assert found("football.jpg", Options(prompts=("zebra",))) == []

    def test_without_prompts_there_are_80(self) -> None:
        assert len(engine().categories(Options())) == len(set(coco_names())) == 80
        assert (coco_names()[0], coco_names()[-1]) == ("person", "toothbrush")

    def test_an_unknown_prompt_is_refused(self) -> None:
        with pytest.raises(ValueError, match="'pine'"):
            engine().categories(Options(prompts=("pine",)))

    @pytest.mark.parametrize("lowest", [None, pytest.param(0.3, marks=pytest.mark.exhaustive)])
    def test_a_higher_threshold_keeps_the_surest(self, lowest: float | None) -> None:
        everything = found("taxis.webp", Options(score_threshold=lowest)) if lowest else usual("taxis.webp")
        sure = found("taxis.webp", Options(score_threshold=0.6))
        assert 0 < len(sure) < len(everything)
        assert all(one.score >= 0.6 for one in sure)
        assert [one.score for one in everything] == sorted((one.score for one in everything), reverse=True)

    def test_no_two_boxes_overlap_by_more_than_allowed(self) -> None:
        rgb = example("taxis.webp").rgb
        few = engine().boxes(rgb, score_threshold=0.2, nms_iou=0.2)
        many = engine().boxes(rgb, score_threshold=0.2, nms_iou=0.9)
        assert len(few) < len(many)
        assert all(0 <= box.left < box.right <= 900 and 0 <= box.top < box.bottom <= 600 for box in many)

    @pytest.mark.parametrize("name", ["football.jpg", pytest.param("taxis.webp", marks=pytest.mark.exhaustive)])
    def test_how_many_are_results_is_for_others_to_say(self, name: str) -> None:
        assert len(found(name, Options(max_instances=2))) == len(usual(name)) > 2


class TestSizes:
    def test_a_reduced_picture_gives_the_same_in_full_coordinates(self) -> None:
        data = (EXAMPLES / "astronaut.jpg").read_bytes()
        (full,) = usual("astronaut.jpg")
        (half,) = engine().detect([decode(data, max_decode_px=256)], Options())[0]
        corners = np.array([[one.x, one.y, one.mask.shape[1], one.mask.shape[0]] for one in (full, half)])
        assert np.abs(corners[0] - corners[1]).max() < 30
        assert half.area == pytest.approx(full.area, rel=0.15)

    @pytest.mark.parametrize("shape", [(1, 1), (2, 3000), (3000, 2)])
    def test_odd_shapes_do_no_harm(self, shape: tuple[int, int]) -> None:
        rgb = np.full((*shape, 3), 77, np.uint8)
        image = Image(rgb=rgb, height=shape[0], width=shape[1], bands=3, dtype="uint8")
        (result,) = engine().detect([image], Options(score_threshold=0.05))
        assert all(one.mask.size > 0 for one in result if isinstance(one, Instance))


class TestThreads:
    @pytest.mark.parametrize("count", [2, pytest.param(4, marks=pytest.mark.exhaustive)])
    def test_two_threads_find_what_one_finds(self, count: int) -> None:
        names = ["astronaut.jpg", "cat.jpg", "airplane.jpg", "horse_race.jpg"][:count]
        alone = [usual(name) for name in names]
        with ThreadPoolExecutor(2) as pool:
            together = list(pool.map(found, names))
        for one, other in zip(alone, together, strict=True):
            assert [(a.x, a.y, a.score) for a in one] == [(b.x, b.y, b.score) for b in other]
            assert all((a.mask == b.mask).all() for a, b in zip(one, other, strict=True))


class TestTable:
    def test_an_unknown_engine_names_those_there_are(self) -> None:
        with pytest.raises(ValueError, match=r"no engine 'yolo'.*nanodet"):
            make_engine("yolo")

    def test_the_engine_says_what_it_is(self) -> None:
        info = make_engine("nanodet").info
        assert info["name"] == "nanodet"
        assert "f806c3229628" in info["version"]
        assert "80 everyday things" in info["notes"]


def test_a_prompt_that_it_does_not_know_is_told_with_the_engines_that_find_it() -> None:
    with pytest.raises(ValueError, match="'tree' is not among them") as caught:
        NanoDet().categories(Options(prompts=("tree",)))
    assert 'engine "sam3" finds whatever a prompt names, and engine "vegetation" green plants' in str(caught.value)
