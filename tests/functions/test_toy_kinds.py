"""How shards of the toy kinds come to their end although functions are killed, told twice, or told nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.committed import a_result
from tests.functions.conftest import NOW, Fakes, World, made
from tests.toy_kinds.pushed.backend.idle import NoMachines
from tests.toy_kinds.pushed.backend.settings import PushedSettings
from tests.toy_kinds.pushed.backend.transport import PushTransport
from tests.toy_kinds.pushed.backend.work import work
from tests.toy_kinds.staged.backend import ended, stages
from tests.toy_kinds.staged.backend.executions import Executions
from tests.toy_kinds.staged.backend.settings import StagedSettings
from tests.toy_kinds.staged.backend.steps import Step, draft_key
from tests.toy_kinds.staged.backend.transport import ExecutionTransport

from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.transport import Transport
from gpuworker.contract import Item, Message, Shard, manifest_key, result_key
from gpuworker.ledger import JobState, ShardRecord, ShardState

WAIT_MAX_S, TIMEOUT_S, LONG_S = 300.0, 60.0, 400.0
PLACE = ("j1", 0, 0)
CONTENT = b"one two three"


@dataclass
class Services:
    """Lambda and SNS, as far as they are used: note what they are asked."""

    calls: list[dict[str, Any]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    refusal: Exception | None = None

    def invoke(self, *, FunctionName: str, InvocationType: str, Payload: bytes) -> None:  # noqa: N803
        if FunctionName.endswith("-guard"):
            return
        if self.refusal is not None:
            raise self.refusal
        assert InvocationType == "Event"
        self.calls.append({"function": FunctionName, **json.loads(Payload)})

    def publish(self, *, TopicArn: str, Message: str) -> None:  # noqa: N803
        assert TopicArn == "arn:ended"
        self.told.append(Message)

    def taken(self) -> list[dict[str, Any]]:
        """The calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


@dataclass
class Stage:
    """A pipeline of a toy kind, with one job of one shard."""

    world: World
    services: Services

    @property
    def ctx(self) -> Any:
        return self.world.ctx

    @property
    def row(self) -> ShardRecord:
        row = self.world.ledger.shard("j1", 0)
        assert row is not None
        return row

    def submit(self) -> None:
        """One item, and what tells dispatch of it."""
        self.world.put("inputs/field7/a.txt", CONTENT.decode())
        etag = self.ctx.s3.head_object(**self.ctx.in_bucket, Key="inputs/field7/a.txt")["ETag"].strip('"')
        item = Item(key="inputs/field7/a.txt", etag=etag, size=len(CONTENT), output="a")
        shard = Shard(
            job="j1", pipeline="segment", project="field7", number=0, task="segment", options={}, items=(item,)
        )
        self.world.put(Message.of(PLACE).key, shard.to_json())
        self.world.put_job({0: 1})
        assert dispatch(self.ctx, [made(manifest_key("j1"))], lambda: 900_000) == set()

    def later(self, seconds: float) -> dict[str, Any]:
        """A look of the guard after so long."""
        self.world.now[0] += seconds
        return self.world.guard({})


def of_kind(world: World, settings: Any, transport: Callable[..., Transport], backend: Any) -> Stage:
    """The pipeline of `world`, as one of that kind."""
    told = {name: getattr(world.ctx.settings, name) for name in vars(world.ctx.settings)}
    services = Services()
    client = Fakes({"s3": world.ctx.s3, "lambda": services, "sns": services})
    own = settings.from_dict({**told, "at_once": 5, "wait_max_s": WAIT_MAX_S, "max_receives": 2, **OF_FUNCTIONS})
    ctx = replace(world.ctx, settings=own, client=client, transport=transport(own, client))
    return Stage(replace(world, ctx=ctx, backend=backend), services)


OF_FUNCTIONS = {
    "work_function": "work",
    "work_timeout_s": TIMEOUT_S,
    "prepare_function": "prepare",
    "finish_function": "finish",
    "stage_timeout_s": TIMEOUT_S,
    "topic_arn": "arn:ended",
}


@pytest.fixture
def pushed(world: World) -> Stage:
    return of_kind(world, PushedSettings, PushTransport, NoMachines)


