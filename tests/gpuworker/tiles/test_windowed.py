"""Windows of a TIFF: the same pixels as of the same file decoded whole, in a small part of the memory."""

from __future__ import annotations

import contextlib
import gc
import io
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from tests.gpuworker import pictures
from tests.gpuworker.large_tiff import MARK_PX, MARKS, write_stripped, write_tiled
from tests.properties import examples

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.decoding import BoxPrompt
from gpuworker.images.rendering import Rendering
from gpuworker.images.tiff.file import Tiff
from gpuworker.images.window import Window
from gpuworker.tasks.segment.opening import bytes_to_open, open_scene
from gpuworker.tiles.scene import WholeScene
from gpuworker.tiles.windowed import WindowedScene

HEIGHT, WIDTH = 130, 203
RGB = pictures.scene(HEIGHT, WIDTH)
DEEP: NDArray[np.uint16] = np.random.default_rng(3).integers(0, 60_000, (HEIGHT, WIDTH, 4)).astype(np.uint16)
NODATA = 42113
WHOLE_FILES = [
    pictures.tiff(RGB, photometric="rgb", tile=(32, 32), compression="zlib"),
    pictures.tiff(DEEP, photometric="minisblack", planarconfig="contig", rowsperstrip=8, compression="lzw"),
    pictures.tiff(DEEP.transpose(2, 0, 1), photometric="minisblack", planarconfig="separate", tile=(32, 32)),
    pictures.tiff(RGB, photometric="rgb", tile=(32, 32), compression="jpeg"),
]
JPEG: Any = {"tiled": True, "blockxsize": 64, "blockysize": 64, "compress": "jpeg", "photometric": "ycbcr"}
PLACE = rasterio.Affine(0.1, 0, 5e5, 0, -0.1, 4e6)

LAYOUTS: list[dict[str, Any]] = [
    {},
    {"byteorder": ">"},
    {"rowsperstrip": 7},
    {"rowsperstrip": 1, "compression": "zlib"},
    {"rowsperstrip": 16, "compression": "lzw", "predictor": 2},
    {"rowsperstrip": 16, "compression": "zstd", "byteorder": ">"},
    {"tile": (32, 16)},
    {"tile": (32, 48), "compression": "zlib", "predictor": 2},
    {"tile": (256, 256), "compression": "packbits"},
    {"tile": (32, 32), "compression": "lzma", "bigtiff": True},
]


def scenes(data: bytes | Path, **options: Any) -> tuple[WholeScene, WindowedScene]:
    """The same file both ways."""
    chosen = Options(**{"tile_size": 64, **options})
    whole = open_scene(data, chosen, name="a.tif", windows_from_bytes=1 << 40)
    windowed = open_scene(data, chosen, name="a.tif", windows_from_bytes=0)
    assert isinstance(whole, WholeScene)
    assert isinstance(windowed, WindowedScene)
    assert (whole.height, whole.width, whole.geo) == (windowed.height, windowed.width, windowed.geo)
    return whole, windowed


