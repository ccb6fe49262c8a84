"""The container's entry as a process, by SageMaker's contract."""

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from tests.gpuworker.entries.serving.container import Container, Reply
from tests.gpuworker.station import Station, until

from gpupipe.local.emulators import Emulators
from gpuworker.contract import Shard
from gpuworker.contract.documents import ENVIRONMENT_NAME
from gpuworker.ledger import JobState, ShardState

ENTRY = "gpuworker.entries.serve"
PHOTOS = Path(__file__).parents[3] / "src/gpupipe/examples/photos"


class Later:
    """A request in a thread of its own; its reply, or the exception it ended with."""

    def __init__(self, container: Container, shard: Shard) -> None:
        self._executor = ThreadPoolExecutor(1)
        self._future = self._executor.submit(container.invoke_shard, shard)

    def reply(self) -> Reply:
        return self._future.result(30)

    def error(self) -> BaseException | None:
        return self._future.exception(30)


@pytest.fixture(scope="module")
def serving(emulated: Emulators, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Container]:
    """One that goes on serving, for tests that only ask it; the folder of its model sets one of its options."""
    station = Station(local=emulated, folder=tmp_path_factory.mktemp("serving"))
    container = Container(station)
    model_config(station, '{"task_options": {"max_bytes": 1000}}')
    container.start("serve", task_options={"max_bytes": 10_000_000, "sleep_s": 0.01})
    yield container
    container.close()
    station.close()


def model_config(station: Station, text: str) -> None:
    path = station.folder / "model" / "config.json"
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_image_by_request_and_shard_by_request(serving: Container) -> None:
    # given
    station, before = serving.station, len(serving.events("request"))
    [shard] = station.job(["tree", "bad", "house"], send=False)
    # when
    image, of_shard = serving.invoke(b"tree"), serving.invoke_shard(shard)
    # then
    assert (image.status, image.json["annotations"][0]["caption"]) == (200, "seen tree")
    assert of_shard.json == {"status": "done", "job": shard.job, "number": 0, "generation": 0, "done": 2, "failed": 1}
    commit, job = station.commit(shard), station.ledger.job(shard.job)
    assert commit is not None
    assert job is not None
    assert (commit.machine, commit.engine["variant"], job.state) == ("main/one", "main", JobState.FINISHED)
    until(lambda: len(serving.events("request")) == before + 2)  # answers are sent first
    requests = serving.events("request")[before:]
    assert [(event["status"], event["path"]) for event in requests] == [(200, "/invocations")] * 2
    assert {event["machine"] for event in serving.events()} == {"main/one"}


def test_it_listens_while_the_model_is_loaded_and_is_ready_afterwards(container: Container) -> None:
    process = container.start(ready=False, task_options={"load_s": 1.0})
    until(lambda: container.ping() == 503 or process.poll() is not None)
    early = container.invoke(b"tree")
    assert (early.status, early.code) == (503, "starting")
    until(lambda: container.ping() == 200)
    assert container.invoke(b"tree").status == 200


def test_sagemakers_inference_id_is_in_the_log(serving: Container) -> None:
    headers = {"Content-Type": "image/png", "X-Amzn-SageMaker-Inference-Id": "job.0.0"}
    serving.ask("POST", "/invocations", b"tree", headers)
    until(lambda: any(event.get("inference_id") == "job.0.0" for event in serving.events("request")))


def test_logs_of_the_day_are_in_the_bucket_when_it_has_ended(station: Station, container: Container) -> None:
    process = container.start()
    container.invoke(b"bad")
    process.terminate()
    assert process.wait(20) == 0
    date = container.events()[0]["at"][:10]
    file = station.storage.read(f"logs/{date}/main-one.log")
    assert file is not None
    told = [json.loads(line)["event"] for line in file.data.splitlines()]
    assert {"task_loaded", "worker_ready", "request", "worker_ends"} <= set(told)


# --- bodies on a real socket ---


def test_client_that_sends_too_much_gets_its_answer(serving: Container) -> None:
    """The limit is the one in the folder of the model, which goes over the pipeline's."""
    reply = serving.invoke(b"x" * 5_000_000)
    assert (reply.status, reply.code) == (413, "too_large")
    reply = serving.invoke(iter([b"x" * 100_000] * 20))
    assert (reply.status, reply.code) == (413, "too_large")
    assert serving.invoke(b"tree").status == 200


