import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tests.gpuworker.entries.serving.asgi import happened, send, sent
from tests.gpuworker.entries.serving.container import Reply
from tests.gpuworker.fake_task import FakeTask
from tests.gpuworker.station import PIPELINE, Station, until
from tests.hostile_messages import HOSTILE

from gpuworker.entries.serving.answers import problem
from gpuworker.entries.serving.app import REQUESTS_AT_MOST, App
from gpuworker.entries.serving.service import Service, State
from gpuworker.entries.serving.shards import Stop
from gpuworker.ledger import ShardState

Serve = Callable[..., tuple[App, Service, FakeTask]]
JSON = "application/json"


@pytest.fixture
def serve(station: Station) -> Iterator[Serve]:
    """An app whose model is loaded."""
    services: list[Service] = []

    def serve(*, item_timeout_s: float = 20.0, options: Any = None, **settings: Any) -> tuple[App, Service, FakeTask]:
        task = FakeTask()
        service = Service(station.settings(variant="main", **settings), station.log, heartbeat_s=0.05)
        service.open(station.context(task, machine="main/one", item_timeout_s=item_timeout_s), options or {})
        services.append(service)
        return App(service), service, task

    yield serve
    FakeTask.let_go.set()
    for service in services:
        service.close()


def document(**fields: Any) -> bytes:
    return json.dumps(fields).encode()


# --- the contract of a container ---


def test_ping_answers_200_only_when_the_model_is_loaded_and_stays(station: Station) -> None:
    service = Service(station.settings(), station.log)
    app = App(service)

    def ping() -> int:
        return sent(app, method="GET", path="/ping").status

    assert ping() == 503
    service.open(station.context(), {})
    assert ping() == 200
    service.drain()
    assert ping() == 503


@pytest.mark.parametrize(
    ("token", "status"), [("", 403), ("wrong", 403), ("the container's ow", 403), ("the container's own", 200)]
)
def test_where_a_token_is_asked_for_nobody_is_answered_without(station: Station, token: str, status: int) -> None:
    # given a container on a machine that others use too, whose port anybody may connect to
    service = Service(station.settings(), station.log)
    app = App(service, caller_token="the container's own")
    service.open(station.context(), {})
    headers = {"x-gpupipe-caller-token": token} if token else {}
    # then neither an image nor an object of the bucket is to be had without its token
    item = station.upload("plan.txt", "tree")
    assert sent(app, document(bucket=station.name, key=item.key), JSON, headers=headers).status == status
    assert sent(app, method="GET", path="/ping", headers=headers).status == status
    service.close()


@pytest.mark.parametrize("state", [State.STARTING, State.DRAINING, State.STUCK])
def test_request_that_cannot_be_taken_now_is_told_why(station: Station, state: State) -> None:
    service = Service(station.settings(), station.log)
    service.state = state
    reply = sent(App(service), b"tree")
    assert (reply.status, reply.code) == (503, state)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/", 404), ("POST", "/models", 404), ("GET", "/invocations", 405), ("POST", "/ping", 405)],
)
def test_other_paths_and_methods_are_named(serve: Serve, method: str, path: str, status: int) -> None:
    reply = sent(serve()[0], method=method, path=path)
    assert reply.status == status
    assert reply.message
    if status == 405:
        assert reply.headers["allow"]


def test_head_of_ping_has_no_body(serve: Serve) -> None:
    reply = sent(serve()[0], method="HEAD", path="/ping")
    assert (reply.status, reply.body) == (200, b"")


def test_more_requests_than_the_process_holds_are_refused(serve: Serve) -> None:
    app, service, _ = serve()
    service.in_work = REQUESTS_AT_MOST
    assert (sent(app, b"tree").status, sent(app, b"tree").code) == (503, "overloaded")
    assert service.in_work == REQUESTS_AT_MOST