@pytest.fixture
def staged(world: World) -> Stage:
    return of_kind(world, StagedSettings, ExecutionTransport, Executions)


# --- pushed ---


def do(stage: Stage, machine: str = "call-1") -> str:
    return work(stage.ctx, Message.of(PLACE), machine=machine)


def test_a_shard_is_pushed_done_and_counted_once(pushed: Stage) -> None:
    # given a job that dispatch has pushed
    pushed.submit()
    assert [(one["function"], one["job"], one["number"]) for one in pushed.services.taken()] == [("work", "j1", 0)]
    # when its call comes twice
    became = [do(pushed), do(pushed, "call-2")]
    # then one of them has done it
    assert became == ["done", "dropped"]
    assert (pushed.row.state, pushed.row.done, pushed.row.started) == (ShardState.DONE, 1, 1)
    job = pushed.world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED
    assert pushed.later(LONG_S)["waiting"] == [{"code": "ok", "message": "There is nothing to do."}]
    assert pushed.services.taken() == []


def test_a_call_that_was_killed_is_made_again_after_its_time(pushed: Stage) -> None:
    # given a call that died at its work
    pushed.submit()
    assert pushed.world.ledger.start_shard(*PLACE, "call-1")
    pushed.services.taken()
    # then the guard waits as long as it may have lived, and then calls again
    assert pushed.later(TIMEOUT_S)["calls"] == "1 of at most 5 at work"
    assert pushed.services.taken() == []
    pushed.later(TIMEOUT_S)
    pushed.later(2)
    assert len(pushed.services.taken()) == 1
    assert do(pushed, "call-2") == "done"
    assert pushed.row.started == 2


def test_a_call_that_was_never_begun_is_made_again(pushed: Stage) -> None:
    pushed.submit()
    pushed.services.taken()
    pushed.later(WAIT_MAX_S)
    assert pushed.services.taken() == []
    pushed.later(60)
    pushed.later(2)
    assert len(pushed.services.taken()) == 1


def test_what_dies_each_time_is_given_up(pushed: Stage) -> None:
    pushed.submit()
    for number in range(2):
        assert pushed.world.ledger.start_shard(*PLACE, f"call-{number}")
        pushed.later(LONG_S)
        pushed.later(2)
    assert pushed.row.state is ShardState.DEAD
    assert "began it 2 times" in pushed.row.reason


def test_a_cancelled_shard_is_dropped(pushed: Stage) -> None:
    pushed.submit()
    pushed.world.ledger.cancel_job("j1", "cancelled by a person")
    assert do(pushed) == "dropped"
    assert pushed.world.keys("jobs/j1/results/") == []


