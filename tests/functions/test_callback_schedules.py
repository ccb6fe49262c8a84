"""Whatever becomes of requests, workers and notifications, and in whichever order: each shard ends, and once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from tests.functions.conftest import BUCKET, Killed, World
from tests.functions.hosted import CRASHED, TIME_IS_UP, Service, failed, hosted, submit
from tests.functions.looks import look
from tests.properties import examples

from gpupipe.kinds.endpoint.backend.callback import callback
from gpuworker.contract import ItemResult, ShardResult, parse_shard_key, result_key
from gpuworker.ledger import JobState, ShardState

Place = tuple[str, int, int]


@dataclass
class Request:
    """One that SageMaker has taken."""

    place: Place
    machine: str
    """Of whichever container takes it up."""
    began: bool = False


@dataclass
class Cloud:
    """SageMaker, its containers and SNS: everything that can be late, twice, or gone."""

    world: World
    service: Service
    open: list[Request] = field(default_factory=list)
    told: list[dict[str, Any]] = field(default_factory=list)
    """Notifications, which stay, as each may come again."""
    requests: int = 0

    def take(self) -> None:
        """See what was requested since."""
        for request in self.service.runtime.requests:
            place = parse_shard_key(request["InputLocation"].removeprefix(f"s3://{BUCKET}/"))
            self.requests += 1
            self.open.append(Request(place, f"main/{self.requests}"))
        self.service.runtime.requests.clear()

    # --- what may happen ---

    def begin(self, request: Request) -> None:
        row = self.world.ledger.start_shard(*request.place, request.machine, alive_s=300)
        if row is None:
            self.open.remove(request)  # "elsewhere" or "over": a good answer
        request.began = row is not None

    def commit(self, request: Request, *, in_ledger: bool = True) -> None:
        """As `run_shard` does, and the worker after it."""
        if not request.began:
            return
        job, number, generation = request.place
        item = ItemResult(
            output="a", key="inputs/p/a.jpg", etag="e", artifacts={}, fragment={}, counts={"annotations": 3}
        )
        result = ShardResult(
            job=job,
            number=number,
            generation=generation,
            machine=request.machine,
            engine={},
            header={},
            items=[item],
            failures=[],
            started_at=1.0,
            finished_at=2.0,
        )
        key = result_key(*request.place)
        if key not in self.world.keys(key):
            self.world.ctx.s3.put_object(Bucket=BUCKET, Key=key, Body=result.to_gzip())
        if in_ledger:
            self.world.ledger.count_result(result)
            self.world.ledger.finish_if_complete(job)
            self.open.remove(request)

    def crash(self, request: Request) -> None:
        self.fail(request, CRASHED)

    def crash_after_commit(self, request: Request) -> None:
        self.commit(request, in_ledger=False)
        self.fail(request, CRASHED)

    def run_out_of_time(self, request: Request) -> None:
        if request.began:
            self.world.ledger.release_shard(*request.place, request.machine, blame=False)
            self.fail(request, TIME_IS_UP)

    def expire(self, request: Request) -> None:
        if not request.began:
            self.fail(request, "The request expired.")

    def fail(self, request: Request, reason: str) -> None:
        job, number, generation = request.place
        self.open.remove(request)
        about: dict[str, Any] = {"job": job, "number": number, "generation": generation}
        self.told.append(failed(self.world, reason, notice=f"n{len(self.told)}", **about))

    def lose(self, request: Request) -> None:
        self.open.remove(request)

    def tell(self, notice: dict[str, Any], *, killed_at: int | None = None) -> None:
        ctx = self.world.ctx if killed_at is None else self.world.mortal(killed_at)
        with suppress(Killed):
            callback(ctx, notice)

    def pass_time(self, seconds: float) -> None:
        self.world.now[0] += seconds
        look(self.world)


ON_REQUESTS: list[Callable[[Cloud, Request], None]] = [
    Cloud.begin,
    Cloud.begin,
    Cloud.commit,
    Cloud.crash,
    Cloud.crash_after_commit,
    Cloud.run_out_of_time,
    Cloud.expire,
    Cloud.lose,
]
EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("request"), st.sampled_from(range(len(ON_REQUESTS))), st.integers(0, 9)),
        st.tuples(st.just("notice"), st.integers(0, 9), st.one_of(st.none(), st.integers(0, 7))),
        st.tuples(st.just("time"), st.sampled_from([1.0, 60.0, 700.0, 22_000.0]), st.none()),
    ),
    max_size=14,
)


def happen(cloud: Cloud, event: tuple[Any, ...]) -> None:
    cloud.take()
    match event:
        case ("request", which, index) if cloud.open:
            ON_REQUESTS[which](cloud, cloud.open[index % len(cloud.open)])
        case ("notice", index, killed_at) if cloud.told:
            cloud.tell(cloud.told[index % len(cloud.told)], killed_at=killed_at)
        case ("time", seconds, _):
            cloud.pass_time(seconds)


def come_to_an_end(cloud: Cloud) -> None:
    """From now on nothing goes wrong, but every notification comes once more."""
    for notice in list(cloud.told):
        cloud.tell(notice)
    for _ in range(12):
        job = cloud.world.ledger.job("j1")
        if job is not None and job.is_over:
            return
        cloud.take()
        for request in list(cloud.open):
            if not request.began:
                cloud.begin(request)
            if request.began:
                cloud.commit(request)
        cloud.pass_time(11_000.0)


@examples(15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(EVENTS)
def test_each_shard_ends_once(world: World, events: list[tuple[Any, ...]]) -> None:
    world.forget()
    for key in world.keys("jobs/"):
        world.ctx.s3.delete_object(Bucket=BUCKET, Key=key)
    world, service = hosted(world)
    service.hosting.desired = service.hosting.current = {"main": 1}
    cloud = Cloud(world, service)
    submit(world, {0: 1, 1: 1})
    for event in events:
        happen(cloud, event)
    come_to_an_end(cloud)
    job = world.ledger.job("j1")
    assert job is not None
    assert job.state is JobState.FINISHED
    for row in world.ledger.shards("j1"):
        committed = result_key("j1", row.number, 0) in world.keys("jobs/j1/results/")
        assert row.state is (ShardState.DONE if committed else ShardState.DEAD)
        assert (row.done, row.counts) == ((1, {"annotations": 3}) if committed else (0, {}))
        assert row.started <= world.ctx.settings.max_receives
    assert cloud.requests <= 2 * (len(events) + 2)
