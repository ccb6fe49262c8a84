import json
from typing import Any

import pytest
from tests.gpuworker.station import Station

from gpuworker.contract import Item, Shard
from gpuworker.contract.items import File
from gpuworker.pipeline import record
from gpuworker.pipeline.record import publish, read_record
from gpuworker.storage.objects import Object
from gpuworker.tasks.base import Encoded

ITEM = Item(key="inputs/field7/a/tree 1.jpg", etag="abc", size=3, output="a/tree 1")
SHARD = Shard(job="j", pipeline="p", project="field7", number=0, generation=2, task="fake", options={}, items=[ITEM])
NAME = "annotations.json"
ANNOTATIONS = [{"id": 1, "image_id": 1, "segmentation": {"counts": "x" * 500}}]
IMAGE = {"id": 1, "file_name": "a/tree 1.jpg"}


def encoded(**changes: Any) -> Encoded:
    return Encoded(
        files={"masks/tree 1_masks.tif": File(data=b"mask", content_type="image/tiff")},
        record={"info": {"version": "1"}, "images": [IMAGE], "annotations": ANNOTATIONS, **changes},
        fragment={"image": IMAGE, "annotations": ANNOTATIONS},
        counts={"annotations": 1},
    )


def published(station: Station) -> Any:
    seconds = {"decode": 0.1}
    return publish(station.storage, SHARD, ITEM, encoded(), record_name=NAME, seconds=seconds)


def test_published_item_can_be_taken_over(station: Station) -> None:
    # given
    result = published(station)
    # when another worker looks
    again = record.find_finished(station.storage, SHARD, ITEM, record_name=NAME)
    # then it knows all that the first one knew, checksums and versions included
    assert again == result
    assert set(result.artifacts) == {NAME, "masks/tree 1_masks.tif"}
    for artifact in result.artifacts.values():
        assert artifact.key.startswith("processed/field7/j/a/tree 1/")
        assert station.storage.get(artifact.key, version_id=artifact.version_id).data


def test_record_stays_the_tasks_document(station: Station) -> None:
    found = station.storage.read(published(station).artifacts[NAME].key)
    assert found is not None
    document = json.loads(found.data)
    section = document["info"].pop("gpupipe")
    assert document == encoded().record
    assert section["fragment_from_record"] == ["annotations"]
    assert found.data.count(b"xxxx" * 100) == 1, "the annotations are in it once"


@pytest.mark.parametrize(("job", "generation", "etag"), [("other", 2, "abc"), ("j", 3, "abc"), ("j", 2, "replaced")])
def test_record_of_something_else_is_not_taken(station: Station, job: str, generation: int, etag: str) -> None:
    found = station.storage.read(published(station).artifacts[NAME].key)
    assert found is not None
    item = Item(key=ITEM.key, etag=etag, size=3, output=ITEM.output)
    shard = Shard(
        job=job, pipeline="p", project="field7", number=0, generation=generation, task="t", options={}, items=[item]
    )
    assert read_record(found, shard, item, record_name=NAME) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"info": {"gpupipe": {"job": "j"}}}', b'{"info": 5}'])
def test_what_is_no_record_of_ours_is_not_taken(data: bytes) -> None:
    assert read_record(Object(data=data, etag="", version_id=""), SHARD, ITEM, record_name=NAME) is None


def test_unfinished_item_has_no_record(station: Station) -> None:
    assert record.find_finished(station.storage, SHARD, ITEM, record_name=NAME) is None


def test_record_without_info_is_stamped_at_its_top() -> None:
    plain = Encoded(files={}, record={"rooms": 3}, fragment={"rooms": 3})
    document = record.document_of(plain, SHARD, ITEM, {}, {})
    assert document["rooms"] == 3
    found = Object(data=json.dumps(document).encode(), etag="", version_id="7")
    result = read_record(found, SHARD, ITEM, record_name="rooms.json")
    assert result is not None
    assert result.fragment == {"rooms": 3}
    assert result.artifacts["rooms.json"].version_id == "7"