def some_windows(height: int, width: int) -> list[Window]:
    corners = [(0, 0, height, width), (0, 0, 1, 1), (height - 1, width - 1, 1, 1), (height // 3, 0, 50, width)]
    inside = [(31, 15, 34, 66), (32, 16, 32, 16), (height // 2, width // 2, height // 3, width // 3)]
    return [Window(top=top, left=left, height=h, width=w) for top, left, h, w in [*corners, *inside]]


def assert_same(data: bytes | Path, **options: Any) -> None:
    whole, windowed = scenes(data, **options)
    for window in some_windows(whole.height, whole.width):
        part, expected = windowed.read(window), whole.read(window)
        assert part is not None
        assert (part.height, part.width, part.bands, part.dtype) == (
            expected.height,
            expected.width,
            expected.bands,
            expected.dtype,
        )
        assert part.rgb.flags.c_contiguous
        assert (part.rgb == expected.rgb).all(), window


def planes(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


class TestSamePixels:
    @pytest.mark.parametrize("layout", LAYOUTS, ids=str)
    def test_bytes(self, layout: dict[str, Any]) -> None:
        assert_same(pictures.tiff(RGB, photometric="rgb", **layout))

    @pytest.mark.parametrize("layout", LAYOUTS, ids=str)
    def test_sixteen_bits_of_four_bands(self, layout: dict[str, Any]) -> None:
        data = pictures.tiff(DEEP, photometric="minisblack", planarconfig="contig", **layout)
        assert_same(data)
        assert_same(data, bands=(4, 3, 2), stretch="minmax")

    @pytest.mark.parametrize("layout", LAYOUTS, ids=str)
    def test_plane_by_plane(self, layout: dict[str, Any]) -> None:
        data = pictures.tiff(planes(DEEP), photometric="minisblack", planarconfig="separate", **layout)
        assert_same(data)
        assert_same(data, bands=(2,))

    @pytest.mark.parametrize("stretch", ["auto", "percentile", "minmax", "none"])
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
    def test_every_stretch_of_every_type(self, dtype: str, stretch: str) -> None:
        pixels = (DEEP[:, :, :3] / 250).astype(dtype)
        data = pictures.tiff(pixels, photometric="rgb", tile=(32, 32), compression="zlib")
        assert_same(data, stretch=stretch, stretch_percent=(5.0, 90.0))

    def test_jpeg_with_shared_tables(self) -> None:
        with MemoryFile() as file:
            profile: Any = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8"}
            with rasterio.open(file.name, "w", **profile, **JPEG, transform=PLACE) as made:
                made.write(RGB.transpose(2, 0, 1))
            data = file.read()
        with tifffile.TiffFile(io.BytesIO(data)) as made_file:
            assert made_file.pages.first.jpegtables is not None
        assert_same(data)

    def test_jpeg_plane_by_plane(self, tmp_path: Path) -> None:
        profile: Any = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8", **JPEG}
        planes_of_grey = {"photometric": "rgb", "interleave": "band", "jpeg_quality": 95}
        with rasterio.open(tmp_path / "a.tif", "w", **profile | planes_of_grey, transform=PLACE) as made:
            made.write(RGB.transpose(2, 0, 1))
        assert_same(tmp_path / "a.tif")
        (window,) = some_windows(HEIGHT, WIDTH)[:1]
        seen = scenes(tmp_path / "a.tif")[1].read(window)
        assert seen is not None
        assert np.abs(seen.rgb.astype(int) - RGB).mean() < 3

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_any_orientation_is_turned_upright(self, orientation: int) -> None:
        stored = np.ascontiguousarray(pictures.stored_as(RGB, orientation))
        tag = (274, "H", 1, orientation, True)
        data = pictures.tiff(stored, photometric="rgb", tile=(32, 16), extratags=[tag])
        assert_same(data)
        _, windowed = scenes(data)
        part = windowed.read(Window(top=3, left=40, height=20, width=30))
        assert part is not None
        assert (part.rgb == RGB[3:23, 40:70]).all()

    def test_palette_ink_and_white_as_zero(self) -> None:
        colours = np.random.default_rng(1).integers(0, 65_536, (3, 256)).astype(np.uint16)
        assert_same(pictures.tiff(RGB[:, :, 0], photometric="palette", colormap=colours, rowsperstrip=9))
        assert_same(pictures.tiff(DEEP, photometric="separated", tile=(32, 32)))
        assert_same(pictures.tiff(DEEP[:, :, 0], photometric="miniswhite", tile=(32, 32)))
        assert_same(pictures.tiff(RGB[:, :, 0] > 99, photometric="minisblack", rowsperstrip=8))

    def test_a_file_read_by_its_path(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        path.write_bytes(pictures.tiff(DEEP, photometric="minisblack", planarconfig="contig", tile=(32, 32)))
        assert_same(path)

    @examples(60)
    @given(st.data())
    def test_any_window_of_any_layout(self, data: st.DataObject) -> None:
        height, width = data.draw(st.integers(1, 90)), data.draw(st.integers(65, 150))
        bands = data.draw(st.integers(1, 5))
        tiles = {"tile": (16 * data.draw(st.integers(1, 4)), 16 * data.draw(st.integers(1, 4)))}
        strips = {"rowsperstrip": data.draw(st.integers(1, height))}
        layout = data.draw(st.sampled_from([tiles, strips]))
        pixels = DEEP[np.arange(height)[:, None] % HEIGHT, np.arange(width) % WIDTH][:, :, [0, 1, 2, 3, 0][:bands]]
        is_planar = data.draw(st.booleans()) and bands > 1
        stored = planes(pixels) if is_planar else np.ascontiguousarray(pixels if bands > 1 else pixels[:, :, 0])
        config: Any = {"planarconfig": "separate" if is_planar else "contig"} if bands > 1 else {}
        compression = data.draw(st.sampled_from([None, "zlib", "lzw"]))
        content = pictures.tiff(stored, photometric="minisblack", compression=compression, **config, **layout)
        whole, windowed = scenes(content)
        top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
        window = Window(
            top=top,
            left=left,
            height=data.draw(st.integers(1, height - top)),
            width=data.draw(st.integers(1, width - left)),
        )
        part = windowed.read(window)
        assert part is not None
        assert (part.rgb == whole.read(window).rgb).all()


class TestNothingThere:
    def read(self, data: bytes, window: Window) -> Any:
        whole, windowed = (scene.read(window) for scene in scenes(data))
        assert (whole is None) == (windowed is None)
        assert whole is None or windowed is None or (whole.rgb == windowed.rgb).all()
        return windowed

    CORNER = Window(top=0, left=0, height=32, width=32)
    BESIDE = Window(top=0, left=0, height=32, width=40)

    def test_nodata(self) -> None:
        pixels = DEEP.copy()
        pixels[:32, :32] = 0
        tag = (NODATA, "s", 0, "0", True)
        data = pictures.tiff(pixels, photometric="minisblack", planarconfig="contig", tile=(64, 64), extratags=[tag])
        assert self.read(data, self.CORNER) is None
        assert self.read(data, self.BESIDE) is not None

    def test_a_pixel_means_something_if_one_band_does(self) -> None:
        pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        pixels[5, 5] = 0, 9, 0
        tag = (NODATA, "s", 0, "0", True)
        data = pictures.tiff(pixels, photometric="rgb", tile=(64, 64), extratags=[tag])
        assert self.read(data, self.CORNER) is not None
        assert self.read(data, Window(top=6, left=6, height=20, width=20)) is None

    def test_not_a_number(self) -> None:
        pixels = DEEP[:, :, 0].astype(np.float32)
        pixels[:32, :32] = np.nan
        data = pictures.tiff(pixels, photometric="minisblack", tile=(64, 64))
        assert self.read(data, self.CORNER) is None
        assert self.read(data, self.BESIDE) is not None

    def test_transparent(self) -> None:
        opaque = np.full((HEIGHT, WIDTH), 255, np.uint8)
        opaque[:32, :32] = 0
        data = pictures.tiff(np.dstack([RGB, opaque]), photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64))
        assert self.read(data, self.CORNER) is None
        beside = self.read(data, self.BESIDE)
        assert (beside.rgb[:, :32] == 255).all()
        assert (beside.rgb[:, 32:] == RGB[:32, 32:40]).all()

    def test_what_a_mask_hides(self, tmp_path: Path) -> None:
        shown = np.full((HEIGHT, WIDTH), 255, np.uint8)
        shown[:32, :32] = 0
        profile: Any = {"driver": "GTiff", "height": HEIGHT, "width": WIDTH, "count": 3, "dtype": "uint8", **JPEG}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(tmp_path / "m.tif", "w", **profile, transform=PLACE) as made,
        ):
            made.write(RGB.transpose(2, 0, 1))
            made.write_mask(shown)
        data = (tmp_path / "m.tif").read_bytes()
        assert self.read(data, self.CORNER) is None
        assert self.read(data, self.BESIDE) is not None

    def test_tiles_that_were_left_out(self) -> None:
        tiles = (None if i == 1 else np.full((64, 64, 3), i + 1, np.uint8) for i in range(12))
        out = io.BytesIO()
        with tifffile.TiffWriter(out) as writer:
            shape = (HEIGHT, WIDTH, 3)
            writer.write(tiles, shape=shape, dtype=np.uint8, tile=(64, 64), photometric="rgb", metadata=None)
        _, windowed = scenes(out.getvalue())
        assert windowed.read(Window(top=0, left=64, height=64, width=64)) is None
        beside = self.read(out.getvalue(), Window(top=0, left=60, height=8, width=8))
        assert beside.rgb[0, :, 0].tolist() == [1] * 4 + [0] * 4

    def test_values_of_nodata_do_not_count_for_the_stretch(self) -> None:
        pixels = np.full((HEIGHT, WIDTH), -9999, np.float32)
        pixels[40:, :] = np.linspace(10, 20, WIDTH)
        data = pictures.tiff(
            pixels, photometric="minisblack", tile=(32, 32), extratags=[(NODATA, "s", 0, "-9999", True)]
        )
        below = scenes(data)[1].read(Window(top=30, left=0, height=20, width=WIDTH))
        assert below is not None
        assert (below.rgb[:10] == 0).all()
        assert below.rgb[15, -1, 0] == 255
        assert abs(int(below.rgb[15, WIDTH // 2, 0]) - 128) < 4


class TestManyThreads:
    def test_threads_see_the_same_and_decode_each_block_once(self) -> None:
        data = pictures.tiff(RGB, photometric="rgb", tile=(16, 16), compression="zlib")
        whole, windowed = scenes(data)
        windows = [Window(top=t, left=u, height=40, width=40) for t in range(0, 90, 9) for u in range(0, 160, 9)]
        start = threading.Barrier(8)

        def read(thread: int) -> bool:
            start.wait(10)
            parts = ((one, windowed.read(one)) for one in windows[thread::4])
            return all(part is not None and bool((part.rgb == whole.read(one).rgb).all()) for one, part in parts)

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(read, [0, 1, 2, 3] * 2))
        assert windowed.read(Window(top=0, left=0, height=HEIGHT, width=WIDTH)) is not None
        assert windowed.cache.made == (-(-HEIGHT // 16)) * (-(-WIDTH // 16))

    def test_the_cache_never_holds_more_than_it_may(self) -> None:
        data = pictures.tiff(RGB, photometric="rgb", tile=(16, 16))
        whole, windowed = scenes(data)
        windowed.cache.limit_bytes = 16 * 16 * 3 * 5
        for window in some_windows(HEIGHT, WIDTH):
            part = windowed.read(window)
            assert part is not None
            assert (part.rgb == whole.read(window).rgb).all()
            assert windowed.cache.used_bytes <= windowed.cache.limit_bytes


class TestPreview:
    def scene(self, data: bytes) -> WindowedScene:
        return WindowedScene(Tiff(data), Rendering(), side=1008)

    def test_it_fills_as_windows_are_read(self) -> None:
        rgb = pictures.scene(100, 5000)
        scene = self.scene(pictures.tiff(rgb, photometric="rgb", tile=(64, 64), compression="zlib"))
        assert not scene.preview().rgb.any()
        for left in range(0, 5000, 1000):
            scene.read(Window(top=0, left=left, height=100, width=1000))
        preview = scene.preview()
        assert (preview.height, preview.width, preview.rgb.shape) == (100, 5000, (34, 1667, 3))
        far = np.abs(preview.rgb[5::10, 5::10, :2].astype(int) - rgb[16::30, 16::30, :2][:3, :167])
        assert far.max() < 12

    def test_it_is_the_files_own_overview_where_there_is_one(self) -> None:
        rgb = pictures.scene(100, 5000)
        out = io.BytesIO()
        with tifffile.TiffWriter(out) as writer:
            writer.write(rgb, photometric="rgb", tile=(64, 64), metadata=None)
            writer.write(np.full((25, 1250, 3), 77, np.uint8), photometric="rgb", metadata=None, subfiletype=1)
        assert (self.scene(out.getvalue()).preview().rgb == 77).all()

    def test_a_small_image_is_its_own_preview(self) -> None:
        scene = self.scene(pictures.tiff(RGB, photometric="rgb", tile=(64, 64)))
        scene.read(Window(top=0, left=0, height=HEIGHT, width=WIDTH))
        assert (scene.preview().rgb == RGB).all()


def test_boxes_come_with_the_windows_they_lie_in() -> None:
    data = pictures.tiff(RGB, photometric="rgb", tile=(64, 64))
    box = BoxPrompt(x=50, y=10, width=20, height=20)
    options = Options(tile_size=64)
    scene = open_scene(data, options, name="a.tif", boxes=(box,), windows_from_bytes=0)
    left, right = (scene.read(Window(top=0, left=at, height=64, width=60)) for at in (0, 60))
    assert left is not None
    assert right is not None
    assert left.boxes == (BoxPrompt(x=50, y=10, width=10, height=20),)
    assert right.boxes == (BoxPrompt(x=0, y=10, width=10, height=20),)


def test_a_damaged_block_fails_as_unreadable_when_it_is_looked_at() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    data = bytearray(pictures.tiff(noise, photometric="rgb", tile=(64, 64), compression="zlib"))
    page = tifffile.TiffFile(io.BytesIO(bytes(data))).pages.first
    assert isinstance(page, tifffile.TiffPage)
    start = page.dataoffsets[5]
    data[start : start + 40] = b"\xff" * 40
    windowed = open_scene(bytes(data), Options(tile_size=64), name="a.tif", windows_from_bytes=0)
    assert windowed.read(Window(top=0, left=0, height=64, width=64)) is not None
    for _ in range(2):  # it is not remembered as read
        with pytest.raises(ItemError) as caught:
            windowed.read(Window(top=64, left=64, height=32, width=32))
        assert caught.value.code == "unreadable"


@examples(150)
@given(st.data())
def test_a_file_with_any_damage_fails_as_an_item_or_is_read(data: st.DataObject) -> None:
    damaged = bytearray(data.draw(st.sampled_from(WHOLE_FILES)))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, min(600, len(damaged) - 1)) | st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    options = Options(tile_size=64, max_pixels=1_000_000)
    with contextlib.suppress(ItemError):
        bytes_to_open(bytes(damaged), options, windows_from_bytes=0)
        scene = open_scene(bytes(damaged), options, name="a.tif", windows_from_bytes=0)
        scene.read(Window(top=0, left=0, height=min(64, scene.height), width=min(64, scene.width)))
        scene.preview()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="there is no list of open files")
def test_the_file_is_closed_with_its_scene(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(WHOLE_FILES[0])
    scene = open_scene(path, Options(tile_size=64), name="a.tif", windows_from_bytes=0)
    path.unlink()
    window = Window(top=0, left=0, height=64, width=64)
    assert scene.read(window) is not None, "it can be read without its name"
    assert open_files(path) == 1
    del scene
    gc.collect()
    assert open_files(path) == 0


def open_files(path: Path) -> int:
    """How many descriptors of this process lead to a file of this name, also one that is gone."""
    seen = 0
    for one in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            seen += os.readlink(one).startswith(str(path))
    return seen


@pytest.mark.timeout(600)  # 16 s alone, 200 beside two suites
@pytest.mark.parametrize(
    ("write", "side", "windows", "at_most_bytes"),
    [
        (write_stripped, 8_000, 81, 400_000_000),
        pytest.param(write_stripped, 20_000, 529, 2_000_000_000, marks=pytest.mark.exhaustive),
        pytest.param(write_tiled, 20_000, 529, 2_000_000_000, marks=pytest.mark.exhaustive),
    ],
)
def test_large_images_of_four_deep_bands_are_worked_on_in_less_memory_than_their_pixels_take(
    write: Any, side: int, windows: int, at_most_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "large.tif"
    write(path, side=side)
    command = [sys.executable, "-m", "tests.gpuworker.large_tiff", str(path)]
    done = subprocess.run(command, capture_output=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr.decode()
    said = json.loads(done.stdout)
    assert (said["scene"], said["windows"]) == ("WindowedScene", windows)
    assert said["boxes"] == [[left, top, MARK_PX, MARK_PX] for top, left in MARKS if max(top, left) < side]
    assert said["files"] == ["instances_native.geojson", "masks/large_masks.tif", "overlay.jpg", "thumb.jpg"]
    assert said["expected_bytes"] >= said["scene_bytes"]
    assert said["peak_bytes"] < at_most_bytes < side * side * 4 * 2
