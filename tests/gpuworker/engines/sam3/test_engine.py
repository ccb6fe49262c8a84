"""The engine on a tiny model: as transformers' own code answers, alone or in a batch, with prompts, boxes or both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tests.gpuworker.engines.sam3.reference import Reference
from tests.gpuworker.pictures import scene

import gpupipe.examples
from gpuworker.contract import ModelSource
from gpuworker.contract.items import ItemError
from gpuworker.engines import make_engine
from gpuworker.engines.options import Options
from gpuworker.engines.sam3.detection import Detection
from gpuworker.engines.sam3.engine import Sam3
from gpuworker.engines.sam3.masks import Small
from gpuworker.engines.sam3.network import Sam3Network
from gpuworker.images.decoding import BoxPrompt, Image, decode
from gpuworker.masks.instances import Instance
from gpuworker.models import FolderModels

EXAMPLES = Path(gpupipe.examples.__file__).parent / "photos"
PROMPTS = ("tree", "car", "person")
MARGIN = 1e-2
"""Of a mask's logits, which span 40: batches and single pictures are summed in different orders."""
POSITIVE = BoxPrompt(x=60, y=40, width=150, height=120)
NEGATIVE = BoxPrompt(x=200, y=150, width=90, height=80, is_positive=False)


@cache
def example(name: str) -> Image:
    return decode((EXAMPLES / name).read_bytes())


@pytest.fixture(scope="session")
def reference(weights: Path) -> Reference:
    return Reference(weights)


def found(engine: Sam3, images: Sequence[Image], options: Options) -> list[Detection]:
    results = engine.detect([engine.prepare(image, options) for image in images], options)
    assert all(isinstance(one, Detection) for one in results)
    return [one for one in results if isinstance(one, Detection)]


@cache
def alone(engine: Sam3, name: str, *prompts: str) -> Detection:
    """What is found in an example by itself; several tests hold theirs against the same."""
    return found(engine, [example(name)], Options(prompts=prompts))[0]


def whole(one: Instance, image: Image) -> NDArray[np.bool_]:
    mask = np.zeros((image.height, image.width), np.bool_)
    mask[one.y : one.y + one.mask.shape[0], one.x : one.x + one.mask.shape[1]] = one.mask
    return mask


def logits(masks: Sequence[Small]) -> torch.Tensor:
    """K×288×288; not a number where they were cut off, which tells that they are not above 0."""
    whole = torch.full((len(masks), 288, 288), float("nan"))
    for row, one in zip(whole, masks, strict=True):
        bottom, right = one.top + one.logits.shape[0], one.left + one.logits.shape[1]
        row[one.top : bottom, one.left : right] = one.logits
    return whole


def assert_same_masks(one: torch.Tensor, other: torch.Tensor) -> None:
    """Where one was cut off and the other was not, the other's logits may be above 0 by rounding only."""
    near = (one - other).abs() < MARGIN
    cut = one.nan_to_num(-1).lt(MARGIN) & other.nan_to_num(-1).lt(MARGIN) & (one.isnan() | other.isnan())
    assert one.shape == other.shape
    assert (near | cut).all()


def assert_same(one: Detection, other: Detection) -> None:
    assert one.category_ids.tolist() == other.category_ids.tolist()
    assert one.scores.tolist() == pytest.approx(other.scores.tolist(), abs=1e-4)
    assert_same_masks(logits(one.masks), logits(other.masks))


