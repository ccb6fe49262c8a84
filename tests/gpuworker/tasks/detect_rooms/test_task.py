"""The task from bytes to files: record, COCO and pictures agree, and bad input is an ItemError."""

from __future__ import annotations

import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from tests.gpuworker import pictures
from tests.gpuworker.tasks.detect_rooms.drawn import house, turned

import gpupipe.examples
from gpuworker.contract.items import ItemError, Source
from gpuworker.masks import coco
from gpuworker.tasks import make_task
from gpuworker.tasks.base import Encoded, Task
from gpuworker.tasks.detect_rooms.rooms import MAX_DECODE_PX
from gpuworker.tasks.detect_rooms.task import DetectRooms

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PLANS = Path(gpupipe.examples.__file__).parent / "plans"
ROOMS = {"cottage.png": 7, "house.png": 11, "offices.png": 15}


@cache
def task() -> Task:
    made = make_task("detect-rooms")
    made.load("cpu", {"labels": "off"})
    return made


def done(data: bytes, name: str = "plan.png", **options: Any) -> Encoded:
    source = Source(output=f"house/{name.partition('.')[0]}", file_name=f"house/{name}")
    options = {"labels": "off", **options}
    decoded = task().decode(data, source, options)
    (result,) = task().run([decoded], options)
    return task().encode(decoded, result, options)


class TestResult:
    @pytest.mark.parametrize("name", sorted(ROOMS))
    def test_the_example_plans_have_their_rooms(self, name: str) -> None:
        encoded = done((PLANS / name).read_bytes(), name)
        assert encoded.record["status"] == "success"
        assert encoded.record["room_count"] == len(encoded.record["rooms"]) == ROOMS[name]
        assert encoded.counts == {"annotations": ROOMS[name], "rooms": ROOMS[name]}

    def test_record_and_coco_agree(self, tmp_path: Path) -> None:
        encoded = done((PLANS / "house.png").read_bytes())
        path = tmp_path / "coco.json"
        path.write_text(json.dumps(coco.record(task().shard_header({"labels": "off"}), encoded.fragment)))
        document = COCO(str(path))
        assert [category["name"] for category in document.cats.values()] == ["room"]
        for room, annotation in zip(encoded.record["rooms"], document.loadAnns(document.getAnnIds()), strict=True):
            assert np.array(room["polygon"]).ravel().tolist() == annotation["segmentation"][0]
            assert (room["bbox"], room["area"]) == (annotation["bbox"], annotation["area"])
            mask = document.annToMask(annotation)
            assert mask.sum() == pytest.approx(room["area"], rel=0.03)

    def test_the_record_says_how_it_was_made(self) -> None:
        record = done(pictures.png(turned(house(), 2.0))).record
        assert record["image_shape"] == [400, 600, 3]
        assert record["metadata"]["file_name"] == "house/plan.png"
        assert record["metadata"]["engine"]["name"] == "opencv-rooms"
        assert record["metadata"]["options"]["epsilon_factor"] == 0.01
        assert record["metadata"]["skew_deg"] == pytest.approx(2.0, abs=0.15)
        assert record["metadata"]["wall_px"] == pytest.approx(10, abs=1)
        json.dumps(record)

    def test_refused_regions_are_counted(self) -> None:
        record = done(pictures.png(house()), min_area=70_000).record
        assert record["rejected"] == {"too_small": 2}
        assert record["rooms"] == []

    @pytest.mark.parametrize(("page", "polarity"), [(house(), "dark"), (255 - house(), "light")], ids=["dark", "light"])
    def test_the_record_says_what_was_taken_for_ink(self, page: np.ndarray, polarity: str) -> None:
        record = done(pictures.png(page)).record
        assert (record["room_count"], record["metadata"]["polarity"]) == (2, polarity)
        assert record["metadata"]["read_from"] == "grey"
        assert "reason" not in record

    def test_a_result_without_rooms_says_why_wherever_it_is_read(self) -> None:
        encoded = done(pictures.png(house()), min_area=70_000)
        assert encoded.record["reason_code"] == "all_refused"
        assert "(too_small)" in encoded.record["reason"]
        assert "min_area" in encoded.record["hint"]
        image = encoded.fragment["image"]
        assert image["warnings"] == ["no_rooms"]
        assert (image["reason"], image["hint"]) == (encoded.record["reason"], encoded.record["hint"])
        assert encoded.counts == {"annotations": 0, "rooms": 0, "no_rooms": 1}
        assert "no_rooms" in coco.record(task().shard_header({"labels": "off"}), encoded.fragment)["info"]["warnings"]

    def test_pictures_have_the_size_of_pictures(self) -> None:
        files = done(pictures.png(house())).files
        assert set(files) == {"overlay.jpg", "thumb.jpg"}
        overlay = cv2.imdecode(np.frombuffer(files["overlay.jpg"].data, np.uint8), cv2.IMREAD_COLOR)
        assert max(overlay.shape) == 800
        assert done(pictures.png(house()), overlays=False, thumbnails=False).files == {}

    def test_the_same_bytes_give_the_same_result(self) -> None:
        first, second = (done((PLANS / "cottage.png").read_bytes()) for _ in range(2))
        assert first == second