def test_one_that_is_cancelled_at_work_is_given_up(pushed: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed.submit()
    pushed.services.taken()
    read = pushed.ctx.s3.get_object

    def cancelled_while_reading(**of: Any) -> Any:
        if of["Key"].startswith("inputs/"):
            pushed.world.ledger.cancel_job("j1", "cancelled by a person")
        return read(**of)

    monkeypatch.setattr(pushed.ctx.s3, "get_object", cancelled_while_reading)
    assert do(pushed) == "given_up"
    assert pushed.world.keys("jobs/j1/results/") == []


def test_what_is_committed_is_counted_by_the_next_try_and_not_done_again(pushed: Stage) -> None:
    # given the commit of a call that was killed before it told the ledger
    pushed.submit()
    committed = a_result(*PLACE, done=1, machine="killed").to_gzip()
    pushed.ctx.s3.put_object(**pushed.ctx.in_bucket, Key=result_key(*PLACE), Body=committed)
    # when the shard comes again, then that counts
    assert do(pushed) == "done"
    assert (pushed.row.state, pushed.row.machine) == (ShardState.DONE, "killed")
    assert pushed.ctx.s3.get_object(**pushed.ctx.in_bucket, Key=result_key(*PLACE))["Body"].read() == committed
    assert pushed.world.keys("processed/") == []


def test_what_lambda_does_not_take_is_pushed_by_the_guard(pushed: Stage) -> None:
    pushed.services.refusal = RuntimeError("too many requests")
    pushed.submit()
    assert pushed.row.is_unsent
    pushed.services.refusal = None
    pushed.later(5)
    assert len(pushed.services.taken()) == 1


def test_nothing_is_pushed_while_a_person_has_stopped_it(pushed: Stage) -> None:
    pushed.world.guard({"action": "stop"})
    pushed.submit()
    status = pushed.later(5)
    assert pushed.services.taken() == []
    assert status["waiting"] == [{"code": "paused", "message": "Nothing is called; `gpupipe start` goes on."}]
    pushed.world.guard({"action": "start"})
    assert len(pushed.services.taken()) == 1


# --- staged ---


def prepare(stage: Stage, execution: str) -> Step:
    step = Step.first(Message.of(PLACE), execution)
    stages.prepare(stage.ctx, step)
    return step


def notice(text: str, number: int = 0) -> dict[str, Any]:
    return {"Records": [{"Sns": {"MessageId": f"n{number}", "Message": text}}]}


def test_an_execution_goes_through_its_stages_to_its_commit(staged: Stage) -> None:
    staged.submit()
    assert [one["function"] for one in staged.services.taken()] == ["prepare"]
    # when the first stage is done, the second is called, and the guard knows
    step = prepare(staged, "x1")
    assert [one["function"] for one in staged.services.taken()] == ["finish"]
    assert staged.later(2)["executions"] == {"finish": 1}
    # and when the second is done, the topic is told, and nothing is committed yet
    stages.finish(staged.ctx, step)
    (told,) = staged.services.told
    assert staged.world.keys("jobs/j1/results/") == []
    # then callback commits it, however often it is told
    for number in range(2):
        ended.callback(staged.ctx, notice(told, number))
    assert (staged.row.state, staged.row.counts) == (ShardState.DONE, {"words": 3})


def test_a_stage_that_fails_is_begun_anew_until_it_is_given_up(staged: Stage) -> None:
    staged.submit()
    staged.services.taken()
    staged.ctx.s3.delete_object(**staged.ctx.in_bucket, Key="inputs/field7/a.txt")
    # when the input cannot be read
    prepare(staged, "x1")
    told = staged.services.told.pop()
    for number in (0, 0):  # SNS may bring it twice
        ended.callback(staged.ctx, notice(told, number))
    # then another execution has begun, once
    assert [one["function"] for one in staged.services.taken()] == ["prepare"]
    assert (staged.row.state, staged.row.is_unsent) == (ShardState.PENDING, False)
    # and after the last try it is dead, with the reason
    prepare(staged, "x2")
    ended.callback(staged.ctx, notice(staged.services.told.pop(), 1))
    assert staged.row.state is ShardState.DEAD
    assert staged.row.reason.startswith("tried 2 times, last: ClientError")
    job = staged.world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED


def test_an_execution_that_died_between_its_stages_is_followed_by_another(staged: Stage) -> None:
    # given a first stage whose call of the second came to nothing
    staged.submit()
    old = prepare(staged, "x1")
    staged.services.taken()
    # when it has been silent for too long
    staged.later(LONG_S)
    staged.later(2)
    assert [one["function"] for one in staged.services.taken()] == ["prepare"]
    new = prepare(staged, "x2")
    # then only the new one may go on
    stages.finish(staged.ctx, old)
    assert staged.services.told == []
    stages.finish(staged.ctx, new)
    ended.callback(staged.ctx, notice(staged.services.told.pop()))
    assert (staged.row.state, staged.row.machine) == (ShardState.DONE, "x2")
    assert draft_key(PLACE) in staged.world.keys("jobs/j1/stages/")


def test_an_execution_of_a_cancelled_shard_ends_without_a_word(staged: Stage) -> None:
    staged.submit()
    step = prepare(staged, "x1")
    staged.world.ledger.cancel_job("j1", "cancelled by a person")
    stages.finish(staged.ctx, step)
    assert staged.services.told == []
    assert staged.row.state is ShardState.CANCELLED


def test_the_clock_of_these_tests_is_their_own(pushed: Stage) -> None:
    assert pushed.later(7)["at"] == NOW + 7
