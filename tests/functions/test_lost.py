"""What an asynchronous endpoint is given, and what counts as lost there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from tests.functions.conftest import NOW
from tests.functions.situations import HOUR, a_dropin, a_job, a_shard, a_view, an_endpoint_view, running

from gpupipe.functions.lost import is_hopeless, lost, unsent
from gpupipe.functions.view import JobView
from gpupipe.kinds.endpoint.backend.view import Endpoint, EndpointView
from gpuworker.ledger import JobState, ShardRecord

ENDPOINT = Endpoint(name="e", status="InService")


def seen(*jobs: JobView, queue: int | None = None, **changes: Any) -> EndpointView:
    return an_endpoint_view(a_view(*jobs), {}, queue_messages=queue, **{"endpoint": ENDPOINT, **changes})


def of(*shards: ShardRecord, **changes: Any) -> JobView:
    return replace(a_job(0, **changes), shards=shards)


def numbers(shards: list[ShardRecord]) -> list[int]:
    return [shard.number for shard in shards]


# --- sent again ---


def test_a_request_that_expired_without_a_word_is_sent_again() -> None:
    old, young = a_shard(0, sent_at=NOW - 6.2 * HOUR), a_shard(1, sent_at=NOW - 5.9 * HOUR)
    assert numbers(lost(seen(of(old, young)))) == [0]


def test_a_worker_that_fell_silent_is_given_up_after_its_invocation_must_have_ended() -> None:
    silent, alive = running(a_shard(0), silent_s=931), running(a_shard(1), silent_s=800)
    assert numbers(lost(seen(of(silent, alive)))) == [0]


def test_requests_that_the_backlog_misses_are_sent_again_oldest_first() -> None:
    shards = [a_shard(n, created_at=NOW - 3000, sent_at=NOW - 1000 + n) for n in range(3)]
    assert numbers(lost(seen(of(*shards), queue=1))) == [0, 1]
    assert lost(seen(of(*shards), queue=3)) == []
    assert lost(seen(of(*shards), queue=None)) == []
    young = [replace(shard, sent_at=NOW - 500) for shard in shards]
    assert lost(seen(of(*young), queue=0)) == []


def test_what_was_begun_too_often_is_hopeless() -> None:
    assert is_hopeless(seen(), running(a_shard(), silent_s=931, started=4))
    assert not is_hopeless(seen(), running(a_shard(), silent_s=100, started=4))
    assert is_hopeless(seen(), a_shard(sent_at=0.0, returned_at=NOW - 1, started=4))
    assert not is_hopeless(seen(), a_shard(sent_at=0.0, started=3, returned_at=NOW - 1))


# --- sent at last ---


def test_what_nobody_sent_is_sent() -> None:
    assert numbers(unsent(seen(of(a_shard(0, sent_at=0.0), a_shard(1))))) == [0]


@pytest.mark.parametrize(
    "changes",
    [{"paused": True}, {"endpoint": None}, {"endpoint": Endpoint(name="e", status="Creating")}],
)
def test_nothing_is_sent_to_an_endpoint_that_does_not_take_it(changes: dict[str, Any]) -> None:
    assert unsent(seen(of(a_shard(sent_at=0.0)), **changes)) == []


@pytest.mark.parametrize("state", [JobState.HELD, JobState.STALLED])
def test_nothing_of_a_job_that_is_held_is_sent(state: JobState) -> None:
    assert unsent(seen(of(a_shard(sent_at=0.0), state=state))) == []


@pytest.mark.parametrize(
    ("failures", "ago_s", "is_due"), [(1, 44, False), (1, 46, True), (3, 170, False), (9, 601, True)]
)
def test_what_failed_waits_ever_longer(failures: int, ago_s: float, is_due: bool) -> None:
    shard = a_shard(sent_at=0.0, failures=failures, returned_at=NOW - ago_s)
    assert bool(unsent(seen(of(shard)))) is is_due


def test_what_dispatch_is_about_to_send_is_left_to_it() -> None:
    fresh = a_shard(sent_at=0.0, created_at=NOW - 5)
    assert unsent(seen(a_dropin(fresh))) == []
    assert unsent(seen(a_dropin(replace(fresh, created_at=NOW - 61)))) != []
    assert unsent(seen(of(replace(fresh, generation=1)))) == []
    assert unsent(seen(of(replace(fresh, generation=1), generation=1))) != []


def test_only_hours_of_work_are_sent_ahead() -> None:
    sent = [a_shard(n) for n in range(958)]
    waiting = [a_shard(n, sent_at=0.0) for n in range(958, 1000)]
    assert numbers(unsent(seen(of(*sent, *waiting)))) == [958, 959]  # 120 shards for each of 8 invocations at once