def test_app_on_loopback_answers_programs_only(serve: Serve) -> None:
    _, service, _ = serve()
    app = App(service, local_only=True)
    own = {"host": "127.0.0.1:8080"}
    assert sent(app, b"tree", headers=own).status == 200
    assert sent(app, b"tree", headers={**own, "origin": "http://evil.example"}).status == 403
    assert sent(app, method="GET", path="/ping", headers={"host": "evil.example"}).status == 403


# --- one image ---


def test_image_gives_the_tasks_record_with_its_variant(serve: Serve) -> None:
    reply = sent(serve()[0], b"tree")
    assert reply.status == 200
    assert reply.json["annotations"][0]["caption"] == "seen tree"
    assert reply.json["images"][0]["file_name"] == "image.png"
    assert reply.json["info"] == {"engine": "fake", "variant": "main"}
    assert reply.headers["content-type"] == JSON


def test_coco_is_made_of_header_and_fragment(serve: Serve) -> None:
    reply = sent(serve()[0], b"tree", headers={"accept": "application/json; format=coco"})
    assert set(reply.json) == {"info", "licenses", "categories", "images", "annotations"}
    assert reply.json["images"] == [{"id": 1, "file_name": "image.png"}]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"bad", 400, "unreadable"),
        (b"refuse", 422, "unsupported"),
        (b"bug", 500, "internal_error"),
        (b"bug-in-model", 500, "internal_error"),
    ],
)
def test_image_that_fails_is_answered_with_its_problem(serve: Serve, body: bytes, status: int, code: str) -> None:
    reply = sent(serve()[0], body)
    assert (reply.status, reply.code) == (status, code)
    assert reply.message


def test_wrong_type_of_body_or_answer_is_refused_before_the_body_is_read(serve: Serve) -> None:
    app, _, task = serve()
    assert sent(app, b"tree", "image/gif").status == 415
    assert sent(app, b"tree", headers={"accept": "text/html"}).status == 406
    assert task.batches == []


def test_image_above_the_tasks_own_limit_is_refused(serve: Serve) -> None:
    app = serve(options={"max_bytes": 10})[0]
    assert sent(app, [b"x" * 6, b"x" * 6]).status == 413
    assert sent(app, b"x", headers={"content-length": "11"}).status == 413
    assert sent(app, b"tree").status == 200


