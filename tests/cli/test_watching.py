"""A job on the screen: the live picture, plain lines, the document, and the words for money."""

from __future__ import annotations

import io
import json
import time
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console
from tests.toy_tasks import add_toys

from gpupipe.cli.screen import Screen
from gpupipe.cli.watching import document, jobs_table, picture, repeating, show_end, watching
from gpupipe.jobs.listing import JobSummary
from gpupipe.jobs.logs import LogLine
from gpupipe.jobs.watch import JobView
from gpupipe.kinds.endpoint import KIND as ENDPOINT_KIND
from gpupipe.kinds.endpoint.words import endpoint_text
from gpuworker.ledger import MachineRecord, Totals

JOB = "20261121-131423-field7-a166"


def view(*, state: str = "running", failed: int = 1, **more: Any) -> JobView:
    """A job half done."""
    now = time.time()
    machine = MachineRecord(
        machine="i-0abc",
        pipeline="segment",
        instance_type="g5.xlarge",
        zone="us-east-1a",
        market="spot",
        launched_at=now,
        price_usd_per_hour=1.0,
        run_started_at=now - 300,
    )
    job = JobSummary(
        job=JOB, project="field7", pipeline="segment", task="segment", kind="submitted", state=state, created_at=now
    )
    totals = Totals(items=200, done=99, failed=failed, pending=100 - failed + 1, shards=4, counts={"annotations": 300})
    log = [
        LogLine(at=now, source="worker", level="info", event="shard_done", job=JOB, fields={"name": "[red]x\x1b[2J"}),
        LogLine(at=now, source="guard", level="error", event="boom", fields={"traceback": "Traceback\n  deep"}),
    ]
    about: dict[str, Any] = {"items_per_s": 2.5, "seconds_left": 40.0, "cost_usd": 0.0123, "machines": [machine]}
    return JobView(**{"at": now, "job": job, "totals": totals, "log": log, **about, **more})


def test_tiles_of_a_large_image_are_counted() -> None:
    totals = Totals(items=1, running=1, shards=1, shards_open=1, parts=529, parts_done=210)
    large = view(totals=totals, failed=0)
    assert "210 of 529 tiles" in drawn(large)
    assert (document(large)["parts_done"], document(large)["parts"]) == (210, 529)


def test_a_list_of_jobs_counts_what_is_behind_a_running_shard_as_watching_does() -> None:
    seen = view(totals=Totals(items=80, progressed=33, running=47, shards=1, shards_open=1))
    out = io.StringIO()
    Console(file=out, width=100, no_color=True).print(jobs_table([(seen.job, seen)]))
    assert out.getvalue().splitlines()[-1].split() == [JOB, "running", "80", "33", "0", "0"]


def drawn(seen: JobView, *, is_local: bool = True, width: int = 100, height: int = 40) -> str:
    console = Console(file=io.StringIO(), width=width, height=height, no_color=True)
    console.print(picture(seen, console, is_local=is_local))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_picture_tells_everything_at_a_glance() -> None:
    seen = drawn(view(waiting=["No capacity for g5.xlarge in us-east-1a."]))
    for told in (JOB, "running", "100 of 200 images", "50%", "2.5 images/s, 40 s left", "300 things", "1 image; "):
        assert told in seen
    assert "i-0abc g5.xlarge us-east-1a spot, launched for 5 min" in seen
    assert "No capacity for g5.xlarge" in seen


def test_machines_are_shown_where_a_kind_has_any() -> None:
    assert "machines" in drawn(view(machines=[]))
    nothing_to_count = drawn(view(machines=[], unit="", backend_word="calls", backend="2 of at most 10 at work"))
    assert "machines" not in nothing_to_count
    assert "none" not in nothing_to_count
    assert "calls   2 of at most 10 at work" in nothing_to_count


