"""Shards whose requests failed: given back, counted, marked as sent, and nothing of it after somebody moved on."""

from __future__ import annotations

from tests.gpuworker.ledger.conftest import NOW, Clock, a_job, some_shards

from gpuworker.ledger import Ledger, ShardRecord, ShardState


def the_shard(ledger: Ledger) -> ShardRecord:
    shard = ledger.shard("j1", 0)
    assert shard is not None
    return shard


def test_a_returned_shard_is_pending_and_unsent(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    ledger.start_shard("j1", 0, 0, "main/a")
    clock.now += 5
    assert ledger.return_shard(the_shard(ledger), "n1", reason="it crashed", counts=False) is True
    shard = the_shard(ledger)
    assert (shard.state, shard.is_unsent, shard.started, shard.machine) == (ShardState.PENDING, True, 1, "")
    assert (shard.returned_at, shard.returned_by, shard.reason) == (NOW + 5, ("n1",), "it crashed")
    assert (shard.failures, shard.last_sign_at) == (0, NOW + 5)


def test_what_counts_is_counted_and_the_last_notifications_are_kept(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    for times in range(20):
        clock.now += 60
        assert ledger.return_shard(the_shard(ledger), f"n{times}", reason="no answer", counts=True) is True
    shard = the_shard(ledger)
    assert shard.failures == 20
    assert shard.returned_by == tuple(f"n{times}" for times in range(4, 20))


def test_a_shard_that_moved_meanwhile_is_not_returned(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    seen = the_shard(ledger)
    clock.now += 5
    ledger.start_shard("j1", 0, 0, "main/a")
    assert ledger.return_shard(seen, "n1", reason="", counts=True) is False
    seen = the_shard(ledger)
    clock.now += 5
    ledger.heartbeat("j1", 0, 0, "main/a", 1)
    assert ledger.return_shard(seen, "n1", reason="", counts=True) is False
    seen = the_shard(ledger)
    ledger.cancel_job("j1", "")
    assert ledger.return_shard(seen, "n1", reason="", counts=True) is False


def test_of_two_notifications_at_once_one_returns_it(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    seen = the_shard(ledger)
    clock.now += 5
    assert ledger.return_shard(seen, "n1", reason="", counts=True) is True
    assert ledger.return_shard(seen, "n2", reason="", counts=True) is False


def test_many_are_marked_but_for_those_that_failed_already(ledger: Ledger, clock: Clock) -> None:
    ledger.open_job(a_job(), some_shards())
    before = list(ledger.shards("j1"))
    clock.now += 5
    ledger.return_shard(before[0], "n1", reason="", counts=True)  # while the others were being sent
    assert ledger.mark_all_sent(before, at=NOW + 3) == len(before) - 1
    first, *others = ledger.shards("j1")
    assert first.is_unsent
    assert {shard.sent_at for shard in others} == {NOW + 3}


def test_a_lost_shard_may_be_left_to_be_sent_later(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    assert ledger.requeue_shard(the_shard(ledger), sent=False) is True
    assert the_shard(ledger).is_unsent


def test_a_revived_shard_has_all_its_tries_and_may_be_unsent(ledger: Ledger) -> None:
    ledger.open_job(a_job(), some_shards())
    ledger.return_shard(the_shard(ledger), "n1", reason="", counts=True)
    ledger.mark_dead("j1", 0, 0, "poison")
    assert ledger.revive_shard("j1", 0, 0, sent=False) is True
    shard = the_shard(ledger)
    assert (shard.is_unsent, shard.failures, shard.started) == (True, 0, 0)