def test_an_engine_that_is_loaded_for_a_request_does_not_keep_the_container_from_answering(station: Station) -> None:
    class Loading(FakeTask, own={"loaded"}):
        loaded = threading.Event()

        def shard_header(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
            assert self.loaded.wait(20)
            return super().shard_header(options)

    service = Service(station.settings(), station.log)
    service.open(station.context(Loading(), machine="main/one"), {})
    app = App(service)

    async def ping_meanwhile() -> tuple[Reply, Reply]:
        image = asyncio.create_task(send(app, b"tree", headers={"accept": "application/json; format=coco"}))
        await asyncio.sleep(0)
        try:
            ping = await asyncio.wait_for(send(app, method="GET", path="/ping"), 10)
        finally:
            Loading.loaded.set()
        return ping, await image

    assert [reply.status for reply in asyncio.run(ping_meanwhile())] == [200, 200]


def test_concurrent_images_share_batches_with_each_other(serve: Serve) -> None:
    app, _, task = serve(options={"sleep_s": 0.05})

    async def many() -> list[Reply]:
        return await asyncio.gather(*(send(app, b"tree") for _ in range(12)))

    assert {reply.status for reply in asyncio.run(many())} == {200}
    assert max(len(batch) for batch in task.batches) > 1


def test_client_that_goes_away_frees_its_image(serve: Serve) -> None:
    app, service, task = serve()
    stream = service.context.stream

    async def leaving() -> list[Reply]:
        gone = asyncio.Event()
        first = asyncio.create_task(send(app, b"hang-in-model"))
        await happened(lambda: task.batches)
        others = [asyncio.create_task(send(app, b"house", gone=gone)) for _ in range(3)]
        await happened(lambda: stream.inference.ready.qsize() == 3)
        gone.set()
        left = [await other for other in others]
        FakeTask.let_go.set()
        return [await first, *left]

    replies = asyncio.run(asyncio.wait_for(leaving(), 60))
    assert [reply.status for reply in replies] == [200, 0, 0, 0]
    assert sent(app, b"boat").status == 200
    assert sum(len(batch) for batch in task.batches) == 2, "those of whom went away never reached the model"
    assert service.in_work == 0
    until(lambda: stream.budget.used_bytes == 0)


def test_image_whose_time_is_over_is_answered(serve: Serve) -> None:
    app = serve(invocation_timeout_s=0.2)[0]
    reply = sent(app, b"hang-in-model")
    assert (reply.status, reply.code) == (503, "time_is_up")


def test_decoder_that_hangs_is_answered_and_others_go_on(serve: Serve) -> None:
    app = serve(item_timeout_s=0.3)[0]
    reply = sent(app, b"hang")
    assert (reply.status, reply.code) == (500, "timeout")
    assert sent(app, b"tree").status == 200


def test_model_that_hangs_ends_every_request(serve: Serve, station: Station) -> None:
    app, service, task = serve(item_timeout_s=0.3)
    [shard] = station.job(["tree"], send=False)

    async def stuck() -> list[Reply]:
        requests = [asyncio.create_task(send(app, b"hang-in-model"))]
        await happened(lambda: task.batches)
        requests.append(asyncio.create_task(send(app, shard.to_json().encode(), JSON)))
        await happened(lambda: station.row(shard).state is ShardState.RUNNING)
        await happened(lambda: (service.tick(), service.state is State.STUCK)[1])
        return [await request for request in requests]

    image, of_shard = asyncio.run(asyncio.wait_for(stuck(), 60))
    assert (image.status, image.code) == (500, "timeout")
    assert (of_shard.status, of_shard.code) == (500, "failed")
    assert sent(app, method="GET", path="/ping").status == 503
    assert (station.row(shard).state, station.row(shard).started) == (ShardState.PENDING, 1)


# --- an image of S3 ---


def test_image_of_the_bucket_is_read_and_metadata_given_back(serve: Serve, station: Station) -> None:
    item = station.upload("plan.txt", "tree")
    body = document(bucket=station.name, key=item.key, metadata={"plan": 7})
    reply = sent(serve()[0], body, JSON)
    assert reply.status == 200
    assert reply.json["metadata"] == {"plan": 7}
    assert reply.json["images"][0]["file_name"] == item.key


def test_image_of_another_bucket_is_read_where_that_is_allowed(serve: Serve, station: Station) -> None:
    station.client("s3").create_bucket(Bucket=f"{station.name}-other")
    station.client("s3").put_object(Bucket=f"{station.name}-other", Key="a.png", Body=b"tree")
    assert sent(serve()[0], document(bucket=f"{station.name}-other", key="a.png"), JSON).status == 200


def test_image_that_is_not_there_is_unprocessable(serve: Serve, station: Station) -> None:
    app = serve()[0]
    reply = sent(app, document(bucket=station.name, key="inputs/none.png"), JSON)
    assert (reply.status, reply.code) == (422, "not_found")
    reply = sent(app, document(bucket=f"{station.name}-nobody", key="none.png"), JSON)
    assert (reply.status, reply.code) == (422, "not_found")
    assert "s3:GetObject" in reply.message


def test_object_larger_than_allowed_is_not_read(serve: Serve, station: Station) -> None:
    item = station.upload("large.txt", "x" * 50)
    reply = sent(serve(options={"max_bytes": 10})[0], document(bucket=station.name, key=item.key), JSON)
    assert (reply.status, reply.code) == (413, "too_large")


def test_what_lies_beside_an_image_goes_with_the_request(serve: Serve, station: Station) -> None:
    item, beside = station.upload("plan.txt", "beside"), {"boxes": [{"x": 1}]}
    app = serve()[0]
    reply = sent(app, document(bucket=station.name, key=item.key, sidecar=beside), JSON)
    assert reply.json["annotations"][0]["caption"] == f"seen {beside}"
    reply = sent(app, document(bucket=station.name, key=item.key, sidecar=[1]), JSON)
    assert (reply.status, reply.code) == (400, "bad_request")
    assert "'sidecar' is not an object" in reply.message


def test_options_of_a_request_go_over_those_of_the_model(serve: Serve, station: Station) -> None:
    app = serve(options={"sleep_s": 0, "fits": 99})[0]
    item = station.upload("plan.txt", "tree")
    asked = {"bucket": station.name, "key": item.key}
    assert sent(app, document(**asked, options={"fits": 0}), JSON).code == "out_of_memory"
    reply = sent(app, document(**asked, options={"fit": 0}), JSON)
    assert (reply.status, reply.code) == (422, "bad_options")
    assert "'fits'" in reply.message


@pytest.mark.parametrize(
    ("body", "code"), [(b"", "empty"), (b"{", "bad_json"), (b"[]", "bad_json"), (b'{"key": "k"}', "bad_request")]
)
def test_json_that_is_no_request_is_bad(serve: Serve, body: bytes, code: str) -> None:
    reply = sent(serve()[0], body, JSON)
    assert (reply.status, reply.code) == (400, code)


def test_no_document_is_a_fault_of_the_container(serve: Serve) -> None:
    # a 5xx would have a deployment go back, and the caller try again
    app = serve()[0]
    for kind, body in HOSTILE.items():
        reply = sent(app, body.encode(errors="surrogatepass"), JSON)
        assert 400 <= reply.status < 500, kind


def test_json_has_a_limit_of_its_own(serve: Serve) -> None:
    reply = sent(serve()[0], b"{", JSON, headers={"content-length": str(1 << 30)})
    assert (reply.status, reply.headers["connection"]) == (413, "close")


# --- a shard ---


def test_shard_is_worked_on_to_its_commit(serve: Serve, station: Station) -> None:
    [shard] = station.job(["tree", "bad"], send=False)
    reply = sent(serve()[0], shard.to_json().encode(), JSON)
    assert reply.json == {"status": "done", "job": shard.job, "number": 0, "generation": 0, "done": 1, "failed": 1}
    assert station.commit(shard) is not None


def test_shards_and_images_share_the_model(serve: Serve, station: Station) -> None:
    app, _, task = serve(options={"sleep_s": 0.02})
    shards = station.job(["tree"] * 8, shard_items=4, send=False, sleep_s=0.02)

    async def all_of_it() -> list[Reply]:
        shard_requests = [send(app, shard.to_json().encode(), JSON) for shard in shards]
        return await asyncio.gather(*shard_requests, *(send(app, b"tree") for _ in range(4)))

    assert {reply.status for reply in asyncio.run(all_of_it())} == {200}
    assert any(len(set(batch)) > 1 for batch in task.batches)


def test_second_copy_of_a_shard_is_told_that_it_is_in_work(serve: Serve, station: Station) -> None:
    app, _, task = serve()
    [shard] = station.job(["hang-in-model"] * 8, send=False)
    body = shard.to_json().encode()

    async def twice() -> list[str]:
        first = asyncio.create_task(send(app, body, JSON))
        await happened(lambda: task.batches)
        second = await send(app, body, JSON)
        FakeTask.let_go.set()
        return [(await first).json["status"], second.json["status"]]

    assert asyncio.run(asyncio.wait_for(twice(), 60)) == ["done", "elsewhere"]
    assert sent(app, body, JSON).json["status"] == "over"
    assert station.ledger.totals(shard.job).done == 8


def test_no_more_shards_run_at_once_than_allowed(serve: Serve, station: Station) -> None:
    app = serve(max_concurrency=1)[0]
    shards = station.job(["tree"] * 3, shard_items=1, send=False, sleep_s=0.1)

    async def all_of_them() -> tuple[int, list[Reply]]:
        requests = [asyncio.create_task(send(app, shard.to_json().encode(), JSON)) for shard in shards]
        most = 0
        while not all(request.done() for request in requests):
            rows = await asyncio.to_thread(lambda: [station.row(shard).state for shard in shards])
            most = max(most, rows.count(ShardState.RUNNING))
            await asyncio.sleep(0.02)
        return most, [await request for request in requests]

    most, replies = asyncio.run(all_of_them())
    assert most == 1
    assert [reply.json["status"] for reply in replies] == ["done"] * 3


def test_shard_of_another_task_is_marked_dead_once_and_for_all(serve: Serve, station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    other = {**json.loads(shard.to_json()), "task": "paint"}
    reply = sent(serve()[0], json.dumps(other).encode(), JSON)
    assert (reply.status, reply.code) == (422, "unusable_shard")
    row = station.row(shard)
    assert (row.state, "paint" in row.reason) == (ShardState.DEAD, True)


def test_shard_of_another_pipeline_is_refused_and_left_to_that(serve: Serve, station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    other = {**json.loads(shard.to_json()), "pipeline": "other"}
    reply = sent(serve()[0], json.dumps(other).encode(), JSON)
    assert (reply.status, reply.code) == (422, "foreign_shard")
    assert station.row(shard).state is ShardState.PENDING


def test_shard_of_a_newer_contract_is_marked_dead(serve: Serve, station: Station) -> None:
    [shard] = station.job(["tree"], send=False)
    newer = {**json.loads(shard.to_json()), "version": 99}
    assert sent(serve()[0], json.dumps(newer).encode(), JSON).status == 422
    assert station.row(shard).state is ShardState.DEAD


def test_shard_that_names_nothing_is_refused_and_nothing_marked_dead(serve: Serve) -> None:
    body = document(job="j", number="x", generation=0, pipeline=PIPELINE, items=[])
    reply = sent(serve()[0], body, JSON)
    assert (reply.status, reply.code) == (422, "unusable_shard")


def test_caller_that_goes_away_has_its_shard_given_back(serve: Serve, station: Station) -> None:
    app, service, _ = serve()
    [shard] = station.job(["tree"] * 8, send=False, halts_after=4)

    async def leaving() -> Reply:
        gone = asyncio.Event()
        request = asyncio.create_task(send(app, shard.to_json().encode(), JSON, gone=gone))
        await happened(lambda: station.row(shard).progress)
        gone.set()
        return await request

    assert asyncio.run(asyncio.wait_for(leaving(), 60)).status == 0
    row = station.row(shard)
    assert (row.state, row.started) == (ShardState.PENDING, 0)
    assert service.in_work == 0


def test_shard_whose_time_is_over_is_given_back(serve: Serve, station: Station) -> None:
    app, service, _ = serve(invocation_timeout_s=0.5)
    [shard] = station.job(["tree"] * 8, send=False, halts_after=4)

    async def ticking() -> Reply:
        request = asyncio.create_task(send(app, shard.to_json().encode(), JSON))
        await happened(lambda: (service.tick(), request.done())[1])
        return await request

    reply = asyncio.run(asyncio.wait_for(ticking(), 60))
    assert (reply.status, reply.code) == (503, "time_is_up")
    assert reply.body.index(b"time_is_up") < 100, "callers are shown the beginning only"
    assert station.row(shard).state is ShardState.PENDING


def test_give_up_answers_what_is_left(serve: Serve, station: Station) -> None:
    app, service, _ = serve()
    [shard] = station.job(["tree"] * 8, send=False, halts_after=4)

    async def draining() -> list[Reply]:
        requests = [asyncio.create_task(send(app, shard.to_json().encode(), JSON))]
        await happened(lambda: station.row(shard).progress)
        service.drain()
        service.give_up(Stop.DRAINING, problem(503, "draining", "this instance ends"))
        return [await request for request in requests]

    [reply] = asyncio.run(asyncio.wait_for(draining(), 60))
    assert (reply.status, reply.code) == (503, "draining")
    assert reply.json["error"]["finished"] > 0
    until(lambda: station.row(shard).state is ShardState.PENDING)