class TestReference:
    @pytest.mark.parametrize(
        ("name", "prompts"),
        [
            ("cat.jpg", PROMPTS[:2]),
            pytest.param("cat.jpg", PROMPTS, marks=pytest.mark.exhaustive),
            pytest.param("OSBS_029.tif", PROMPTS, marks=pytest.mark.exhaustive),
        ],
    )
    def test_scores_and_masks_are_those_of_transformers(
        self, engine: Sam3, reference: Reference, name: str, prompts: tuple[str, ...]
    ) -> None:
        image, options = example(name), Options(prompts=prompts, score_threshold=0.3)
        pixels = engine.prepare(image, options).pixels
        (detection,) = found(engine, [image], options)
        instances = engine.finish(detection, image, options)
        for category_id, prompt in enumerate(prompts, 1):
            expected = reference.answer(pixels, prompt, size=(image.height, image.width), threshold=0.3)
            order = expected.scores.argsort(descending=True, stable=True)
            mine = [one for one in instances if one.category_id == category_id]
            assert [one.score for one in mine] == pytest.approx(expected.scores[order].tolist(), abs=1e-5)
            for instance, i in zip(mine, order.tolist(), strict=True):
                logits = expected.logits[i].numpy()
                sure = np.abs(logits) > MARGIN
                assert (whole(instance, image) == (logits > 0))[sure].all()
                # transformers cuts the interpolated sigmoid at one half: another line between the same pixels.
                agree = expected.agree[i].numpy()
                assert agree.mean() > 0.5
                assert (whole(instance, image) == expected.masks[i].numpy())[agree].all()

    def test_boxes_change_the_answer_as_in_transformers(
        self, engine: Sam3, reference: Reference, torchvision: None
    ) -> None:
        image = replace(example("cat.jpg"), boxes=(POSITIVE, NEGATIVE))
        options = Options(prompts=("car",))
        size = (image.width, image.height)
        shares = [
            np.divide([box.x + box.width / 2, box.y + box.height / 2, box.width, box.height], size * 2).tolist()
            for box in image.boxes
        ]
        pixels = engine.prepare(image, options).pixels
        expected = reference.answer(pixels, "car", size=(image.height, image.width), boxes=shares, labels=[1, 0])
        (detection,) = found(engine, [image], options)
        without = alone(engine, "cat.jpg", "car")
        assert detection.scores.tolist() == pytest.approx(expected.scores.tolist(), abs=1e-4)
        assert_same_masks(logits(detection.masks), expected.small)
        assert detection.scores.tolist() != pytest.approx(without.scores.tolist(), abs=1e-2)


class TestBatches:
    @pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.exhaustive)])
    def test_a_batch_finds_what_single_pictures_do(self, weights: Path, engine: Sam3, count: int) -> None:
        """Pictures with boxes, without, and with fewer of them, in one batch; prompts more than fit at once."""
        images = [
            replace(example("OSBS_029.tif"), boxes=(POSITIVE, NEGATIVE, replace(POSITIVE, x=220, prompt="tree"))),
            example("cat.jpg"),
            replace(example("astronaut.jpg"), boxes=(POSITIVE,)),
        ][:count]
        options = Options(prompts=PROMPTS[:count])
        wide = loaded(weights)
        wide.prompts_at_once = 2 * count - 1
        together = found(wide, images, options)
        assert [len(one.scores) > 0 for one in together] == [True] * count
        for image, one in zip(images, together, strict=True):
            assert_same(one, found(engine, [image], options)[0])

    @pytest.mark.exhaustive  # TestReference asks transformers for each by itself
    def test_several_prompts_find_what_each_finds_alone(self, engine: Sam3) -> None:
        together = alone(engine, "cat.jpg", *PROMPTS)
        for category_id, prompt in enumerate(PROMPTS, 1):
            by_itself = alone(engine, "cat.jpg", prompt)
            own = together.category_ids == category_id
            assert together.scores[own].tolist() == pytest.approx(by_itself.scores.tolist(), abs=1e-4)
            assert_same_masks(logits(together.masks)[own], logits(by_itself.masks))

    @pytest.mark.parametrize("prompts", [PROMPTS[:2], pytest.param(PROMPTS, marks=pytest.mark.exhaustive)])
    def test_a_picture_is_encoded_once_for_all_its_prompts_and_a_prompt_once_for_all(
        self, weights: Path, prompts: tuple[str, ...]
    ) -> None:
        engine = loaded(weights)
        engine.prompts_at_once = 8
        seen: list[int] = []
        engine.network.model.vision_encoder.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
        texts: list[int] = []
        engine.network.model.text_encoder.register_forward_pre_hook(
            lambda _, given, named: texts.append(len(named["input_ids"])), with_kwargs=True
        )
        found(engine, [example("cat.jpg"), example("OSBS_029.tif")], Options(prompts=prompts))
        found(engine, [example("cat.jpg")], Options(prompts=("car", "dog")))
        assert seen == [2, 1]
        assert texts == [len(prompts), 1]


def loaded(weights: Path) -> Sam3:
    engine = make_engine("sam3")
    assert isinstance(engine, Sam3)
    engine.use_models(FolderModels(ModelSource(weights=str(weights))))
    engine.load("cpu")
    return engine


