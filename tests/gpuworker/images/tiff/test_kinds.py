"""TIFFs of all kinds, drawn at random: seen as other readers see them, whole and by windows alike, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tests.gpuworker.images.tiff.drawn_kinds import FAMILIES, Family, Kind, Stretch, kinds, seen, written
from tests.gpuworker.images.tiff.writer import UNSPECIFIED
from tests.properties import examples

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode
from gpuworker.images.rendering import Rendering
from gpuworker.tasks.segment.opening import open_scene
from gpuworker.tiles.scene import Scene, grid

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

TILE_PX = 20
STRETCHES: st.SearchStrategy[Stretch] = st.sampled_from(["auto", "none"])


def opened(kind: Kind, stretch: Stretch, *, windows_from_bytes: int) -> Scene | None:
    """None where the kind is refused, which only a few may be, and those as what they are."""
    options = Options(tile_size=TILE_PX, tile_overlap=0.1, stretch=stretch, alpha=kind.use_of_alpha)
    try:
        return open_scene(written(kind), options, name="a.tif", windows_from_bytes=windows_from_bytes)
    except ItemError as error:
        if kind.may_be_refused and error.code in ("unsupported", "unsuitable"):
            return None
        raise


def means_of(scene: Scene) -> NDArray[np.bool_]:
    valid_mask: NDArray[np.bool_] | None = getattr(scene, "valid_mask", None)
    return np.ones((scene.height, scene.width), np.bool_) if valid_mask is None else valid_mask


def furthest(one: NDArray[Any], other: NDArray[Any]) -> float:
    return float(np.abs(one.astype(float) - other.astype(float)).max(initial=0))


@pytest.mark.parametrize("family", FAMILIES)
@examples(75)
@given(data=st.data())
def test_a_tiff_is_seen_as_other_readers_see_it(family: Family, data: st.DataObject) -> None:
    kind = data.draw(kinds(family))
    stretch = data.draw(st.sampled_from(kind.is_plain_in))
    scene = opened(kind, stretch, windows_from_bytes=1 << 40)
    if scene is None:
        return
    right, image = seen(kind, stretch), scene.whole()
    assert image.rgb.shape == right.rgb.shape
    assert np.array_equal(means_of(scene), right.means)
    is_told = "alpha_as_band" in scene.notes.warnings
    assert is_told == (kind.is_graded and kind.use_of_alpha == "auto" and kind.alpha != UNSPECIFIED)
    compared = right.means if kind.alpha is None else np.ones_like(right.means)  # what is transparent is white
    away = np.abs(image.rgb.astype(float) - right.rgb)[compared]
    assert away.mean() < 3 if right.is_lossy else away.max() <= 1.01


@pytest.mark.parametrize("family", FAMILIES)
@examples(75)
@given(data=st.data())
def test_it_is_the_same_by_windows_and_whole(family: Family, data: st.DataObject) -> None:
    kind, stretch = data.draw(kinds(family)), data.draw(STRETCHES)
    whole = opened(kind, stretch, windows_from_bytes=1 << 40)
    windowed = opened(kind, stretch, windows_from_bytes=0)
    assert (whole is None) == (windowed is None)
    if whole is None or windowed is None:
        return
    decoded = decode(written(kind), rendering=Rendering(stretch=stretch, alpha=kind.use_of_alpha))
    assert np.array_equal(decoded.rgb, whole.whole().rgb)
    for window in grid(whole.height, whole.width, side=TILE_PX, overlap=0.1):
        one, other = whole.read(window), windowed.read(window)
        assert (one is None) == (other is None), window
        assert one is None or other is None or furthest(one.rgb, other.rgb) == 0, window
