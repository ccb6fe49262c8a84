"""`segment` on files of several pages: each is an image of its own in the item's one result."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask
import pytest
import tifffile
from numpy.typing import NDArray
from tests.gpuworker import pictures

from gpuworker.contract.items import ItemError, Source
from gpuworker.tasks.base import Decoded, Encoded
from gpuworker.tasks.pages import PAGES_AT_MOST
from gpuworker.tasks.segment.task import Segment

OPTIONS = {"engine": "colour", "overlays": True, "thumbnails": False}


def page(*places: tuple[int, int], side: int = 80) -> NDArray[np.uint8]:
    """Black with a red square of ten pixels at each place (x, y)."""
    rgb = np.zeros((side, side, 3), np.uint8)
    for x, y in places:
        rgb[y : y + 10, x : x + 10, 0] = 200
    return rgb


def stack(*pages: NDArray[np.uint8], **options: Any) -> bytes:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for pixels in pages:
            writer.write(pixels, photometric="rgb", metadata=None, contiguous=False, compression="zlib", **options)
    return out.getvalue()


def task() -> Segment:
    made = Segment({"colour": "tests.colour_engine:Colour"})
    made.load("cpu", OPTIONS)
    return made


def encoded(data: bytes, **options: Any) -> tuple[Encoded, Decoded]:
    segment, wanted = task(), OPTIONS | options
    decoded = segment.decode(data, Source(output="stack", file_name="stack.tif"), wanted)
    (result,) = segment.run([decoded], wanted)
    if isinstance(result, ItemError):
        raise result
    return segment.encode(decoded, result, wanted), decoded


PAGES = stack(page((5, 5)), page(), page((20, 30), (50, 8)))


def test_by_default_the_first_and_a_warning_that_names_the_others() -> None:
    record = encoded(PAGES)[0].record
    assert [image["pages_left"] for image in record["images"]] == [[2, 3]]
    assert record["images"][0]["warnings"] == ["pages_left"]
    assert record["info"]["warnings"]["pages_left"].endswith("Left: 2, 3.")
    assert len(record["annotations"]) == 1


def test_all_pages_are_images_of_their_own() -> None:
    result, decoded = encoded(PAGES, pages="all")
    images, annotations = result.record["images"], result.record["annotations"]
    assert [(image["id"], image["page"], image["file_name"]) for image in images] == [
        (1, 1, "stack.tif"),
        (2, 2, "stack.tif"),
        (3, 3, "stack.tif"),
    ]
    assert [(one["id"], one["image_id"]) for one in annotations] == [(1, 1), (2, 3), (3, 3)]
    boxes = {tuple(int(value) for value in one["bbox"][:2]) for one in annotations if one["image_id"] == 3}
    assert boxes == {(20, 30), (50, 8)}
    assert int(pycocotools.mask.area(annotations[0]["segmentation"])) == 100
    assert "warnings" not in result.record["info"]
    assert result.counts == {"annotations": 3}
    assert decoded.weight == 3


def test_the_fragment_has_the_pages_in_it_with_ids_of_their_own() -> None:
    fragment = encoded(PAGES, pages="all")[0].fragment
    assert fragment["image"]["page"] == 1
    assert [more["image"]["page"] for more in fragment["more"]] == [2, 3]
    assert [[one["id"] for one in more["annotations"]] for more in fragment["more"]] == [[], [1, 2]]


def test_files_of_later_pages_lie_in_folders_of_their_own() -> None:
    files = encoded(PAGES, pages="all")[0].files
    assert {"masks/stack_masks.tif", "overlay.jpg", "pages/3/masks/stack_masks.tif", "pages/3/overlay.jpg"} <= set(
        files
    )
    labels = tifffile.imread(io.BytesIO(files["pages/3/masks/stack_masks.tif"].data))
    assert sorted(np.unique(labels).tolist()) == [0, 1, 2]


def test_one_page_by_its_number() -> None:
    record = encoded(PAGES, pages=3)[0].record
    assert record["images"][0]["page"] == 3
    assert len(record["annotations"]) == 2
    assert "warnings" not in record["images"][0]


def test_pages_of_different_sizes_and_tiles() -> None:
    data = stack(page((5, 5)), page((100, 90), (30, 60), side=200))
    record = encoded(data, pages="all", tile_size=64)[0].record
    assert [(image["width"], image["height"]) for image in record["images"]] == [(80, 80), (200, 200)]
    assert [one["image_id"] for one in record["annotations"]] == [1, 2, 2]


def test_thumbnails_are_no_pages() -> None:
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        writer.write(page((5, 5))[::4, ::4], photometric="rgb", metadata=None, subfiletype=1)
        writer.write(page((5, 5)), photometric="rgb", metadata=None)
        writer.write(page((9, 9)), photometric="rgb", metadata=None)
    record = encoded(out.getvalue(), pages="all")[0].record
    assert [image["page"] for image in record["images"]] == [2, 3]


@pytest.mark.parametrize("pages", ["all", "first", 1])
def test_a_photograph_has_one_page(pages: str | int) -> None:
    record = encoded(pictures.png(page((5, 5))), pages=pages)[0].record
    assert len(record["images"]) == len(record["annotations"]) == 1
    assert "page" not in record["images"][0]


def test_a_damaged_page_fails_the_item() -> None:
    with pytest.raises(ItemError) as caught:
        encoded(PAGES[:-400], pages="all")
    assert caught.value.code in ("truncated", "unreadable")


def test_more_pages_than_there_is_memory_for_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "large.tif"
    path.write_bytes(stack(*[page(side=1000)] * 6))
    segment = task()
    segment.use_memory(30 * 1024**2)
    source = Source(output="large", file_name="large.tif")
    assert segment.decode(path, source, OPTIONS).weight == 1
    with pytest.raises(ItemError, match=r"its 6 pages need .* GB of memory together") as caught:
        segment.decode(path, source, OPTIONS | {"pages": "all"})
    assert caught.value.code == "too_large"
    assert segment.decoded_bytes(path, source, OPTIONS | {"pages": "all"}) > 5 * segment.decoded_bytes(
        path, source, OPTIONS
    )


def test_a_stack_without_end_is_refused() -> None:
    data = stack(*[page(side=12)] * (PAGES_AT_MOST + 1))
    with pytest.raises(ItemError, match=f"at most {PAGES_AT_MOST} are looked at") as caught:
        encoded(data, pages="all")
    assert caught.value.code == "too_large"
