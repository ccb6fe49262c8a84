"""Dropped-in objects become shards: once each, under names of their own, whatever happens on the way."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.functions.conftest import Fate, Killed, Noting, World, asked, made
from tests.kill_points import KillPoints, at_kill_points

from gpupipe.functions.arrivals import ObjectArrived
from gpupipe.functions.closing import close_dropin
from gpupipe.functions.context import AnyContext
from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.dropins import newest
from gpuworker.contract import Item, JobSpec, Manifest, job_key, manifest_key, shard_key
from gpuworker.ledger import Intake
from gpuworker.ledger.records import padded


def run(ctx: AnyContext, *records: dict[str, Any]) -> set[str]:
    return dispatch(ctx, records, lambda: 900_000)


def drop(*names: str, project: str = "field7", **changes: Any) -> list[dict[str, Any]]:
    return [made(f"incoming/{project}/{name}", **changes) for name in names]


def the_job(world: World, project: str = "field7") -> str:
    job = world.ledger.dropin_job("segment", project)
    assert job is not None
    return job


def items(world: World, job: str) -> list[Item]:
    """All items of a job's shards that count."""
    rows = [row for row in world.ledger.shards(job) if row.items]
    return [item for row in rows for item in world.shard_document(job, row.number).items]


def all_items(world: World) -> list[Item]:
    return [item for job in world.ledger.active_jobs("segment") for item in items(world, job.job)]


# --- the ordinary way ---


def test_a_burst_becomes_shards_of_the_open_job(world: World) -> None:
    assert run(world.ctx, *drop(*(f"{n}.jpg" for n in range(10)))) == set()
    job = the_job(world)
    record = world.ledger.job(job)
    assert record is not None
    assert (record.kind, record.intake, record.shards, record.items) == ("drop-in", Intake.OPEN, 3, 10)
    assert [row.items for row in world.ledger.shards(job)] == [4, 4, 2]
    assert sorted(message.number for message in world.sent()) == [0, 1, 2]
    assert sorted(item.output for item in items(world, job)) == [str(n) for n in range(10)]
    assert world.functions.invoked == ["demo-dev-segment-guard"]


def test_an_item_is_pinned_to_its_version(world: World) -> None:
    run(world.ctx, made("incoming/field7/a/b c.jpg", size=77, eTag="abc", versionId="v9"))
    (item,) = items(world, the_job(world))
    assert item == Item(key="incoming/field7/a/b c.jpg", etag="abc", size=77, output="a/b c", version_id="v9")


