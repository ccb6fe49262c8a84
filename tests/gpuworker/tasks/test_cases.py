"""One scene and one plan in the encodings of the world, through the tasks: the right answer or a typed failure."""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image
from tests.gpuworker import drawn_scenes as drawn

import gpupipe.examples
from gpupipe.jobs.inputs import collect
from gpuworker.contract.items import ItemError, Source
from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Encoded, Task
from gpuworker.tasks.segment.opening import open_scene
from gpuworker.tiles.scene import WholeScene

EXAMPLES = Path(gpupipe.examples.__file__).parent
CROWNS: Mapping[str, Any] = {"engine": "vegetation", "prompts": ["plant"]}
ROOMS: Mapping[str, Any] = {"labels": "off"}
REFUSED = ("unsupported", "unsuitable")

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


@cache
def task(name: str) -> Task:
    made = make_task(name)
    made.load("cpu", CROWNS if name == "segment" else ROOMS)
    return made


def done(name: str, data: bytes, options: Mapping[str, Any], *, by: str = "segment") -> Encoded:
    """Through a task, as the stream takes an item through it. Raises ItemError."""
    source = Source(output=f"field 7/{name.partition('.')[0]}", file_name=f"field 7/{name}")
    decoded = task(by).decode(data, source, options)
    (result,) = task(by).run([decoded], options)
    if isinstance(result, ItemError):
        raise result
    return task(by).encode(decoded, result, options)


def masks(encoded: Encoded) -> NDArray[np.bool_]:
    """H×W: where any instance is."""
    (file,) = [file for path, file in encoded.files.items() if path.startswith("masks/")]
    found: NDArray[np.bool_] = tifffile.imread(io.BytesIO(file.data)) > 0
    return found


def overlay(encoded: Encoded) -> NDArray[np.float64]:
    """H×W×3."""
    return np.asarray(Image.open(io.BytesIO(encoded.files["overlay.jpg"].data))).astype(float)


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def warnings_of(encoded: Encoded) -> list[str]:
    return list(encoded.fragment["image"].get("warnings", ()))


def require_crowns(
    encoded: Encoded, right: NDArray[np.bool_] | None = None, *, below: int = 0, at_least: float = 0.94
) -> None:
    """Five of them, where they were drawn; compared `below` a row."""
    right = drawn.crowns() if right is None else right
    assert masks(encoded).shape == right.shape
    assert encoded.counts["annotations"] == 5
    assert iou(masks(encoded)[below:], right[below:]) >= at_least


class TestScenes:
    @pytest.mark.parametrize("name", drawn.SCENES)
    def test_five_crowns_are_found(self, name: str) -> None:
        try:
            encoded = done(name, drawn.SCENES[name](), CROWNS)
        except ItemError as error:
            if name.startswith("ycbcr_") and error.code in REFUSED:
                return
            raise
        require_crowns(encoded)

    def test_what_is_cut_out_is_found_on_white(self) -> None:
        # The engine smooths over the edge, where white outweighs leaves as soil does not: a pixel less all round.
        require_crowns(done("cutout.png", drawn.CUT_OUT["cutout.png"](), CROWNS), at_least=0.91)

    @pytest.mark.parametrize("dtype", ["u16", "i16", "f32"])
    def test_an_overlay_has_the_scenes_colours_whatever_opaque_is_called(self, dtype: str) -> None:
        plain, opaque = f"{dtype}.tif", f"{dtype}_alpha255.tif"
        right = overlay(done(plain, drawn.SCENES[plain](), CROWNS))
        told = overlay(done(opaque, drawn.SCENES[opaque](), CROWNS))
        assert np.abs(told - right).mean() < 3
        assert told.std() > 20, "not white"

    def test_near_infrared_that_is_marked_as_an_opacity_is_none(self) -> None:
        twin = done("reference_geo.tif", drawn.SCENES["reference_geo.tif"](), CROWNS)
        told = done("nir_marked_alpha.tif", drawn.SCENES["nir_marked_alpha.tif"](), CROWNS)
        assert np.array_equal(masks(told), masks(twin))
        assert np.abs(overlay(told) - overlay(twin)).mean() < 1

    @pytest.mark.parametrize("name", ["ycbcr_lzw.tif", "ycbcr_pillow.tif", "jpeg_ycbcr.tif"])
    def test_soil_is_brown_in_luminance_and_colour_difference_too(self, name: str) -> None:
        try:
            rgb = decode(drawn.SCENES[name]()).rgb
        except ItemError as error:
            if name.startswith("ycbcr_") and error.code in REFUSED:
                return
            raise
        assert np.abs(rgb[~drawn.crowns()].mean(0) - drawn.SOIL).max() <= 3

    def test_a_thumbnail_before_the_picture_is_passed_over(self) -> None:
        image = decode(drawn.SCENES["thumbnail_first.tif"]())
        assert np.array_equal(image.rgb, drawn.scene())

    @pytest.mark.parametrize("name", drawn.COLLARED)
    def test_a_collar_without_data_is_left_out(self, name: str) -> None:
        data = drawn.COLLARED[name]()
        opened = open_scene(data, Options(), name=name)
        assert isinstance(opened, WholeScene)
        assert opened.valid_mask is not None
        assert opened.valid_mask.mean() == 0.75
        require_crowns(done(name, data, CROWNS), below=drawn.COLLAR)

    @pytest.mark.parametrize("name", drawn.TURNED)
    def test_a_picture_is_turned_as_its_exif_says(self, name: str) -> None:
        data = drawn.TURNED[name]()
        require_crowns(done(name, data, CROWNS), np.rot90(drawn.crowns(), -1))
        assert np.abs(decode(data).rgb.astype(int) - np.rot90(drawn.scene(), -1)).mean() < 5

    @pytest.mark.parametrize("name", drawn.CUT)
    def test_what_is_cut_short_is_whole_or_refused(self, name: str) -> None:
        try:
            encoded = done(name, drawn.CUT[name](), CROWNS)
        except ItemError as error:
            if error.code in ("truncated", "unreadable"):
                return
            raise
        require_crowns(encoded)