def test_body_that_ends_early_does_no_harm(serving: Container) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", serving.port, timeout=10)
    connection.putrequest("POST", "/invocations")
    connection.putheader("Content-Type", "image/png")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b"half of it")
    connection.close()
    until(lambda: any(event.get("code") == "disconnected" for event in serving.events("request")))
    assert serving.invoke(b"tree").status == 200


def test_many_clients_are_served_in_batches(serving: Container) -> None:
    with ThreadPoolExecutor(16) as clients:
        replies = list(clients.map(lambda _: serving.invoke(b"tree"), range(64)))
    assert [reply.status for reply in replies] == [200] * 64


# --- ends ---


def test_told_to_end_it_takes_nothing_new_and_ends_what_it_has(station: Station, container: Container) -> None:
    [shard] = station.job(["tree"] * 12, send=False, sleep_s=0.25)
    process = container.start()
    working = Later(container, shard)
    until(lambda: station.row(shard).state is ShardState.RUNNING)
    process.send_signal(signal.SIGTERM)
    until(lambda: container.ping() == 503)
    refused = container.invoke(b"tree")
    assert (refused.status, refused.code) == (503, "draining")
    assert working.reply().json["status"] == "done"
    assert process.wait(20) == 0


@pytest.mark.exhaustive  # in one process: serving/test_app.py, test_give_up_answers_what_is_left
def test_told_to_end_it_gives_back_what_takes_too_long(station: Station, container: Container) -> None:
    [shard] = station.job(["tree"] * 8, send=False, halts_after=4)
    process = container.start()
    working = Later(container, shard)
    until(lambda: station.row(shard).state is ShardState.RUNNING)
    process.send_signal(signal.SIGTERM)
    assert process.wait(25) == 0
    reply = working.reply()
    assert (reply.status, reply.code) == (503, "draining")
    assert (station.row(shard).state, station.row(shard).started) == (ShardState.PENDING, 0)


def test_told_to_end_before_the_model_is_loaded_it_ends_at_once(container: Container) -> None:
    process = container.start(ready=False, task_options={"load_s": 15})
    until(lambda: container.ping() == 503)
    process.terminate()
    assert process.wait(5) == 0


@pytest.mark.exhaustive  # in one process: serving/test_app.py, test_model_that_hangs_ends_every_request
def test_model_that_hangs_ends_the_process_which_then_finds_the_culprit(station: Station, container: Container) -> None:
    # given a shard with an item that the model never returns from
    [shard] = station.job(["tree", "hang-in-model", "house"], send=False)
    process = container.start(item_timeout_s=1.0)
    # when
    reply = container.invoke_shard(shard)
    # then the caller is told, and the process ends for another to begin
    assert (reply.status, reply.code) == (500, "failed")
    assert "did not end within" in reply.message
    assert process.wait(20) == 75
    assert station.row(shard).started == 1
    # and that one knows what was in its hands
    container.start(item_timeout_s=1.0)
    assert container.invoke_shard(shard).json["status"] == "done"
    commit = station.commit(shard)
    assert commit is not None
    assert {failure.output: failure.code for failure in commit.failures} == {"001": "timeout"}


def test_item_that_kills_the_container_is_the_only_failure(station: Station, container: Container) -> None:
    # given
    [shard] = station.job(["tree"] * 6 + ["crash"] + ["tree"] * 6, send=False)
    process = container.start()
    # when it dies of an item, is started again, and the shard is sent again
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        container.invoke_shard(shard)
    assert process.wait(10) == -signal.SIGKILL
    container.start()
    assert station.ledger.requeue_shard(station.row(shard))
    reply = container.invoke_shard(shard)
    # then
    assert (reply.json["done"], reply.json["failed"]) == (12, 1)
    alone = container.events("suspects_run_alone")[0]
    assert alone["items"] < 13, "only what was in its hands ran alone"


@pytest.mark.exhaustive  # in one process: test_runner.py, test_redelivered_shard_skips_what_is_finished
def test_killed_in_the_middle_nothing_is_done_twice(station: Station, container: Container) -> None:
    [shard] = station.job(["tree"] * 40, send=False, sleep_s=0.05)
    process = container.start()
    working = Later(container, shard)
    until(lambda: len(_records(station, shard)) >= 5)
    process.kill()
    assert working.error() is not None
    process.wait()
    container.start()
    assert container.invoke_shard(shard).json["done"] == 40
    assert container.events("shard_continued")[0]["finished"] >= 5
    assert station.ledger.totals(shard.job).done == 40


