"""Stacks of which only the first page has a directory: each page is one all the same, or is said to be left."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tests.gpuworker import pictures

from gpuworker.contract.items import ItemError
from gpuworker.engines.options import Options
from gpuworker.images.decoding import decode, probe
from gpuworker.images.notes import PAGES_LEFT
from gpuworker.images.rendering import Rendering
from gpuworker.images.tiff.stacks import require_end
from gpuworker.tasks.pages import pages_to_look_at
from gpuworker.tasks.segment.opening import open_scene
from gpuworker.tiles.scene import Window
from gpuworker.tiles.windowed import WindowedScene

RGB = pictures.scene(80, 96)
PLANES = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
METAMORPH = (33629, "2I", 3, (1, 0) * 3, False)


def stack(planes: NDArray[Any], description: str, **options: Any) -> bytes:
    """One directory for the first plane, the others behind its pixels."""
    first = pictures.tiff(planes[0], photometric="minisblack", description=description, **options)
    with tifffile.TiffFile(io.BytesIO(first)) as file:
        assert file.pages.first.dataoffsets[0] + planes[0].nbytes == len(first)
    return first + planes[1:].tobytes()


IMAGEJ = "ImageJ=1.54f\nimages=3\nslices=3\nloop=false\n"
WAYS = {
    "ImageJ": stack(PLANES, IMAGEJ),
    "ImageJ in strips": stack(PLANES, IMAGEJ, rowsperstrip=16),
    "ImageJ in 16 bits": stack(PLANES.astype(np.uint16), IMAGEJ),
    "tifffile": stack(PLANES, '{"shape": [3, 80, 96], "truncated": true}'),
    "tifffile, two axes": stack(PLANES, '{"axes": "TZYX", "shape": [1, 3, 80, 96]}'),
    "MetaMorph": stack(PLANES, "", extratags=[METAMORPH]),
}


@pytest.mark.parametrize("way", WAYS)
def test_those_that_were_not_looked_at_are_named(way: str) -> None:
    notes = probe(WAYS[way]).notes
    assert (notes.warnings, notes.page, notes.pages_left) == ((PAGES_LEFT,), 1, (2, 3))
    assert pages_to_look_at(WAYS[way], "all", Rendering()) == [1, 2, 3]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_is_had_by_its_number_whole_and_by_windows(way: str, number: int) -> None:
    image = decode(WAYS[way], rendering=Rendering(page=number, stretch="none"))
    assert np.array_equal(image.rgb[:, :, 0], PLANES[number - 1])
    options = Options(pages=number, stretch="none", tile_size=64)
    scene = open_scene(WAYS[way], options, name="a.tif", windows_from_bytes=0)
    assert isinstance(scene, WindowedScene)
    part = scene.read(Window(top=10, left=20, height=50, width=60))
    assert part is not None
    assert np.array_equal(part.rgb[:, :, 0], PLANES[number - 1][10:60, 20:80])


def test_channels_are_bands_of_one_picture() -> None:
    image = decode(stack(PLANES, "ImageJ=1.54f\nimages=3\nchannels=3\nmode=composite\n"))
    assert np.array_equal(image.rgb, RGB)
    assert image.notes.warnings == ()


def test_a_page_beyond_the_last() -> None:
    with pytest.raises(ItemError, match="page 4; the TIFF has 3 pages"):
        decode(WAYS["ImageJ"], rendering=Rendering(page=4))


def test_what_the_file_has_no_room_for_is_not_there() -> None:
    assert probe(stack(PLANES, IMAGEJ.replace("3", "50000"))).notes.pages_left == (2, 3)
    assert probe(stack(PLANES[:1], IMAGEJ)).notes.warnings == ()


def test_fifty_thousand_planes_are_counted_and_not_looked_at() -> None:
    tiny = np.zeros((50_000, 4, 4), np.uint8)
    notes = probe(stack(tiny, IMAGEJ.replace("3", "50000"))).notes
    assert notes.warnings == (PAGES_LEFT,)
    assert notes.pages_left == tuple(range(2, 102))


def test_a_page_far_behind_is_had_by_its_number() -> None:
    tiny = (np.arange(300)[:, None, None] % 200).astype(np.uint8).repeat(4, 1).repeat(4, 2)
    for data in (stack(tiny, IMAGEJ.replace("3", "300")), chain(300)):
        image = decode(data, rendering=Rendering(page=290))
        assert (image.rgb == 89).all()
        assert image.notes.page == 290


@pytest.mark.parametrize(
    "text", ['{"shape": [, 3]}', '{"shape": []}', f"ImageJ=1\nimages={'9' * 5000}\n", '{"shape": [3, 80', "ImageJ="]
)
def test_a_description_that_makes_no_sense_does_no_harm(text: str) -> None:
    assert probe(stack(PLANES, text)).notes.warnings == ()


@pytest.mark.parametrize("text", ["ImageJ=\n" * 500_000, '{"shape": [1, ' * 300_000, "ImageJ=" + "\n" * 4_000_000])
def test_a_long_description_takes_no_long_time(text: str) -> None:
    assert probe(stack(PLANES, text)).notes.warnings == ()


class TestChains:
    @pytest.mark.parametrize("pages", [1, 2, 3, 7, 150])
    @pytest.mark.parametrize("to", [0, 1, 6])
    @pytest.mark.parametrize("order", ["<", ">"])
    def test_one_that_leads_back_is_damaged_and_ends(self, pages: int, to: int, order: str) -> None:
        with pytest.raises(ItemError, match="leads back to an earlier page") as caught:
            probe(chain(pages, back_to=min(to, pages - 1), order=order))
        assert caught.value.code == "unreadable"

    def test_one_of_very_many_pages_is_not_followed(self) -> None:
        with tifffile.TiffFile(io.BytesIO(chain(41))) as file:
            require_end(file, pages_at_most=41)
            with pytest.raises(ItemError, match="more than 40 pages") as caught:
                require_end(file, pages_at_most=40)
        assert caught.value.code == "too_large"


def chain(pages: int, *, back_to: int | None = None, order: str = "<") -> bytes:
    """Tiny pages, each with a directory; the last one's leads to that of `back_to`, counted from 0."""
    start, length = b"II*\0" if order == "<" else b"MM\0*", 16 + 2 + 12 * 8 + 4
    out = bytearray(start + struct.pack(order + "I", 8 + 16))
    for page in range(pages):
        at, next_page = 8 + page * length, page + 1 if page + 1 < pages else back_to
        tags = [(256, 4), (257, 4), (258, 8), (259, 1), (262, 1), (273, at), (278, 4), (279, 16)]
        out += bytes([page % 200]) * 16 + struct.pack(order + "H", len(tags))
        out += b"".join(struct.pack(order + "HHII", code, 4, 1, value) for code, value in tags)
        out += struct.pack(order + "I", 0 if next_page is None else 8 + 16 + next_page * length)
    return bytes(out)
