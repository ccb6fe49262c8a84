"""Overlays and thumbnails: of sensible size for every image, drawn where the instances are, the image left alone."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from gpuworker.images.decoding import Image
from gpuworker.masks.instances import Instance
from gpuworker.masks.overlays import PALETTE, colour_of, overlay_jpeg, thumb_jpeg
from gpuworker.masks.packed import Packed


def image(height: int, width: int, *, reduced: int = 1) -> Image:
    rgb = np.full((-(-height // reduced), -(-width // reduced), 3), 90, np.uint8)
    return Image(rgb=rgb, height=height, width=width, bands=3, dtype="uint8")


def square(x: int, y: int, side: int, category_id: int = 1) -> Instance:
    mask = np.ones((side, side), np.bool_)
    return Instance(x=x, y=y, mask=mask, score=0.75, category_id=category_id, source="test")


def pixels(jpeg: bytes) -> NDArray[np.uint8]:
    return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR_RGB), np.uint8)


class TestSize:
    @pytest.mark.parametrize(
        ("height", "width", "overlay", "thumb"),
        [
            (600, 1000, (600, 1000), (288, 480)),
            (3000, 4000, (1536, 2048), (360, 480)),
            (60, 80, (600, 800), (60, 80)),
            (1, 1, (800, 800), (1, 1)),
            (3, 5000, (1, 2048), (1, 480)),
            (5000, 3, (2048, 1), (480, 1)),
        ],
    )
    def test_every_image_gets_a_picture_one_can_look_at(
        self, height: int, width: int, overlay: tuple[int, int], thumb: tuple[int, int]
    ) -> None:
        found = [square(0, 0, 1)]
        assert pixels(overlay_jpeg(image(height, width), found, ["thing"])).shape[:2] == overlay
        assert pixels(thumb_jpeg(image(height, width), found)).shape[:2] == thumb


class TestBackground:
    @pytest.mark.parametrize(("height", "width"), [(2400, 3200), (2401, 3199), (1500, 6000), (4803, 3201)])
    def test_a_large_picture_is_reduced_to_about_the_mean_of_its_areas(self, height: int, width: int) -> None:
        # given a picture with detail as large as a pixel of the thumbnail
        coarse = np.random.default_rng(0).integers(0, 255, (height // 16, width // 16, 3), np.uint8)
        rgb = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
        picture = Image(rgb=rgb, height=height, width=width, bands=3, dtype="uint8")
        for jpeg in (overlay_jpeg(picture, [], []), thumb_jpeg(picture, [])):
            drawn = pixels(jpeg)
            # when reduced by areas, and through the same JPEG
            size = drawn.shape[1], drawn.shape[0]
            plain = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
            expected = pixels(bytes(cv2.imencode(".jpg", plain, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]))
            # then it differs less than by what a shift of a pixel would do
            shifted = np.abs(expected[:, 1:].astype(int) - expected[:, :-1]).mean()
            assert np.abs(drawn.astype(int) - expected).mean() < shifted / 3


class TestDrawing:
    def test_the_tint_lies_where_the_mask_is(self) -> None:
        drawn = pixels(overlay_jpeg(image(1000, 1000), [square(400, 600, 200)], ["thing"]))
        inside, outside = drawn[700, 500].astype(int), drawn[300, 300].astype(int)
        assert abs(outside - 90).max() < 6
        towards = np.array(colour_of(1)) - 90
        assert (np.sign(inside - 90) == np.sign(towards)).all()

    def test_a_reduced_picture_is_drawn_in_full_coordinates(self) -> None:
        whole = pixels(overlay_jpeg(image(2000, 2000), [square(800, 1200, 400)], ["thing"]))
        reduced = pixels(overlay_jpeg(image(2000, 2000, reduced=2), [square(800, 1200, 400)], ["thing"]))
        assert whole.shape == reduced.shape
        assert np.abs(whole.astype(int) - reduced).max() < 12

    def test_a_small_instance_on_a_large_one_stays_visible(self) -> None:
        drawn = pixels(thumb_jpeg(image(400, 400), [square(180, 180, 40, 2), square(100, 100, 200, 1)]))
        on_both, on_large = drawn[200, 200].astype(int), drawn[130, 130].astype(int)
        assert on_both[2] > on_large[2] + 30

    def test_the_label_is_written(self) -> None:
        plain = pixels(overlay_jpeg(image(900, 900), [square(300, 300, 300)], [""]))
        named = pixels(overlay_jpeg(image(900, 900), [square(300, 300, 300)], ["a very long name of a thing"]))
        assert np.abs(plain.astype(int) - named)[:, 420:600].max() > 80

    def test_in_a_crowded_picture_one_name_for_all_is_not_repeated(self) -> None:
        found = [square(20 + 150 * (i % 6), 20 + 150 * (i // 6), 100) for i in range(36)]
        short, long = (pixels(overlay_jpeg(image(900, 900), found, [name])) for name in ("a", "a very long name"))
        assert (short == long).all()

    def test_names_in_any_script_and_many_instances_are_drawn(self) -> None:
        found = [square(i * 3, i * 2, 40, 1 + i % 3) for i in range(150)]
        assert pixels(overlay_jpeg(image(500, 500), found, ["Körner", "玉米", "x" * 300])).shape == (800, 800, 3)

    def test_the_image_itself_is_left_alone(self) -> None:
        before = image(800, 800)
        overlay_jpeg(before, [square(10, 10, 300)], ["thing"])
        thumb_jpeg(before, [square(10, 10, 300)])
        assert (before.rgb == 90).all()

    def test_masks_at_the_edge_stay_inside(self) -> None:
        found = [square(0, 0, 1), square(999, 999, 1), square(0, 500, 500)]
        assert pixels(overlay_jpeg(image(1000, 1000), found, ["thing"])).shape == (1000, 1000, 3)

    def test_a_mask_much_larger_than_the_picture_is_drawn_where_it_is(self) -> None:
        half = Instance(x=0, y=3000, mask=np.ones((3000, 6000), np.bool_), score=0.5, category_id=1, source="test")
        drawn = pixels(thumb_jpeg(image(6000, 6000, reduced=8), [half])).astype(int)
        assert abs(drawn[:200] - 90).max() < 8
        assert (abs(drawn[280:, 20:-20] - 90).max(axis=2) > 20).all()

    def test_masks_are_unpacked_one_at_a_time(self) -> None:
        # given masks of 4 MB each, as bits
        packed = Packed.of(square(0, 0, 2000))
        assert packed is not None
        picture = image(2000, 2000, reduced=8)
        # when
        tracemalloc.start()
        try:
            thumb_jpeg(picture, [packed] * 20)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        # then
        assert peak_bytes < 5 * 4_000_000


class TestPalette:
    def test_neighbouring_categories_differ_and_every_id_has_one(self) -> None:
        assert len(set(PALETTE)) == len(PALETTE)
        assert all(colour_of(i) != colour_of(i + 1) for i in range(1, 81))