def _records(station: Station, shard: Shard) -> list[Any]:
    prefix = f"processed/field7/{shard.job}/"
    listed = station.client("s3").list_objects_v2(Bucket=station.name, Prefix=prefix).get("Contents", [])
    return [entry for entry in listed if entry["Key"].endswith("annotations.json")]


# --- what keeps it from starting ---


def test_model_that_cannot_be_loaded_ends_it_with_an_error(container: Container) -> None:
    process = container.start(ready=False, task_options={"cannot_load": True})
    assert process.wait(60) == 1
    assert "there is no such model" in container.events("worker_failed")[0]["error"]


def test_mistakes_in_the_config_of_the_model_folder_are_named(station: Station, container: Container) -> None:
    model_config(station, '{"task_options": {"fit": 0}}')
    assert container.start(ready=False, task_options={"fits": 99}).wait(60) == 1
    assert "did you mean 'fits'" in container.events("worker_failed")[0]["error"]


def test_second_process_on_the_same_work_folder_says_so(serving: Container, container: Container) -> None:
    taken = {"GPUPIPE_WORK_DIR": str(serving.station.folder)}
    assert container.start(ready=False, environment=taken).wait(60) == 1
    assert "work folder of another worker" in container.events("worker_failed")[0]["error"]


@pytest.mark.parametrize(
    ("arguments", "variables", "says"),
    [
        (["train"], {}, "the only argument is 'serve'"),
        (["serve"], {}, "GPUPIPE_WORKER is missing"),
        (["serve"], {ENVIRONMENT_NAME: "{"}, "not a WorkerSettings document"),
    ],
)
def test_wrong_start_says_what_is_wrong(arguments: list[str], variables: dict[str, str], says: str) -> None:
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-m", ENTRY, *arguments], env=environment, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert says in done.stderr


def test_unknown_task_is_named(container: Container) -> None:
    assert container.start(module=ENTRY, ready=False, task="paint").wait(60) == 1
    assert "there is no task 'paint'" in container.said


def test_port_that_is_taken_is_named(serving: Container, container: Container) -> None:
    taken = {"SAGEMAKER_BIND_TO_PORT": str(serving.port)}
    assert container.start(module=ENTRY, ready=False, environment=taken, task="segment").wait(60) == 1
    assert "cannot listen on 127.0.0.1" in container.said


# --- a real task ---


@pytest.mark.exhaustive  # the same parts, apart: tasks/test_segment.py, serving/test_app.py, and the test below
def test_real_images_are_segmented(container: Container) -> None:
    # given
    container.start("serve", module=ENTRY, task="segment", task_options={"engine": "nanodet", "max_pixels": 10_000_000})
    cat, tiff = (PHOTOS / "cat.jpg").read_bytes(), (PHOTOS / "OSBS_029.tif").read_bytes()
    # when
    with ThreadPoolExecutor(4) as clients:
        replies = list(clients.map(lambda _: container.invoke(cat, "image/jpeg"), range(4)))
    # then
    for reply in replies:
        names = {category["id"]: category["name"] for category in reply.json["categories"]}
        assert "cat" in {names[one["category_id"]] for one in reply.json["annotations"]}
    options = replies[0].json["info"]["options"]
    assert (options["overlays"], options["masks"]) == (False, "none"), "nobody gets these files"
    coco = container.invoke(cat, "image/jpeg", accept="application/json; format=coco").json
    assert coco == replies[0].json
    assert container.invoke(tiff, "image/tiff").status == 200
    assert container.invoke(tiff, "image/heic").status == 200, "what the bytes are is seen by themselves"
    assert (container.invoke(cat[:5000], "image/jpeg").status, container.invoke(b"text").status) == (400, 422)


def test_rooms_of_a_floor_plan_are_found(container: Container) -> None:
    # given a plan of two rooms
    plan = np.full((400, 700), 255, np.uint8)
    for left in (40, 340):
        cv2.rectangle(plan, (left, 40), (left + 300, 360), 0, 10)
    png = cv2.imencode(".png", plan)[1].tobytes()
    container.start("serve", module=ENTRY, task="detect-rooms", task_options={"labels": "off"})
    # when
    rooms, coco = container.invoke(png), container.invoke(png, accept="application/json; format=coco")
    # then
    assert (rooms.status, rooms.json["room_count"], rooms.json["image_shape"][:2]) == (200, 2, [400, 700])
    assert [one["bbox"] for one in coco.json["annotations"]] == [room["bbox"] for room in rooms.json["rooms"]]
    assert (coco.json["categories"][0]["name"], coco.json["info"]["variant"]) == ("room", "main")
