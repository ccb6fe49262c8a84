"""The tint by a table is the one that is computed pixel by pixel."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from tests.properties import examples

from gpuworker.masks.tint import tint

sides = st.integers(1, 20)
colours = st.tuples(*[st.integers(0, 255)] * 3)


def plain(rgb: NDArray[np.uint8], soft: NDArray[np.uint8], colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    share = soft[:, :, None].astype(np.float32) * np.float32(0.42 / 255)
    return (rgb + (np.array(colour, np.float32) - rgb) * share).astype(np.uint8)


@st.composite
def pictures(draw: st.DrawFn) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture, and a mask of which most is empty or full."""
    height, width = draw(sides), draw(sides)
    shares = st.sampled_from([0, 0, 255, 255, 1, 127, 128, 254])
    return draw(hnp.arrays(np.uint8, (height, width, 3))), draw(hnp.arrays(np.uint8, (height, width), elements=shares))


@examples(200)
@given(pictures(), colours)
@example((np.full((1, 1, 3), 90, np.uint8), np.full((1, 1), 255, np.uint8)), (230, 159, 0))
@example((np.full((4, 1, 3), 90, np.uint8), np.full((4, 1), 9, np.uint8)), (0, 0, 0))
def test_the_same_as_pixel_by_pixel(
    picture: tuple[NDArray[np.uint8], NDArray[np.uint8]], colour: tuple[int, int, int]
) -> None:
    rgb, soft = picture
    # given a part of a larger picture
    canvas = np.full((rgb.shape[0] + 4, rgb.shape[1] + 6, 3), 77, np.uint8)
    part = canvas[2:-2, 3:-3]
    part[:] = rgb
    # when
    tint(part, soft, colour)
    # then
    assert (canvas[2:-2, 3:-3] == plain(rgb, soft, colour)).all()
    canvas[2:-2, 3:-3] = 77
    assert (canvas == 77).all()


def test_every_value_in_a_full_mask() -> None:
    values = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    full = np.full((1, 256), 255, np.uint8)
    for colour in ((230, 159, 0), (0, 0, 0), (255, 255, 255)):
        expected = plain(values, full, colour)
        rgb = values.copy()
        tint(rgb, full, colour)
        assert (rgb == expected).all()