class TestPrompts:
    def test_prompts_number_the_categories_and_have_their_own_thresholds(self, engine: Sam3) -> None:
        options = Options(prompts=("tree", "car"), prompt_thresholds={"car": 0.7})
        (detection,) = found(engine, [example("cat.jpg")], options)
        assert engine.categories(options) == ("tree", "car")
        trees, cars = (detection.scores[detection.category_ids == number] for number in (1, 2))
        assert 0.4 <= trees.min() < 0.7
        assert cars.min() >= 0.7

    def test_case_does_not_matter_and_words_do(self, engine: Sam3) -> None:
        lower, upper, other = (alone(engine, "cat.jpg", prompt) for prompt in ("tree", "TREE", "car"))
        assert_same(lower, upper)
        assert lower.scores.tolist() != pytest.approx(other.scores.tolist(), abs=1e-3)

    def test_a_very_long_prompt_is_cut(self, engine: Sam3) -> None:
        long = "tree " * 100
        (detection,) = found(engine, [example("cat.jpg")], Options(prompts=(long,), score_threshold=0.01))
        assert len(detection.scores) > 0

    def test_an_empty_prompt_is_refused(self, engine: Sam3) -> None:
        with pytest.raises(ValueError, match="empty"):
            engine.categories(Options(prompts=("tree", " ")))

    def test_the_surest_come_first(self, engine: Sam3) -> None:
        instances = engine.finish(alone(engine, "cat.jpg", *PROMPTS), example("cat.jpg"), Options(prompts=PROMPTS))
        scores = [one.score for one in instances]
        assert len(scores) > 5
        assert scores == sorted(scores, reverse=True)


class TestBoxes:
    def test_boxes_alone_find_what_they_show_and_call_it_visual(self, engine: Sam3) -> None:
        image, options = replace(example("cat.jpg"), boxes=(POSITIVE,)), Options(score_threshold=0.05)
        (detection,) = found(engine, [image], options)
        (named,) = found(engine, [image], Options(prompts=("visual",), score_threshold=0.05))
        assert engine.categories(options) == ("visual",)
        assert len(detection.scores) > 0
        assert_same(detection, named)

    @pytest.mark.parametrize("boxes", [(), (NEGATIVE,)])
    def test_without_prompt_and_example_nothing_is_looked_for(self, engine: Sam3, boxes: tuple[BoxPrompt, ...]) -> None:
        (detection,) = found(engine, [replace(example("cat.jpg"), boxes=boxes)], Options())
        assert engine.finish(detection, example("cat.jpg"), Options()) == []
        assert not engine.is_saturated(detection, Options())

    def test_a_box_that_belongs_to_a_prompt_leaves_the_others_alone(self, engine: Sam3) -> None:
        image = replace(example("cat.jpg"), boxes=(replace(POSITIVE, prompt="car"),))
        (bound,), free = (
            found(engine, [image], Options(prompts=("tree", "car"))),
            alone(engine, "cat.jpg", "tree", "car"),
        )
        trees, others = bound.scores[bound.category_ids == 1], free.scores[free.category_ids == 1]
        assert trees.tolist() == pytest.approx(others.tolist(), abs=1e-4)
        cars, others = bound.scores[bound.category_ids == 2], free.scores[free.category_ids == 2]
        assert cars.tolist() != pytest.approx(others.tolist(), abs=1e-3)

    @pytest.mark.exhaustive  # TestReference has one of each
    def test_a_negative_box_is_not_a_positive_one(self, engine: Sam3) -> None:
        options = Options(prompts=("car",), score_threshold=0.01)
        likes, dislikes = (
            found(engine, [replace(example("cat.jpg"), boxes=(replace(POSITIVE, is_positive=sign),))], options)[0]
            for sign in (True, False)
        )
        assert likes.scores.tolist() != pytest.approx(dislikes.scores.tolist(), abs=1e-3)

    def test_a_box_of_a_prompt_that_is_not_asked_for_is_refused(self, engine: Sam3) -> None:
        image = replace(example("cat.jpg"), boxes=(replace(POSITIVE, prompt="dog"),))
        with pytest.raises(ItemError, match="'dog'"):
            engine.prepare(image, Options(prompts=("tree",)))

    @pytest.mark.parametrize(
        "wrong", [{"width": float("nan")}, {"x": float("inf")}, {"y": "40"}, {"x": 5000}, {"width": 0}, {"height": -9}]
    )
    def test_a_box_of_nothing_is_refused(self, engine: Sam3, wrong: dict[str, Any]) -> None:
        with pytest.raises(ItemError, match="a box"):
            engine.prepare(replace(example("cat.jpg"), boxes=(replace(POSITIVE, **wrong),)), Options())

    def test_a_box_beyond_the_edges_is_the_part_of_it_that_is_inside(self, engine: Sam3) -> None:
        beyond, inside = (
            engine.prepare(replace(example("cat.jpg"), boxes=(box,)), Options()).boxes[0]
            for box in (BoxPrompt(x=-1e9, y=40, width=2e9, height=80), BoxPrompt(x=0, y=40, width=640, height=80))
        )
        assert beyond == inside