def test_a_machine_is_shown_with_its_gpu_once_its_worker_has_told() -> None:
    [machine] = view().machines
    told = replace(machine, gpu_memory_bytes=7_900_000_000, gpu_memory_total_bytes=24_100_000_000)
    assert "GPU 7.9 of 24.1 GB" in drawn(view(machines=[told]))
    busy = replace(told, gpu_utilisation=0.874)
    assert "for 5 min, GPU 87% busy, 7.9 of 24.1 GB" in drawn(view(machines=[busy]))
    assert document(view(machines=[busy]))["machines"][0]["gpu_utilisation"] == 0.874
    assert "GPU" not in drawn(view())


def test_a_job_is_shown_with_how_busy_its_gpus_were() -> None:
    seen = view()
    totals = replace(seen.totals, seconds={"infer": 90.0, "gpu_observed": 100.0, "gpu_busy": 93.0})
    assert "93% busy while shards were worked on" in drawn(replace(seen, totals=totals))
    assert document(replace(seen, totals=totals))["gpu_busy"] == 0.93
    assert document(seen)["gpu_busy"] is None


def test_the_tail_of_the_log_is_one_line_each_and_gives_no_orders() -> None:
    seen = drawn(view())
    assert "shard_done" in seen
    assert "[red]x\N{REPLACEMENT CHARACTER}[2J" in seen
    assert "ERROR: boom" in seen
    assert "deep" not in seen


ENDPOINT = {
    "status": "InService",
    "mode": "async",
    "backlog": 3,
    "variants": [{"name": "main", "instance_type": "ml.m5.xlarge", "current": 1, "desired": 2, "weight": 1.0}],
}


def test_an_endpoint_is_told_with_its_instances() -> None:
    told = ENDPOINT_KIND.backend_text({"endpoint": ENDPOINT})
    seen = drawn(view(backend=told, backend_word=ENDPOINT_KIND.backend_word, unit=ENDPOINT_KIND.unit))
    assert "endpoint   InService; main: 1 of 2 ml.m5.xlarge; up to 3 requests queued or in work lately" in seen
    assert "instances  i-0abc" in seen
    assert document(view(guard={"endpoint": ENDPOINT}))["endpoint"] == ENDPOINT
    assert document(view())["endpoint"] is None


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({}, "InService; main: 1 of 2 ml.m5.xlarge; up to 3 requests queued or in work lately"),
        ({"backlog": 1}, "InService; main: 1 of 2 ml.m5.xlarge; up to 1 request queued or in work lately"),
        ({"status": "Failed", "failure": "No quota.", "variants": [], "backlog": 0}, "Failed; FAILED: No quota"),
        (
            {"backlog": None, "variants": [{"name": "a", "weight": 9}, {"name": "b", "current": 1, "desired": 1}]},
            "InService; a: 0 instances, weight 9; b: 1 instance, weight 0",
        ),
    ],
)
def test_an_endpoint_in_words(changed: dict[str, Any], told: str) -> None:
    assert endpoint_text({**ENDPOINT, **changed}) == told


def test_a_pipeline_of_machines_has_no_endpoint() -> None:
    assert endpoint_text(None) == endpoint_text({}) == ""


def test_a_low_terminal_has_no_room_for_the_log() -> None:
    assert "shard_done" not in drawn(view(), height=12)


@pytest.mark.parametrize("width", [40, 60, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    assert max(map(len, drawn(view(), width=width).splitlines())) <= width


@pytest.mark.parametrize(
    ("is_local", "told"), [(True, "nothing here, about $0.0123 on AWS"), (False, "$0.0123 so far")]
)
def test_money_is_said_to_be_spent_only_where_it_is(is_local: bool, told: str) -> None:
    assert told in drawn(view(), is_local=is_local)


def test_elsewhere_a_line_comes_only_when_something_changed_in_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Screen(), is_local=False) as show:
        show(view())
        show(view(failed=2))
        show(view(state="finished", items_per_s=3.0))
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("; ")[0] for line in lines] == [f"{JOB}: running", f"{JOB}: finished"]
    assert "100 of 200 images, 300 things found, 1 FAILED" in lines[0]