def test_the_job_says_what_to_do(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    job = the_job(world)
    spec = JobSpec.from_json(world.get(job_key(job)))
    shard = world.shard_document(job, 0)
    assert (spec.job, spec.kind, spec.options) == (job, "drop-in", {"prompts": []})
    assert (shard.job, shard.task, shard.options, shard.project) == (job, "segment", {"prompts": []}, "field7")


def test_the_next_burst_joins_the_open_job(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    run(world.ctx, *drop("b.jpg"))
    assert [row.items for row in world.ledger.shards(the_job(world))] == [1, 1]


def test_projects_have_jobs_of_their_own(world: World) -> None:
    run(world.ctx, *drop("a.jpg"), *drop("a.jpg", project="field8"))
    assert the_job(world, "field7") != the_job(world, "field8")


def test_after_a_close_another_job_opens(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    first = the_job(world)
    assert world.ledger.close_dropin_job("segment", "field7", first, 1) is True
    run(world.ctx, *drop("b.jpg"))
    assert the_job(world) != first
    assert [item.output for item in items(world, the_job(world))] == ["b"]


# --- options by project ---

OPTIONS = {"fi*": {"prompts": ["car"]}, "field*": {"prompts": ["tree"]}, "field8": {}}


def under(world: World, **changes: Any) -> AnyContext:
    """The context of a function after an `up` with other settings."""
    return world.with_settings(**changes).ctx


def asked_of(world: World, job: str) -> list[Any]:
    """What the job's document says, and then each of its shards."""
    spec = JobSpec.from_json(world.get(job_key(job)))
    shards = [world.shard_document(job, row.number) for row in world.ledger.shards(job)]
    return [dict(one.options)["prompts"] for one in (spec, *shards)]


@pytest.mark.parametrize(
    ("project", "prompts"),
    [("field7", ["tree"]), ("fir", ["car"]), ("field8", ["dog"]), ("yard", ["dog"])],
)
def test_a_job_opens_with_the_options_of_its_project(world: World, project: str, prompts: list[str]) -> None:
    ctx = under(world, task_options={"prompts": ["dog"], "masks": "none"}, dropin_options=OPTIONS)
    run(ctx, *drop("a.jpg", project=project))
    job = the_job(world, project)
    assert asked_of(world, job) == [prompts, prompts]
    assert world.shard_document(job, 0).options["masks"] == "none"  # what is not replaced stays


def test_an_open_job_keeps_its_options_whatever_the_settings_become(world: World) -> None:
    run(under(world, dropin_options=OPTIONS), *drop("a.jpg"))
    first = the_job(world)
    # when the file changes while the job is open
    later = under(world, dropin_options={"field7": {"prompts": ["car"]}})
    run(later, *drop("b.jpg"))
    run(under(world, dropin_options={}), *drop("c.jpg"))
    # then
    assert the_job(world) == first
    assert asked_of(world, first) == [["tree"]] * 4
    # and the next job has what holds then
    closed = world.ledger.job(first)
    assert closed is not None
    assert close_dropin(world.ctx, closed)
    run(later, *drop("d.jpg"))
    assert asked_of(world, the_job(world)) == [["car"]] * 2


@dataclass
class Overtaken(Fate):
    """Before the ledger is told of the job that was written, another invocation opens one."""

    at: int = -1
    rival: Callable[[], Any] = lambda: None

    def around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def after_the_rival(*args: Any, **kwargs: Any) -> Any:
            if call.__name__ == "transact_write_items" and not self.calls:
                self.calls += 1
                self.rival()
            return call(*args, **kwargs)

        return after_the_rival


def test_a_rival_that_opened_the_job_first_has_the_say(world: World) -> None:
    fate = Overtaken(rival=lambda: run(under(world, dropin_options=OPTIONS), *drop("b.jpg")))
    run(world.under(fate), *drop("a.jpg"))
    assert fate.calls == 1
    assert asked_of(world, the_job(world)) == [["tree"]] * 3


def test_shards_are_as_large_as_the_projects_options_allow(world: World) -> None:
    ctx = under(world, dropin_options=OPTIONS, dropin_shard_items={"field*": 2})
    for project in ("field7", "field8"):
        run(ctx, *drop(*(f"{n}.jpg" for n in range(5)), project=project))
    sizes = {
        project: [row.items for row in world.ledger.shards(the_job(world, project))] for project in ("field7", "field8")
    }
    assert sizes == {"field7": [2, 2, 1], "field8": [4, 1]}


# --- versions and duplicates ---


def test_a_duplicate_is_dropped(world: World) -> None:
    for _ in range(3):
        assert run(world.ctx, *drop("a.jpg", "a.jpg")) == set()
    assert len(all_items(world)) == 1
    assert len(world.sent()) == 1


@pytest.mark.parametrize(("first", "second", "etags"), [("0A", "0B", ["e1", "e2"]), ("0B", "0A", ["e1"])])
@pytest.mark.parametrize("width", [2, 30])
def test_only_newer_versions_are_taken(world: World, first: str, second: str, etags: list[str], width: int) -> None:
    run(world.ctx, *drop("a.jpg", sequencer=first))
    run(world.ctx, *drop("a.jpg", sequencer=second.rjust(width, "0"), eTag="e2", versionId="v2"))
    assert [item.etag for item in all_items(world)] == etags


def test_a_newer_version_keeps_the_output_name(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    run(world.ctx, *drop("a.jpg", sequencer="0B", eTag="e2"))
    assert [item.output for item in items(world, the_job(world))] == ["a", "a"]


@given(st.permutations(["01", "2", "0A", "B0", "0B1"]))
def test_of_one_batch_the_newest_counts(order: list[str]) -> None:
    versions = [
        ObjectArrived(message=s, project="p", key="incoming/p/a.jpg", etag=s, size=1, sequencer=padded(s))
        for s in order
    ]
    assert newest(versions)["incoming/p/a.jpg"].etag == "0B1"


# --- output names ---


def test_the_later_of_two_stems_takes_its_whole_name(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    run(world.ctx, *drop("a.png", "b.png", "b.jpg"))
    run(world.ctx, *drop("a.jpg.png"))
    names = {item.key.rpartition("/")[2]: item.output for item in items(world, the_job(world))}
    assert names == {"a.jpg": "a", "a.png": "a.png", "b.png": "b", "b.jpg": "b.jpg", "a.jpg.png": "a.jpg"}


def test_names_run_out_only_into_a_name_of_ones_own(world: World) -> None:
    run(world.ctx, *drop("a.png"))
    run(world.ctx, *drop("a.jpg.png"))
    run(world.ctx, *drop("a.jpg"))
    outputs = [item.output for item in items(world, the_job(world))]
    assert outputs[:2] == ["a", "a.jpg"]
    assert outputs[2].startswith("a.jpg~")


# --- what is not taken ---


def test_what_is_no_input_is_counted_where_status_shows_it(world: World) -> None:
    strange = [made(key) for key in ("incoming/a.jpg", "incoming/bad name/a.jpg", "incoming/field7/", "inputs/x/a.jpg")]
    assert run(world.ctx, *drop("a.tfw", "b.tfw", "c.jpg"), *strange) == set()
    counts = {(one.project, one.reason): one.count for one in world.ledger.ignored("segment")}
    assert counts == {("field7", "not_an_input"): 2, ("", "no_project"): 1, ("", "bad_project_name"): 1}
    assert len(all_items(world)) == 1


def test_world_files_are_counted_and_logged_by_themselves(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(world.ctx, *drop("a.pgw", "a.PRJ", "a.txt", "a.png")) == set()
    (ignored,) = world.ledger.ignored("segment")
    assert (ignored.count, ignored.world_files) == (3, 2)
    (line,) = [line for line in capsys.readouterr().out.splitlines() if '"world_files_left"' in line]
    told = json.loads(line)
    assert (told["count"], told["project"]) == (2, "field7")
    assert "gpupipe submit" in told["advice"]


def test_a_message_that_cannot_be_read_fails_alone(world: World) -> None:
    broken = {"messageId": "broken", "body": '{"Records": [{"s3": {}}]}'}
    assert run(world.ctx, broken, *drop("a.jpg")) == {"broken"}
    assert len(all_items(world)) == 1


# --- lost events ---


def rescan(*things: dict[str, Any]) -> dict[str, Any]:
    return asked({"gpupipe": "rescan", "objects": [{"size": 1, **thing} for thing in things]})


def test_a_rescan_takes_only_what_is_not_on_record(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    known = {"key": "incoming/field7/a.jpg", "etag": '"e1"'}
    lost = {"key": "incoming/field7/b.jpg", "etag": '"e9"', "version_id": "v9"}
    for _ in range(2):
        run(world.ctx, rescan(known, lost))
    assert [(item.key, item.etag) for item in all_items(world)] == [
        ("incoming/field7/a.jpg", "e1"),
        ("incoming/field7/b.jpg", "e9"),
    ]


def test_the_event_that_comes_after_its_rescan_is_a_duplicate(world: World) -> None:
    run(world.ctx, rescan({"key": "incoming/field7/a.jpg", "etag": "e1"}))
    run(world.ctx, *drop("a.jpg"))
    assert len(all_items(world)) == 1


def test_between_event_and_listing_the_object_itself_decides(world: World) -> None:
    world.put("incoming/field7/a.jpg", "new")
    now = world.ctx.s3.head_object(Bucket=world.ctx.settings.bucket, Key="incoming/field7/a.jpg")["ETag"]
    run(world.ctx, rescan({"key": "incoming/field7/a.jpg", "etag": "old"}))
    run(world.ctx, *drop("a.jpg", eTag="older", versionId=""))
    assert [item.etag for item in all_items(world)] == ["old"]
    run(world.ctx, *drop("a.jpg", eTag=now, versionId=""))
    assert [item.etag for item in all_items(world)] == ["old", now.strip('"')]
    run(world.ctx, rescan({"key": "incoming/field7/gone.jpg", "etag": "e1"}))
    run(world.ctx, *drop("gone.jpg", eTag="e2", versionId=""))
    assert [item.etag for item in all_items(world)][2:] == ["e1"]


# --- killed, and rivals ---


NAMES = ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "0.png"]


def assert_taken_once(world: World) -> None:
    """Every object in one shard that counts, each with a name of its own and a message sent."""
    job = the_job(world)
    assert Counter(item.key for item in items(world, job)) == Counter(f"incoming/field7/{name}" for name in NAMES)
    assert len({item.output for item in items(world, job)}) == len(NAMES)
    counted = {row.number for row in world.ledger.shards(job) if row.items}
    assert {message.number for message in world.sent() if message.job == job} >= counted
    assert [record.job for record in world.ledger.active_jobs("segment")] == [job]


def calls_of_a_burst(world: World) -> list[str]:
    """The operations by which dispatch takes the objects called `NAMES`."""
    noting = Noting()
    assert run(world.under(noting), *drop(*NAMES)) == set()
    assert_taken_once(world)
    return noting.operations


@at_kill_points
def test_killed_anywhere_every_object_is_taken_once(world: World, kill_points: KillPoints) -> None:
    for calls in kill_points(calls_of_a_burst(world)):
        world.forget()
        with pytest.raises(Killed):
            run(world.mortal(calls), *drop(*NAMES))
        assert run(world.ctx, *drop(*NAMES)) == set()
        assert_taken_once(world)


def test_killed_again_and_again_it_still_ends(world: World) -> None:
    burst = drop(*(f"{n}.jpg" for n in range(6)))
    for at in itertools.chain(range(0, 30, 3), range(29, 0, -4)):
        try:
            run(world.mortal(at), *burst)
        except Killed:
            continue
        break
    run(world.ctx, *burst)
    assert Counter(item.key for item in all_items(world)) == Counter(f"incoming/field7/{n}.jpg" for n in range(6))


class Rival(Fate):
    """Before the n-th call of ours somebody else does something."""

    def __init__(self, world: World, at: int, act: Callable[[], Any]) -> None:
        super().__init__(at)
        self.strike = act  # type: ignore[method-assign]
        self.ctx = world.under(self)

    @property
    def has_struck(self) -> bool:
        return self.calls > self.at


@at_kill_points
def test_two_invocations_with_the_same_events_take_each_object_once(world: World, kill_points: KillPoints) -> None:
    for at in kill_points(calls_of_a_burst(world)):
        world.forget()
        rival = Rival(world, at, lambda: run(world.ctx, *drop(*NAMES)))
        assert run(rival.ctx, *drop(*NAMES)) == set()
        assert rival.has_struck
        assert_taken_once(world)


@at_kill_points
def test_a_job_that_is_closed_meanwhile_loses_nothing(world: World, kill_points: KillPoints) -> None:
    def close() -> None:
        for job in world.ledger.active_jobs("segment"):
            if job.intake is Intake.OPEN:
                assert close_dropin(world.ctx, job) is True

    for at in kill_points(calls_of_a_burst(world)):
        world.forget()
        rival = Rival(world, at, close)
        assert run(rival.ctx, *drop(*NAMES)) == set()
        assert rival.has_struck
        assert Counter(item.key for item in all_items(world)) == Counter(f"incoming/field7/{name}" for name in NAMES)
        for job in world.ledger.active_jobs("segment"):
            counted = {str(row.number): row.items for row in world.ledger.shards(job.job) if row.items}
            manifest = manifest_key(job.job)
            assert job.intake is Intake.OPEN or Manifest.from_json(world.get(manifest)).shards == counted


def test_a_send_that_failed_is_made_good(world: World) -> None:
    url = world.ctx.settings.work_queue_url
    world.ctx.client("sqs").delete_queue(QueueUrl=url)
    burst = drop("a.jpg", "b.jpg")
    assert run(world.ctx, *burst) == {"incoming/field7/a.jpg", "incoming/field7/b.jpg"}
    world.ctx.client("sqs").create_queue(QueueName="demo-dev-segment-work")
    assert run(world.ctx, *burst) == set()
    assert [message.number for message in world.sent()] == [0]
    assert len(all_items(world)) == 2


def test_a_job_id_that_is_taken_is_not_used(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["0000", "0000", "0001"])
    monkeypatch.setattr("secrets.token_hex", lambda _: next(ids))
    run(world.ctx, *drop("a.jpg"))
    first = the_job(world)
    world.ledger.close_dropin_job("segment", "field7", first, 1)
    run(world.ctx, *drop("b.jpg"))
    assert (first[-4:], the_job(world)[-4:]) == ("0000", "0001")
    assert [item.output for item in items(world, first)] == ["a"]


def test_a_shard_of_a_future_that_the_ledger_lost_is_not_written_over(world: World) -> None:
    run(world.ctx, *drop("a.jpg"))
    job = the_job(world)
    world.put(shard_key(job, 1), "of the lost future")
    assert run(world.ctx, *drop("b.jpg")) == set()
    assert world.get(shard_key(job, 1)) == b"of the lost future"
    assert [(row.number, row.items) for row in world.ledger.shards(job)] == [(0, 1), (2, 1)]
    assert sorted(item.output for item in items(world, job)) == ["a", "b"]