class TestSizes:
    @pytest.mark.parametrize("scale", [7, pytest.param(10, marks=pytest.mark.exhaustive)])
    def test_a_large_scan_is_answered_in_its_own_pixels(self, scale: int) -> None:
        # given one that is reduced for finding rooms
        size = (600 * scale, 400 * scale)
        assert max(size) >= 2 * MAX_DECODE_PX
        large = cv2.resize(house(door=(295, 150, 305, 210)), size, interpolation=cv2.INTER_NEAREST)
        # when
        rooms = done(pictures.png(large)).record["rooms"]
        # then
        assert len(rooms) == 2
        assert rooms[0]["area"] == pytest.approx(scale**2 * 235 * 280, rel=0.02)
        assert rooms[0]["bbox"] == pytest.approx([60 * scale, 60 * scale, 235 * scale, 280 * scale], abs=2 * scale)

    @pytest.mark.parametrize(
        "pixels",
        [house()[:, :, 0], house().astype(np.uint16) * 257, np.dstack([house(), np.full((400, 600), 255, np.uint8)])],
        ids=["grey", "16 bits", "alpha"],
    )
    def test_any_kind_of_pixels(self, pixels: np.ndarray) -> None:
        assert done(pictures.png(pixels)).record["room_count"] == 2

    @pytest.mark.parametrize("value", [0, 255], ids=["black", "white"])
    def test_lines_on_transparency(self, value: int) -> None:
        page = house()
        drawing = np.dstack([np.full_like(page, value), 255 - page[:, :, 0]])
        assert done(pictures.png(drawing)).record["room_count"] == 2

    @pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
    def test_a_negative_of_one_bit(self, photometric: str) -> None:
        ink = house()[:, :, 0] == 0
        data = pictures.tiff(ink if photometric == "minisblack" else ~ink, photometric=photometric)
        record = done(data, "plan.tif").record
        assert (record["room_count"], record["metadata"]["polarity"]) == (2, "light")

    def test_an_orientation_is_applied(self) -> None:
        stored = pictures.stored_as(house(), 6)
        assert done(pictures.jpeg(stored, orientation=6)).record["image_shape"] == [400, 600, 3]

    def test_one_pixel_has_no_room(self) -> None:
        assert done(pictures.png(np.zeros((1, 1, 3), np.uint8))).record["room_count"] == 0


class TestRefusals:
    @pytest.mark.parametrize(
        ("data", "code"),
        [(b"", "empty"), (b"no image at all", "unsupported"), (pictures.png(house())[:300], "truncated")],
    )
    def test_bad_bytes(self, data: bytes, code: str) -> None:
        with pytest.raises(ItemError) as caught:
            done(data)
        assert caught.value.code == code

    def test_too_many_pixels(self) -> None:
        with pytest.raises(ItemError) as caught:
            done(pictures.png(house()), max_pixels=1000)
        assert caught.value.code == "too_large"

    def test_memory_is_told_before_it_is_taken(self) -> None:
        data, source = pictures.png(house()), Source(output="a", file_name="a.png")
        assert task().decoded_bytes(data, source, {}) >= 400 * 600 * (3 + 24)
        assert task().decode(data, source, {"overlays": False}).cost_bytes >= 400 * 600 * 20

    def test_it_needs_more_memory_than_there_is(self) -> None:
        data, source = pictures.png(house()), Source(output="a", file_name="a.png")
        small = DetectRooms()
        small.use_memory(400 * 600 * 5)
        assert small.decoded_bytes(data, source, {}) == 0
        with pytest.raises(ItemError, match=r"needs 0\.01 GB of memory") as caught:
            small.decode(data, source, {})
        assert caught.value.code == "too_large"
        assert small.decode(data, source, {"max_pixels": 400 * 600}).payload[0].width == 600

    def test_a_large_plan_comes_as_a_file(self, tmp_path: Path) -> None:
        data, source = pictures.png(house()), Source(output="a", file_name="a.png")
        (tmp_path / "a").write_bytes(data)
        from_file = task().decode(tmp_path / "a", source, {})
        assert task().decoded_bytes(tmp_path / "a", source, {}) == task().decoded_bytes(data, source, {})
        assert (from_file.payload[0].rgb == task().decode(data, source, {}).payload[0].rgb).all()

    @pytest.mark.skipif(importlib.util.find_spec("rapidocr") is not None, reason="the OCR package is installed")
    def test_labels_without_the_package_are_refused_when_loading(self) -> None:
        with pytest.raises(ValueError, match=r"gpupipe-aws\[ocr\]"):
            make_task("detect-rooms").load("cpu", {"labels": "on"})
