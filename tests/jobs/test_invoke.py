"""invoke: one image to an endpoint of either mode, and whatever comes back."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.jobs.desk import Desk, a_config, a_desk, a_photo
from tests.jobs.runtime import (
    VARIANT,
    Asked,
    Runtime,
    Told,
    make_endpoint,
    model_error,
    serving,
    validation_error,
    with_runtime,
)
from tests.ticking import TickingClock

from gpupipe.config import Config
from gpupipe.errors import ConfigError, InputError, InvocationError, NotDeployedError, StoppedError, UsageError
from gpupipe.jobs.endpoints import choose_endpoint, describe
from gpupipe.jobs.invoke import Answer, InvokeProgress, invoke
from gpupipe.jobs.requests import REALTIME_BYTES_MAX
from gpupipe.local.emulators import Emulators

_numbers = itertools.count(1)
RECORD = {"room_count": 1, "rooms": [{"label": "KITCHEN", "area": 12}], "info": {"variant": VARIANT}}
UNREADABLE = json.dumps({"error": {"code": "unreadable", "message": "it is no JPEG."}})


@pytest.fixture
def runtime() -> Iterator[Runtime]:
    with serving() as running:
        yield running


@pytest.fixture
def realtime(emulated: Emulators, runtime: Runtime) -> Desk:
    return with_runtime(a_desk(emulated, f"now{next(_numbers)}", kind="endpoint", mode="realtime"), runtime)


@pytest.fixture
def later(emulated: Emulators, runtime: Runtime) -> Desk:
    """An asynchronous endpoint that is in service."""
    desk = with_runtime(a_desk(emulated, f"later{next(_numbers)}", kind="endpoint"), runtime)
    make_endpoint(desk.ctx, emulated)
    return desk


@pytest.fixture
def image(tmp_path: Path) -> str:
    return str(a_photo(tmp_path / "Haus plan ä.jpg"))


# --- realtime ---


def test_a_realtime_endpoint_is_sent_the_bytes_and_answers(realtime: Desk, runtime: Runtime, image: str) -> None:
    headers = {"x-Amzn-Invoked-Production-Variant": VARIANT}
    runtime.answers = lambda asked: Told(body=json.dumps(RECORD).encode(), headers=headers)
    answer = invoke(realtime.ctx, image, variant=VARIANT, accept="coco")
    # then the endpoint got exactly the file, and what was asked for
    (asked,) = runtime.asked
    assert asked.path == f"/endpoints/{realtime.ctx.aws.stack.endpoint('segment')}/invocations"
    assert asked.body == Path(image).read_bytes()
    assert asked.headers["content-type"] == "image/jpeg"
    assert asked.headers["accept"] == "application/json; format=coco"
    assert asked.headers["x-amzn-sagemaker-target-variant"] == VARIANT
    assert asked.headers["x-amzn-sagemaker-inference-id"] == answer.inference_id
    # and the answer tells who gave it
    assert (answer.result, answer.variant, answer.mode) == (RECORD, VARIANT, "realtime")
    assert answer.seconds > 0
    assert answer.document()["result"] == RECORD
    assert json.dumps(answer.document())


@pytest.mark.parametrize("name", ["really_png.jpg", "scan", "photo.jfif"])
def test_any_image_is_sent_as_what_it_is_whatever_its_name(
    realtime: Desk, runtime: Runtime, tmp_path: Path, name: str
) -> None:
    runtime.answers = lambda asked: Told(body=json.dumps(RECORD).encode())
    picture = tmp_path / name
    picture.write_bytes(b"\x89PNG\r\n\x1a\n1234")
    assert invoke(realtime.ctx, str(picture)).result == RECORD
    assert runtime.asked[0].headers["content-type"] == "image/png"


def test_heic_for_a_local_worker_without_pillow_heif_is_not_sent(
    realtime: Desk, runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    picture = tmp_path / "IMG_1.HEIC"
    picture.write_bytes(b"\0\0\0\x1cftypheic\0\0\0\0mif1heicmiaf")
    with pytest.raises(InputError, match=r"IMG_1\.HEIC") as refused:
        invoke(realtime.ctx, str(picture))
    assert "pip install 'gpupipe-aws[heif]'" in refused.value.hint
    assert runtime.asked == []


def test_what_the_model_refuses_is_told_in_its_words(realtime: Desk, runtime: Runtime, image: str) -> None:
    runtime.answers = lambda asked: model_error(400, UNREADABLE)
    with pytest.raises(InvocationError, match=r"it is no JPEG \(unreadable\)") as refused:
        invoke(realtime.ctx, image)
    assert image in refused.value.message
    assert "export it again" in refused.value.hint
    assert refused.value.exit_code == 1
    assert len(runtime.asked) == 1, "a refusal is no reason to ask again"


def test_too_large_for_realtime_is_refused_before_it_is_sent(realtime: Desk, runtime: Runtime, tmp_path: Path) -> None:
    large = a_photo(tmp_path / "large.jpg", b"x" * REALTIME_BYTES_MAX)
    with pytest.raises(InputError, match="at most 6 MB") as refused:
        invoke(realtime.ctx, str(large))
    assert "gpupipe run" in refused.value.hint
    assert runtime.asked == []


def test_an_endpoint_that_is_not_there_is_told(realtime: Desk, runtime: Runtime, image: str) -> None:
    runtime.answers = lambda asked: validation_error("Endpoint x of account 1 not found.")
    with pytest.raises(NotDeployedError, match="is not there") as missing:
        invoke(realtime.ctx, image)
    assert "gpupipe up" in missing.value.hint


def test_a_variant_that_does_not_exist_is_refused(realtime: Desk, image: str) -> None:
    with pytest.raises(UsageError, match="no variant 'minor'") as refused:
        invoke(realtime.ctx, image, variant="minor")
    assert VARIANT in refused.value.hint


# --- with more than the image ---


def asking(desk: Desk, body: bytes) -> dict[str, Any]:
    """The document that was sent; its image lies where it says."""
    document: dict[str, Any] = json.loads(body)
    assert document.pop("bucket") == desk.ctx.bucket
    assert desk.get(document.pop("key")).startswith(b"\xff\xd8\xff")
    return document


def test_prompts_and_options_are_sent_in_a_document_that_names_the_image(
    realtime: Desk, runtime: Runtime, image: str
) -> None:
    invoke(realtime.ctx, image, prompts=["Cars"], assignments=["score_threshold=0.2", "masks=labels"])
    (asked,) = runtime.asked
    assert asked.headers["content-type"] == "application/json"
    # what the endpoint does by itself is left out, so that each variant keeps its own
    assert asking(realtime, asked.body) == {"options": {"prompts": ["car"], "score_threshold": 0.2}}


def test_an_asynchronous_endpoint_reads_the_document_from_the_bucket(later: Desk, runtime: Runtime, image: str) -> None:
    given, asked = answering(later, output=b"{}")
    runtime.answers = given.answers
    invoke(later.ctx, image, prompts=["dog"], negative_prompts=["cat"])
    (request,) = asked
    assert request.headers["x-amzn-sagemaker-content-type"] == "application/json"
    body = later.get(request.location.removeprefix(f"s3://{later.ctx.bucket}/"))
    assert asking(later, body) == {"options": {"prompts": ["dog"], "negative_prompts": ["cat"]}}


def test_boxes_beside_the_image_go_with_it(emulated: Emulators, runtime: Runtime, image: str) -> None:
    model = {"weights": "facebook/sam3", "revision": "0" * 40}
    options = {"engine": "sam3"}
    desk = a_desk(emulated, "boxed", kind="endpoint", mode="realtime", model=model, task_options=options)
    with_runtime(desk, runtime)
    with pytest.raises(InputError, match=r"nothing to look for in Haus plan ä\.jpg"):
        invoke(desk.ctx, image)
    Path(f"{image}.prompts.json").write_text('{"boxes": [{"box": [1, 2, 3, 4]}]}')
    invoke(desk.ctx, image)
    box = {"x": 1, "y": 2, "width": 3, "height": 4, "is_positive": True, "prompt": ""}
    assert asking(desk, runtime.asked[0].body) == {"sidecar": {"boxes": [box]}}


def test_what_cannot_be_asked_is_refused_before_anything_is_sent(realtime: Desk, runtime: Runtime, image: str) -> None:
    for more, why in [
        ({"prompts": ["oak crown"]}, "does not know 'oak crown'"),
        ({"assignments": ["engine=sam3"], "prompts": ["oak"]}, "pipeline segment names none"),
        ({"assignments": ["tile_size=3"]}, "a whole number of pixels from 64"),
    ]:
        with pytest.raises(UsageError, match=why) as refused:
            invoke(realtime.ctx, image, **more)  # type: ignore[arg-type]
        assert refused.value.exit_code == 2
    assert (realtime.keys(), runtime.asked) == ([], [])


# --- asynchronous ---


def answering(desk: Desk, *, output: bytes | None = None, failure: bytes | None = None) -> tuple[Runtime, list[Asked]]:
    """What a runtime tells of where the answer will be; the object is there at once, or never."""
    place, asked_all = f"s3://{desk.ctx.bucket}", []

    def answers(asked: Asked) -> Told:
        asked_all.append(asked)
        if output is not None:
            desk.put("responses/1.out", output)
        if failure is not None:
            desk.put("errors/1.out", failure)
        headers = {
            "X-Amzn-SageMaker-OutputLocation": f"{place}/responses/1.out",
            "X-Amzn-SageMaker-FailureLocation": f"{place}/errors/1.out",
        }
        identity = asked.headers["x-amzn-sagemaker-inference-id"]
        return Told(status=202, body=json.dumps({"InferenceId": identity}).encode(), headers=headers)

    return Runtime(answers=answers), asked_all


def test_an_asynchronous_endpoint_reads_from_the_bucket_and_its_answer_is_awaited(
    later: Desk, runtime: Runtime, image: str
) -> None:
    given, asked = answering(later)
    runtime.answers = given.answers
    told: list[InvokeProgress] = []
    clock = later.ctx.aws.clock = TickingClock()

    def meanwhile() -> None:
        if len(clock.pauses) == 3:
            later.put("responses/1.out", json.dumps(RECORD).encode())

    clock.meanwhile = meanwhile
    answer = invoke(later.ctx, image, on_progress=told.append)
    # then the request named what was uploaded
    (request,) = asked
    key = request.location.removeprefix(f"s3://{later.ctx.bucket}/")
    assert key == f"requests/{answer.inference_id}/Haus-plan-.jpg"
    assert later.get(key) == Path(image).read_bytes()
    assert request.headers["x-amzn-sagemaker-content-type"] == "image/jpeg"
    assert len(answer.inference_id) <= 64
    # and the waiting ended with the answer, which tells who gave it
    assert (answer.result, answer.variant, len(clock.pauses)) == (RECORD, VARIANT, 3)
    assert answer.location == f"s3://{later.ctx.bucket}/responses/1.out"
    assert [now.step for now in told] == ["upload", "send", "wait"]
    assert told[-1].endpoint is not None
    assert told[-1].endpoint.status == "InService"


def test_a_failure_object_ends_the_waiting(later: Desk, runtime: Runtime, image: str) -> None:
    sentence = f'Received client error (400) from primary with message "{UNREADABLE}". See https://x for more.'
    runtime.answers = answering(later, failure=sentence.encode())[0].answers
    with pytest.raises(InvocationError, match=r"it is no JPEG \(unreadable\)"):
        invoke(later.ctx, image)


def test_ctrl_c_ends_the_waiting_and_says_where_the_answer_will_be(later: Desk, runtime: Runtime, image: str) -> None:
    runtime.answers = answering(later)[0].answers

    def press() -> None:
        raise KeyboardInterrupt

    later.ctx.aws.clock = TickingClock(meanwhile=press)
    with pytest.raises(StoppedError, match="the request goes on") as stopped:
        invoke(later.ctx, image)
    assert f"aws s3 cp s3://{later.ctx.bucket}/responses/1.out -" in stopped.value.hint
    assert stopped.value.exit_code == 130


def test_patience_ends(later: Desk, runtime: Runtime, image: str) -> None:
    runtime.answers = answering(later)[0].answers
    later.ctx.aws.clock = TickingClock()
    with pytest.raises(InvocationError, match=r"no answer to .+ within 60 s") as late:
        invoke(later.ctx, image, timeout_s=60)
    assert "responses/1.out" in late.value.hint


def test_a_pipeline_that_is_stopped_is_told(later: Desk, runtime: Runtime, image: str) -> None:
    runtime.answers = answering(later)[0].answers
    later.ctx.ledger.set_control("segment", paused=True)
    told: list[InvokeProgress] = []

    later.ctx.aws.clock = TickingClock(meanwhile=lambda: later.put("responses/1.out", b"{}"))
    invoke(later.ctx, image, on_progress=told.append)
    assert told[-1].is_paused


def test_an_endpoint_that_vanished_ends_the_waiting(emulated: Emulators, runtime: Runtime, image: str) -> None:
    desk = with_runtime(a_desk(emulated, f"gone{next(_numbers)}", kind="endpoint"), runtime)
    runtime.answers = answering(desk)[0].answers
    assert describe(desk.ctx) is None
    with pytest.raises(NotDeployedError, match="gpupipe up"):
        invoke(desk.ctx, image)


def test_an_asynchronous_request_cannot_choose_its_variant(later: Desk, image: str) -> None:
    with pytest.raises(UsageError, match="cannot choose its variant"):
        invoke(later.ctx, image, variant=VARIANT)


# --- before anything is sent ---


def test_what_is_no_image_is_refused_before_it_is_uploaded(later: Desk, runtime: Runtime, tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    renamed = tmp_path / "renamed.jpg"
    renamed.write_text("hello")
    for place, why in [
        (text, "is no image that pipeline segment takes"),
        (renamed, "its content is not that of a .jpg file"),
        (tmp_path, "is a folder"),
        (tmp_path / "none.jpg", "cannot read .*No such file"),
    ]:
        with pytest.raises(InputError, match=why):
            invoke(later.ctx, str(place))
    assert (later.keys(), runtime.asked) == ([], [])


def two(desk: Desk, **kinds: str) -> Config:
    """A stack with these pipelines: name -> kind."""
    one = a_config(desk.ctx.aws.stack)
    tables = {name: {"kind": kind, "task": "segment"} for name, kind in kinds.items()}
    return Config(stack=one.stack, pipelines=tables)


def test_the_only_endpoint_is_chosen(desk: Desk) -> None:
    aws = desk.ctx.aws
    both = two(desk, segment="queue", rooms="endpoint")
    assert choose_endpoint(aws, both, None).pipeline == "rooms"
    with pytest.raises(UsageError, match="has no endpoint") as refused:
        choose_endpoint(aws, both, "segment")
    assert "--pipeline rooms" in refused.value.hint
    assert "gpupipe run" in refused.value.hint
    with pytest.raises(UsageError, match="pipeline segment is of kind queue"):
        choose_endpoint(aws, two(desk, segment="queue"), None)
    with pytest.raises(ConfigError, match="several endpoints: one, other"):
        choose_endpoint(aws, two(desk, one="endpoint", other="endpoint"), None)
    with pytest.raises(ConfigError, match="no pipeline 'room'"):
        choose_endpoint(aws, both, "room")


def test_an_answer_that_is_no_json_is_bytes() -> None:
    answer = Answer(
        pipeline="p", image="i", mode="async", variant="", seconds=1, inference_id="x", content_type="", body=b"\x89PNG"
    )
    assert answer.document()["result"] is None
