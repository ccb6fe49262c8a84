"""A band marked as opacity: what of it is full, and when it is none."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.gpuworker import pictures

from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode
from gpuworker.images.opacity import ALPHA_AS_BAND, Opacity, laid_over, opacity_of
from gpuworker.images.window import Window
from gpuworker.tasks.segment.opening import open_scene

RGB = pictures.scene()
Use = Literal["auto", "ignore", "use"]


def scene_of(alpha: NDArray[Any], use: Use = "auto", bands: tuple[int, ...] = ()) -> Any:
    samples = np.dstack([RGB.astype(alpha.dtype), alpha])
    data = pictures.tiff(samples, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16))
    return open_scene(data, Options(alpha=use, bands=bands), name="a.tif")


def collared(dtype: str, full: float) -> NDArray[Any]:
    """Transparent above, opaque below."""
    alpha = np.full(RGB.shape[:2], full, dtype)
    alpha[:12] = 0
    return alpha


class TestWhatIsFull:
    @pytest.mark.parametrize(
        ("dtype", "full"),
        [
            ("uint8", 255),
            ("uint16", 1),
            ("uint16", 255),
            ("uint16", 4095),
            ("uint16", 32_767),
            ("uint16", 65_535),
            ("int16", 255),
            ("int16", 32_767),
            ("int8", 127),
            ("uint32", 255),
            ("uint32", 4_294_967_295),
            ("float32", 1),
            ("float32", 255),
            ("float64", 65_535),
        ],
    )
    def test_colours_are_kept_below_it_and_white_lies_where_there_is_nothing(self, dtype: str, full: float) -> None:
        scene = scene_of(collared(dtype, full))
        opaque = scene_of(np.full(RGB.shape[:2], full, dtype), "ignore")
        assert (scene.whole().rgb[:12] == 255).all()
        assert not scene.valid_mask[:12].any()
        assert scene.valid_mask[12:].all()
        plain = opaque.whole().rgb[12:].astype(int)
        stretched_by_less = np.abs(scene.whole().rgb[12:].astype(int) - plain)
        assert stretched_by_less.mean() < 40  # not white: the range is that of what is seen
        assert not scene.notes.warnings

    def test_whatever_is_above_nothing_is_seen(self) -> None:
        alpha = np.full(RGB.shape[:2], 255, np.uint8)
        alpha[0, :] = 1
        scene = scene_of(alpha)
        assert scene.valid_mask is None

    def test_it_is_decided_once_for_all_windows(self) -> None:
        alpha = collared("uint16", 4095)
        alpha[:, :16] = np.minimum(alpha[:, :16], 1)  # a column of tiles that alone would have 1 as full
        data = pictures.tiff(
            np.dstack([RGB.astype(np.uint16), alpha]), photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16)
        )
        options = Options(alpha="use", tile_size=16, stretch="minmax")
        whole = open_scene(data, options, name="a.tif").whole().rgb
        windowed = open_scene(data, options, name="a.tif", windows_from_bytes=0)
        part = windowed.read(Window(top=16, left=0, height=16, width=32))
        assert part is not None
        assert (part.rgb == whole[16:32, :32]).all()
        assert (whole[20:40, :16] >= 254).all()


class TestInfrared:
    NIR = np.random.default_rng(5).integers(5, 68, RGB.shape[:2]).astype(np.uint8)

    def test_a_band_that_only_calls_itself_opacity_is_left_out_and_that_is_said(self) -> None:
        scene = scene_of(self.NIR)
        assert (scene.whole().rgb == scene_of(self.NIR, "ignore").whole().rgb).all()
        assert scene.notes.warnings == (ALPHA_AS_BAND,)
        assert scene.valid_mask is None

    def test_by_windows_it_is_said_too(self) -> None:
        samples = np.dstack([RGB, self.NIR])
        data = pictures.tiff(samples, photometric="rgb", extrasamples=["unassalpha"], tile=(16, 16))
        scene = open_scene(data, Options(tile_size=16), name="a.tif", windows_from_bytes=0)
        part = scene.read(Window(top=0, left=0, height=16, width=16))
        assert part is not None
        assert (part.rgb == RGB[:16, :16]).all()
        assert scene.notes.warnings == (ALPHA_AS_BAND,)

    def test_a_png_is_judged_alike(self) -> None:
        image = decode(pictures.png(np.dstack([RGB, self.NIR])))
        assert (image.rgb == RGB).all()
        assert image.notes.warnings == (ALPHA_AS_BAND,)

    @pytest.mark.parametrize("write", [pictures.png, pictures.webp])
    def test_a_soft_shadow_of_a_format_that_knows_only_opacity_is_one(self, write: Any) -> None:
        alpha = collared("uint8", 255)
        alpha[12:24] = 128  # a fourth of it, too much for a mask
        image = decode(write(np.dstack([RGB, alpha])))
        assert (image.rgb[:12] == 255).all()
        assert (image.rgb[12:24] >= 127).all()
        assert not image.notes.warnings

    def test_who_asks_for_opacity_gets_it(self) -> None:
        scene = scene_of(self.NIR, "use")
        assert scene.whole().rgb.mean() > 200
        assert not scene.notes.warnings

    def test_who_names_bands_gets_their_colours_whatever_the_fourth_is(self) -> None:
        for alpha in (self.NIR, collared("uint8", 255)):
            scene = scene_of(alpha, bands=(1, 2, 3))
            assert (scene.whole().rgb == scene_of(alpha, "ignore").whole().rgb).all()
            assert not scene.notes.warnings

    def test_a_collar_is_no_part_of_the_image_when_bands_are_named(self) -> None:
        scene = scene_of(collared("uint8", 255), bands=(3, 2, 1))
        assert not scene.valid_mask[:12].any()
        assert scene.valid_mask[12:].all()

    def test_a_band_that_is_nothing_everywhere_hides_nothing(self) -> None:
        scene = scene_of(np.zeros(RGB.shape[:2], np.uint8))
        assert (scene.whole().rgb == scene_of(self.NIR, "ignore").whole().rgb).all()
        assert scene.notes.warnings == (ALPHA_AS_BAND,)

    @pytest.mark.parametrize(("masked", "is_mask"), [(95, True), (94, False)])
    def test_nineteen_of_twenty_values_make_a_mask(self, masked: int, is_mask: bool) -> None:
        values = np.full((10, 10), 255, np.uint8)
        values.ravel()[masked:] = 90
        opacity, is_band = opacity_of([values], "auto")
        assert (opacity is not None) == is_mask
        assert is_band != is_mask


def test_premultiplied_colours_are_not_multiplied_again() -> None:
    rgb = np.full((2, 2, 3), 100, np.uint8)
    shares = np.full((2, 2), 200, np.uint8)
    assert (laid_over(rgb.copy(), shares, Opacity(full=255, is_premultiplied=True)) == 155).all()
    assert (laid_over(rgb.copy(), shares, Opacity(full=255)) == 133).all()
    assert (laid_over(rgb.copy(), shares, Opacity(full=255, backdrop=0)) == 78).all()
