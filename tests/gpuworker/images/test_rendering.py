"""Which bands, and which of their values become black and white."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.gpuworker import pictures

from gpuworker.contract.items import ItemError
from gpuworker.images.rendering import Raster, Rendering, levels_of, levels_of_whole, rendered, stretched

RGB = pictures.scene()


class TestStretching:
    def test_percentiles_become_black_and_white(self) -> None:
        band = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
        out = stretched(band)
        assert (out[:2] == 0).all()
        assert (out[-2:] == 255).all()
        assert abs(int(out[50, 0]) - 128) <= 2

    @pytest.mark.parametrize("value", [0, 7, 65535])
    def test_a_constant_band_is_no_division_by_zero(self, value: int) -> None:
        with np.errstate(all="raise"):
            assert len(np.unique(stretched(np.full((9, 9), value, np.uint16)))) == 1

    def test_a_band_whose_percentiles_meet_still_shows_its_range(self) -> None:
        band = np.full((100, 100), 5, np.uint16)
        band[0, 0], band[0, 1] = 0, 10
        out = stretched(band)
        assert (int(out[0, 0]), int(out[0, 1])) == (0, 255)

    def test_nothing_valid(self) -> None:
        out = stretched(np.full((4, 4), 1000.0, np.float32), np.zeros((4, 4), np.bool_))
        assert (out == 0).all()

    def test_bytes_stay_as_they_are(self) -> None:
        band = RGB[:, :, 0]
        assert stretched(band) is band

    @pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", ">u2", ">i2"])
    def test_the_table_of_all_values_says_what_scaling_each_would(self, dtype: str) -> None:
        values = np.random.default_rng(0).integers(-100, 100, (300, 300)).astype(dtype)
        by_table = stretched(values, rendering=Rendering(stretch="minmax"))
        one_by_one = stretched(values.astype(np.int32), rendering=Rendering(stretch="minmax"))
        assert (by_table == one_by_one).all()

    def test_one_range_for_all_parts_of_an_image(self) -> None:
        band = np.arange(10_000, dtype=np.uint16).reshape(100, 100)
        whole = Raster(colour=(band,))
        levels = levels_of([whole], Rendering())
        parts = [rendered(Raster(colour=(band[top : top + 9],)), levels) for top in range(0, 100, 9)]
        assert (np.concatenate(parts) == rendered(whole, levels)).all()

    def test_what_is_transparent_does_not_count(self) -> None:
        band = np.full((10, 10), 500, np.uint16)
        band[:5] = np.arange(50).reshape(5, 10)
        alpha = np.zeros((10, 10), np.uint16)
        alpha[:5] = 65_535
        raster = Raster(colour=(band,), alpha=alpha)
        rgb = rendered(raster, levels_of_whole(raster, Rendering(stretch="minmax")))
        assert (rgb[0, 0, 0], rgb[4, 9, 0]) == (0, 255)
        assert (rgb[5:] == 255).all()


class TestBands:
    @pytest.mark.parametrize(
        ("asked", "there_are", "picked"),
        [
            ((), 1, (0,)),
            ((), 2, (0,)),
            ((), 3, (0, 1, 2)),
            ((), 8, (0, 1, 2)),
            ((5, 3, 2), 8, (4, 2, 1)),
            ((4,), 4, (3,)),
        ],
    )
    def test_which_are_picked(self, asked: tuple[int, ...], there_are: int, picked: tuple[int, ...]) -> None:
        assert Rendering(bands=asked).picked(there_are) == picked

    @pytest.mark.parametrize(
        ("asked", "there_are", "message"),
        [
            ((4,), 3, "band 4; the image has 3 bands"),
            ((2,), 1, "has 1 band$"),
            ((0,), 3, "band 0"),
            ((1, 2), 3, "not 2"),
        ],
    )
    def test_what_is_not_there_is_said(self, asked: tuple[int, ...], there_are: int, message: str) -> None:
        with pytest.raises(ItemError, match=message) as caught:
            Rendering(bands=asked).picked(there_are)
        assert caught.value.code == "unsuitable"


@given(
    st.sampled_from(
        ["uint8", "int16", "uint16", "uint32", "int64", "float16", "float32", "float64", "complex64", "bool"]
    ),
    st.sampled_from(["auto", "percentile", "minmax", "none"]),
    st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")) | st.just(float("inf")), min_size=4, max_size=30),
)
def test_any_values_of_any_type_become_bytes_in_their_order(dtype: str, stretch: Any, values: list[float]) -> None:
    with np.errstate(all="ignore"):
        band: NDArray[Any] = np.nan_to_num(np.array([values]), posinf=9e5) if dtype[0] in "uib" else np.array([values])
        band = band.astype(dtype)
        out = stretched(band, rendering=Rendering(stretch=stretch))
    assert out.dtype == np.uint8
    assert out.shape == band.shape
    real = band.real.astype(np.float64)
    usable = np.isfinite(real[0])
    order = np.argsort(real[0][usable], kind="stable")
    assert (np.diff(out[0][usable][order].astype(int)) >= 0).all()
