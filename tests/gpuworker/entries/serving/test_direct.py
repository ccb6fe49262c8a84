import json
from typing import Any

from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import Station, until

from gpuworker.entries.serving.answers import Answer, problem
from gpuworker.entries.serving.direct import JOB, DirectRun, Form, Image
from gpuworker.storage.objects import StorageError
from gpuworker.tasks.base import Encoded

ENCODED = Encoded(
    files={},
    record={"status": "ok", "metadata": {"wall_px": 7}},
    fragment={"image": {"id": 1}, "annotations": [{"id": 1}]},
)


def body(**form: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Form(**form).body(ENCODED))
    return document


def answered(station: Station, data: bytes | Exception) -> tuple[list[Answer], DirectRun]:
    """What a run of one image answers, in work on a station's stream."""
    answers: list[Answer] = []

    def fetch() -> bytes:
        if isinstance(data, Exception):
            raise data
        return data

    image = Image(name="folder/plan.one.png", size=4, options={}, fetch=fetch)
    shard_run = DirectRun(image, task="fake", form=Form(), on_answer=answers.append)
    station.context(FakeTask()).stream.add(shard_run, [0])
    until(lambda: answers)
    return answers, shard_run


def test_record_is_the_answer_with_metadata_beside_the_tasks_own() -> None:
    assert body() == ENCODED.record
    assert body(metadata={"plan": 1})["metadata"] == {"wall_px": 7, "plan": 1}
    assert body(metadata={})["metadata"] == {"wall_px": 7}
    assert body(variant="b")["info"] == {"variant": "b"}


def test_coco_has_what_all_documents_share() -> None:
    coco = body(header={"info": {"version": "1"}, "categories": []}, variant="b", metadata={"plan": 1})
    assert coco["info"] == {"version": "1", "variant": "b"}
    assert (coco["images"], coco["annotations"]) == ([{"id": 1}], [{"id": 1, "image_id": 1}])
    assert coco["metadata"] == {"plan": 1}


def test_image_is_answered_once_and_named_by_its_file(station: Station) -> None:
    answers, shard_run = answered(station, b"tree")
    shard_run.give_up(problem(503, "time_is_up", "too late"))
    assert [answer.status for answer in answers] == [200]
    assert json.loads(answers[0].body)["images"][0]["file_name"] == "folder/plan.one.png"
    assert (shard_run.shard.job, shard_run.shard.items[0].output) == (JOB, "plan.one")


def test_bucket_that_does_not_answer_is_not_the_images_fault(station: Station) -> None:
    [answer], _ = answered(station, StorageError("the bucket does not answer"))
    assert (answer.status, answer.code) == (500, "failed")


def test_image_given_up_is_dropped_wherever_it_is(station: Station) -> None:
    answers: list[Answer] = []
    task = FakeTask()
    image = Image(name="plan.png", size=4, options={}, fetch=lambda: b"tree")
    shard_run = DirectRun(image, task="fake", form=Form(), on_answer=answers.append)
    shard_run.give_up(problem(503, "draining", "this instance ends"))
    stream = station.context(task).stream
    stream.add(shard_run, [0])
    other = DirectRun(image, task="fake", form=Form(), on_answer=answers.append)
    stream.add(other, [0])
    until(lambda: len(answers) == 2)
    assert [answer.status for answer in answers] == [503, 200]
    assert len(task.batches) == 1
