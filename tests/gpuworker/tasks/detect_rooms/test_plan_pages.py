"""`detect-rooms` on files of several pages: the first is said to be one of several, or each has its rooms."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from tests.gpuworker.tasks.detect_rooms.drawn import house, paper

from gpuworker.contract.items import ItemError, Source
from gpuworker.tasks.base import Encoded
from gpuworker.tasks.detect_rooms.task import DetectRooms


def scan(*pages: NDArray[np.uint8]) -> bytes:
    """In grey, as scanners of documents write it."""
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for page in pages:
            writer.write(page[:, :, 0], photometric="minisblack", metadata=None, contiguous=False, compression="zlib")
    return out.getvalue()


def done(data: bytes, **options: Any) -> Encoded:
    task, wanted = DetectRooms(), {"labels": "off", **options}
    task.load("cpu", wanted)
    decoded = task.decode(data, Source(output="plans", file_name="plans.tif"), wanted)
    (result,) = task.run([decoded], wanted)
    assert not isinstance(result, ItemError)
    return task.encode(decoded, result, wanted)


ONE_ROOM = paper()
ONE_ROOM[50:350, 50:550] = 0
ONE_ROOM[60:340, 60:540] = 255
SHEETS = scan(house(), paper(), ONE_ROOM)


def test_the_first_plan_and_the_pages_that_were_left() -> None:
    encoded = done(SHEETS)
    assert encoded.record["room_count"] == 2
    assert (encoded.record["page"], encoded.record["pages_left"]) == (1, [2, 3])
    assert encoded.record["warnings"]["pages_left"].endswith("Left: 2, 3.")
    assert encoded.fragment["image"]["warnings"] == ["pages_left"]
    assert encoded.counts == {"annotations": 2, "rooms": 2, "pages_left": 1}


def test_a_page_by_its_number() -> None:
    record = done(SHEETS, pages=3).record
    assert (record["room_count"], record["page"]) == (1, 3)
    assert "warnings" not in record


def test_every_page_has_its_rooms_and_one_without_says_why() -> None:
    encoded = done(SHEETS, pages="all")
    record = encoded.record
    assert [(room["id"], room["page"]) for room in record["rooms"]] == [(1, 1), (2, 1), (3, 3)]
    assert [page["room_count"] for page in record["pages"]] == [2, 0, 1]
    assert record["pages"][1]["reason_code"] == "no_ink"
    assert set(record["warnings"]) == {"no_rooms"}
    assert encoded.counts == {"annotations": 3, "rooms": 3, "no_rooms": 1}
    assert [len(more["annotations"]) for more in encoded.fragment["more"]] == [0, 1]
    assert {"overlay.jpg", "pages/2/overlay.jpg", "pages/3/overlay.jpg"} <= set(encoded.files)


def test_memory_of_all_pages_is_asked_for() -> None:
    task, source = DetectRooms(), Source(output="a", file_name="a.tif")
    one, all_three = (task.decoded_bytes(SHEETS, source, {"pages": pages}) for pages in ("first", "all"))
    assert all_three == 3 * one


@pytest.mark.parametrize(("pages", "message"), [(0, "a page from 1"), ("some", "first or all"), (True, "a page")])
def test_what_is_no_page(pages: Any, message: str) -> None:
    assert message in DetectRooms().mistake_in({"pages": pages})