class TestSizes:
    def test_masks_are_given_at_full_size_of_a_reduced_picture(self, engine: Sam3) -> None:
        rgb = scene(60, 80)
        small = Image(rgb=rgb, height=60, width=80, bands=3, dtype="uint8")
        large = replace(small, height=240, width=320)
        options = Options(prompts=("car",))
        (detection,) = found(engine, [small], options)
        pairs = [engine.finish(detection, image, options) for image in (small, large)]
        assert len(pairs[0]) == len(pairs[1]) > 0
        for one, other in zip(*pairs, strict=True):
            assert other.area == pytest.approx(16 * one.area, rel=0.1, abs=200)

    @pytest.mark.parametrize(
        "shape",
        [(1, 1), *(pytest.param(long, marks=pytest.mark.exhaustive) for long in ((2, 3000), (3000, 2)))],
    )
    def test_odd_shapes_do_no_harm(self, engine: Sam3, shape: tuple[int, int]) -> None:
        image = Image(rgb=np.full((*shape, 3), 77, np.uint8), height=shape[0], width=shape[1], bands=3, dtype="uint8")
        options = Options(prompts=("tree",), score_threshold=0.01)
        (detection,) = found(engine, [image], options)
        instances = engine.finish(detection, image, options)
        assert instances
        assert all(one.x + one.mask.shape[1] <= shape[1] and one.y + one.mask.shape[0] <= shape[0] for one in instances)


class TestSaturation:
    def test_more_than_four_fifths_of_the_queries_for_one_prompt(self, engine: Sam3) -> None:
        assert engine.network.queries == 20
        image = example("cat.jpg")
        (all_of_them,) = found(engine, [image], Options(prompts=PROMPTS, score_threshold=0.0))
        assert (all_of_them.most_of_a_prompt, engine.is_saturated(all_of_them, Options())) == (20, True)
        few = alone(engine, "cat.jpg", *PROMPTS)
        assert len(few.scores) > 16, "together they are many, each alone is not"
        assert not engine.is_saturated(few, Options())


class TestNumbers:
    def test_a_picture_that_overflows_is_run_again_in_float32(self, weights: Path, engine: Sam3) -> None:
        half = loaded(weights)
        half._network = Sam3Network(weights, device="cpu", dtype=torch.bfloat16)
        fast = half.network.encoder

        def overflows_on_the_second(pixels: torch.Tensor) -> object:
            output = fast(pixels)
            output.fpn_hidden_states[2][1] = float("inf")
            return output

        half.network.encoder = overflows_on_the_second
        images, options = [example("cat.jpg"), example("OSBS_029.tif")], Options(prompts=("tree",))
        first, second = found(half, images, options)
        assert first.masks[0].logits.dtype == torch.bfloat16
        assert_same(second, found(engine, [images[1]], options)[0])

    def test_what_is_not_finite_even_in_float32_fails_alone(self, weights: Path) -> None:
        broken = loaded(weights)
        exact = broken.network.encoder

        def breaks_the_first(pixels: torch.Tensor) -> object:
            output = exact(pixels)
            output.fpn_hidden_states[0][0, 0, 0, 0] = float("nan")
            return output

        broken.network.encoder = breaks_the_first
        options = Options(prompts=("tree",))
        images = [example("cat.jpg"), example("OSBS_029.tif")]
        failed, good = broken.detect([broken.prepare(image, options) for image in images], options)
        assert isinstance(failed, ItemError)
        assert isinstance(good, Detection)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.exhaustive)])
    def test_fast_numbers_agree_where_logits_are_clear(self, weights: Path, engine: Sam3, dtype: torch.dtype) -> None:
        fast = loaded(weights)
        fast._network = Sam3Network(weights, device="cpu", dtype=dtype)
        image, options = example("cat.jpg"), Options(prompts=("car",), score_threshold=0.0)
        (quick,), (exact,) = found(fast, [image], options), found(engine, [image], options)
        assert (quick.scores - exact.scores).abs().max() < 0.1
        sure, other = logits(exact.masks), logits(quick.masks)
        clear = sure.nan_to_num(-1e9).abs() > 3
        agree = (sure > 0) == (other > 0)
        assert agree[clear].float().mean() > 0.999
        assert not agree.all(), "or it was not computed in fast numbers"
