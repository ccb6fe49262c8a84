"""The engine vegetation: planted plants come back once, whatever their size, and bare soil stays empty."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpuworker.engines import make_engine
from gpuworker.engines.options import Options
from gpuworker.images.decoding import Image, decode
from gpuworker.masks.instances import Instance

SOIL, LEAF = (150, 120, 95), (70, 140, 55)
CROWNS = Path(__file__).parents[2] / "data" / "osbs"


def picture(rgb: NDArray[np.uint8]) -> Image:
    return Image(rgb=rgb, height=rgb.shape[0], width=rgb.shape[1], bands=3, dtype="uint8")


def field(plants: Sequence[tuple[int, int, int]], *, side: int = 400, seed: int = 1) -> NDArray[np.uint8]:
    """Noisy soil with plants (x, y, radius), each darker towards its rim."""
    rgb = np.full((side, side, 3), SOIL, np.float32)
    for x, y, radius in plants:
        cv2.circle(rgb, (x, y), radius, LEAF, -1)
    noise = np.random.default_rng(seed).normal(0, 12, rgb.shape)
    return np.clip(rgb + noise, 0, 255).astype(np.uint8)


def found(image: Image, options: Options = Options()) -> Sequence[Instance]:  # noqa: B008
    engine = make_engine("vegetation")
    engine.load("cpu")
    (result,) = engine.detect([engine.prepare(image, options)], options)
    return engine.finish(result, image, options)


def centres(instances: Sequence[Instance]) -> list[tuple[float, float]]:
    return sorted((one.x + one.mask.shape[1] / 2, one.y + one.mask.shape[0] / 2) for one in instances)


APART = [(60, 60, 20), (60, 200, 15), (200, 70, 25), (310, 310, 30), (200, 300, 18), (398, 150, 24)]


class TestPlants:
    def test_each_is_found_once_where_it_is(self) -> None:
        instances = found(picture(field(APART)))
        assert len(instances) == len(APART)
        whole = [plant for plant in sorted(APART) if plant[0] < 390]
        for (x, y), (true_x, true_y, _) in zip(centres(instances), whole, strict=False):
            assert abs(x - true_x) <= 2
            assert abs(y - true_y) <= 2

    def test_its_mask_has_its_area(self) -> None:
        (one,) = found(picture(field([(200, 200, 30)])))
        assert one.area == pytest.approx(np.pi * 30**2, rel=0.08)

    def test_two_that_touch_are_parted(self) -> None:
        instances = found(picture(field([(150, 200, 26), (198, 200, 26)])))
        assert len(instances) == 2
        assert instances[0].shared_with(instances[1]) == 0

    def test_the_same_scene_in_more_pixels_has_the_same_plants(self) -> None:
        small = field(APART)
        large = np.asarray(cv2.resize(small, None, fx=3, fy=3, interpolation=cv2.INTER_CUBIC), np.uint8)
        reduced, full = centres(found(picture(small))), centres(found(picture(large)))
        assert np.allclose(np.array(full) / 3, np.array(reduced), atol=3)

    def test_a_picture_that_was_reduced_gives_full_size_masks(self) -> None:
        rgb = field(APART)
        image = Image(rgb=rgb, height=800, width=800, bands=3, dtype="uint8")
        one = max(found(image), key=lambda instance: instance.area)
        assert one.area == pytest.approx(4 * np.pi * 30**2, rel=0.08)
        assert all(i.x + i.mask.shape[1] <= 800 and i.y + i.mask.shape[0] <= 800 for i in found(image))

    def test_the_surest_come_first_and_unsure_ones_not_at_all(self) -> None:
        scores = [one.score for one in found(picture(field(APART)), Options(score_threshold=0.0))]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        least = (scores[0] + scores[-1]) / 2
        kept = found(picture(field(APART)), Options(score_threshold=least))
        assert [one.score for one in kept] == [score for score in scores if score >= least]


class TestNoPlants:
    def test_bare_soil_stays_empty(self) -> None:
        assert found(picture(field([]))) == []

    @pytest.mark.parametrize("shape", [(1, 1), (1, 500), (7, 3)])
    def test_a_picture_of_a_few_pixels_is_no_trouble(self, shape: tuple[int, int]) -> None:
        assert found(picture(np.full((*shape, 3), LEAF, np.uint8))) == []

    def test_a_picture_that_is_all_one_green_is_one_plant(self) -> None:
        (one,) = found(picture(np.full((200, 300, 3), LEAF, np.uint8)))
        assert one.area == 200 * 300


class TestPrompts:
    def test_one_prompt_is_the_name(self) -> None:
        assert list(make_engine("vegetation").categories(Options(prompts=("oak",)))) == ["oak"]
        assert list(make_engine("vegetation").categories(Options())) == ["vegetation"]

    def test_two_are_refused(self) -> None:
        with pytest.raises(ValueError, match="'oak', 'pine'"):
            make_engine("vegetation").categories(Options(prompts=("oak", "pine")))

    def test_a_negative_one_is_refused_as_the_second_name_it_is(self) -> None:
        with pytest.raises(ValueError, match="one prompt"):
            make_engine("vegetation").categories(Options(prompts=("oak",), negative_prompts=("pine",)).searched())


def test_many_threads_see_what_one_sees() -> None:
    image = picture(field(APART))
    alone = [(one.x, one.y, one.mask.tobytes(), one.score) for one in found(image)]
    with ThreadPoolExecutor(4) as pool:
        for told in pool.map(lambda _: found(image), range(8)):
            assert [(one.x, one.y, one.mask.tobytes(), one.score) for one in told] == alone


def test_half_of_the_drawn_crowns_are_found() -> None:
    instances = found(decode((CROWNS / "OSBS_029.tif").read_bytes()))
    with (CROWNS / "OSBS_029.csv").open() as opened:
        drawn = [[float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax")] for row in csv.DictReader(opened)]
    hit = sum(any(iou(box, one) >= 0.5 for one in instances) for box in drawn)
    assert hit >= len(drawn) / 2
    assert hit >= len(instances) / 2


def iou(box: Sequence[float], one: Instance) -> float:
    left, top, right, bottom = one.x, one.y, one.x + one.mask.shape[1], one.y + one.mask.shape[0]
    across, down = min(box[2], right) - max(box[0], left), min(box[3], bottom) - max(box[1], top)
    shared = max(0.0, across) * max(0.0, down)
    return float(shared / ((box[2] - box[0]) * (box[3] - box[1]) + (right - left) * (bottom - top) - shared))