def test_the_engine_is_told_once_it_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    before = view()
    totals = replace(before.totals, engines=("nanodet: there is no GPU", "sam3"))
    after = replace(before, totals=totals)
    with watching(Screen(), is_local=False) as show:
        for seen in (before, after, after, replace(after, waiting=["Nothing."])):
            show(seen)
    lines = capsys.readouterr().err.splitlines()
    assert ["engine nanodet: there is no GPU and sam3" in line for line in lines] == [False, True, False]
    assert "nanodet: there is no GPU" in drawn(after)
    assert document(after)["engines"] == ["nanodet: there is no GPU", "sam3"]


def test_a_stream_has_a_json_line_a_look(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Screen, "has_answered", False)
    with watching(Screen(), is_local=True, as_jsonl=True) as show:
        show(view())
        show(view(state="finished"))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["state"] for line in lines] == ["running", "finished"]


def test_the_document_is_plain_json() -> None:
    plain = json.loads(json.dumps(document(view())))
    assert (plain["items"], plain["done"], plain["failed"], plain["counts"]) == (200, 99, 1, {"annotations": 300})
    assert plain["machines"][0]["type"] == "g5.xlarge"


def test_what_is_waited_for_is_said_once_and_again_when_it_changes(capsys: pytest.CaptureFixture[str]) -> None:
    say = repeating(Screen())
    for text in ("2 images lie there", "2 images lie there", "3 images lie there"):
        say(text)
    assert capsys.readouterr().err.splitlines() == ["2 images lie there", "3 images lie there"]


def test_the_end_says_what_to_do_next(capsys: pytest.CaptureFixture[str]) -> None:
    show_end(Screen(), view(state="finished"), is_local=True)
    out = capsys.readouterr().out
    assert f"next: gpupipe fetch {JOB}" in out
    assert f"gpupipe retry {JOB} --failed" in out


def test_warnings_are_told_in_words_and_counted_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    # given
    seen = view(state="finished")
    seen = replace(seen, totals=replace(seen.totals, counts={"annotations": 300, "saturated": 3, "rooms": 9}))
    # then
    assert "3 images (saturated): Parts of the image hold" in " ".join(drawn(seen, width=200).split())
    assert document(seen)["warnings"] == {"saturated": 3}
    show_end(Screen(), seen, is_local=True)
    told = capsys.readouterr().out
    assert "3 warnings" in told
    assert "smaller tile_size" in told


def test_how_much_of_the_map_was_found_is_told() -> None:
    seen = view()
    seen = replace(seen, totals=replace(seen.totals, counts={"annotations": 300, "area_m2": 1257}))
    assert "300 things (about 1,257 m²)" in drawn(seen)
    assert "m²" not in drawn(view())


def test_that_nothing_was_found_is_told_at_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    for state, is_told in (("running", False), ("finished", True)):
        seen = view(state=state, failed=0)
        with watching(Screen(), is_local=True) as show:
            show(replace(seen, totals=replace(seen.totals, counts={"annotations": 0})))
        assert ("nothing found" in capsys.readouterr().err) is is_told


def test_without_warnings_nothing_is_said_of_them() -> None:
    assert "warning" not in drawn(view())
    assert document(view())["warnings"] == {}


def test_what_is_no_image_is_not_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # given a job of values, and the same of images
    add_toys(monkeypatch)
    images = view()
    values = replace(images, job=replace(images.job, task="upper"))
    # then
    assert "image" not in drawn(values)
    assert "100 of 200 items" in drawn(values)
    assert "2.5 items/s" in drawn(values)
    for views, word in (((images,), "images"), ((values,), "items"), ((images, values), "items")):
        columns = [str(column.header) for column in jobs_table([(one.job, one) for one in views]).columns]
        assert columns[2] == word