@pytest.mark.parametrize("name", ["really_png.jpg", "really_webp.jpg"])
@pytest.mark.parametrize("is_by_hand", [True, False])
def test_a_picture_with_anothers_suffix_is_submitted_by_hand_and_in_a_folder_alike(
    tmp_path: Path, name: str, is_by_hand: bool
) -> None:
    (tmp_path / name).write_bytes(drawn.SCENES[name]())
    named = str(tmp_path / name if is_by_hand else tmp_path)
    found = collect([named], suffixes=frozenset({".jpg", ".png", ".webp"}), project="field7")
    assert [file.path for file in found.files] == [name]


class TestPages:
    def test_pages_that_are_left_are_said(self) -> None:
        encoded = done("stack.tif", drawn.PAGED["stack_multipage.tif"](), CROWNS)
        assert any("page" in word for word in warnings_of(encoded))

    @pytest.mark.parametrize("page", [2, 3])
    def test_a_page_is_chosen(self, page: int) -> None:
        require_crowns(done("stack.tif", drawn.PAGED["stack_multipage.tif"](), {**CROWNS, "pages": page}))

    def test_channels_as_pages_are_colours_or_said(self) -> None:
        encoded = done("channels.ome.tif", drawn.PAGED["channels_as_pages.ome.tif"](), CROWNS)
        if not any("page" in word or "channel" in word for word in warnings_of(encoded)):
            require_crowns(encoded)


class TestFourthBand:
    """A photograph with three bands, and with near infrared that is dark, as over asphalt and water."""

    @staticmethod
    def _bands() -> list[NDArray[np.uint8]]:
        with Image.open(EXAMPLES / "photos/football.jpg") as photo:
            small = np.asarray(photo.convert("RGB").resize((320, 320 * photo.height // photo.width)))
        nir = (small.astype(int).sum(2) // 3 // 4 + 5).astype(np.uint8)
        return [*(np.ascontiguousarray(small[:, :, i]) for i in range(3)), nir]

    def test_it_changes_nothing(self) -> None:
        options = {"engine": "nanodet"}
        bands = self._bands()
        twin = done("rgb.tif", drawn.by_gdal(bands[:3]), options)
        told = done("rgbn.tif", drawn.by_gdal(bands), options)
        assert told.counts["annotations"] == twin.counts["annotations"] == 3
        assert np.array_equal(masks(told), masks(twin))


class TestPlans:
    @staticmethod
    def _rooms(name: str, data: bytes, **options: Any) -> list[NDArray[np.float64]]:
        encoded = done(name, data, {**ROOMS, **options}, by="detect-rooms")
        return [np.array(room["polygon"], float) for room in encoded.record["rooms"]]

    @staticmethod
    def _filled(rooms: list[NDArray[np.float64]], height: int, width: int) -> NDArray[np.bool_]:
        page = np.zeros((height, width), np.uint8)
        for room in rooms:
            cv2.fillPoly(page, [np.round(room).astype(np.int32)], 1)
        return page > 0

    @pytest.mark.parametrize("name", drawn.PLANS)
    def test_three_rooms_are_found(self, name: str) -> None:
        rooms = self._rooms(name, drawn.PLANS[name]())
        right = self._rooms("plan.png", drawn.PLANS["plan_reference.png"]())
        height, width = drawn.plan().shape
        assert len(rooms) == len(right) == 3
        assert iou(self._filled(rooms, height, width), self._filled(right, height, width)) >= 0.97
        paper = drawn.plan() > 128
        assert iou(self._filled(right, height, width), paper & _inside(paper)) >= 0.97

    @pytest.mark.parametrize("variant", [drawn.inverted, drawn.cyanotype])
    def test_a_cottage_on_dark_paper_has_its_seven_rooms(self, variant: Any) -> None:
        grey = np.asarray(Image.open(EXAMPLES / "plans/cottage.png").convert("L"))
        assert len(self._rooms("cottage.png", variant(grey))) == 7


def _inside(paper: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Within the outer walls of the drawn plan."""
    inside = np.zeros_like(paper)
    inside[40:441, 40:601] = True
    return inside
