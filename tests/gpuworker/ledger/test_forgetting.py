"""A deleted pipeline is forgotten, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.gpuworker.ledger.conftest import NOW, TABLE, a_job, commit, some_shards

from gpuworker.ledger import KeyRecord, Ledger, MachineRecord


def rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    """But those of machines, which stay: they are what the month has cost."""
    every = ledger._client.scan(TableName=TABLE)["Items"]
    yield from (row for row in every if not row["pk"]["S"].startswith("machines#"))


def fill(ledger: Ledger, pipeline: str, job: str) -> None:
    """One row of each kind."""
    ledger.open_job(a_job(job, pipeline=pipeline), some_shards(2, job=job))
    dropin = f"{job}-d"
    ledger.open_dropin_job(a_job(dropin, pipeline=pipeline, kind="drop-in"))
    ledger.record_key(pipeline, "field7", KeyRecord(key="incoming/field7/a.jpg", job=dropin, shard=0, etag="e"))
    ledger.claim_output(dropin, "a", "incoming/field7/a.jpg")
    ledger.count_ignored(pipeline, "field7", "suffix", 1, "incoming/field7/x.txt")
    ledger.set_control(pipeline, paused=True)
    ledger.put_guard_status(pipeline, {"at": NOW})
    ledger.acquire_lease(pipeline, "me", 60)
    ledger.acquire_lease(f"{pipeline}#next", "me", 60)
    ledger.put_seal(pipeline, "weights", "0" * 64)
    ledger.put_machine(
        MachineRecord(
            machine="i-1",
            pipeline=pipeline,
            instance_type="g4dn.xlarge",
            zone="us-east-1a",
            market="on-demand",
            launched_at=NOW,
            run_started_at=NOW,
            price_usd_per_hour=1.0,
        )
    )


def test_all_of_it_goes_and_nothing_of_another(ledger: Ledger) -> None:
    fill(ledger, "one", "j1")
    commit(ledger, 0)
    mine = len(list(rows(ledger)))
    fill(ledger, "two", "j2")
    others = len(list(rows(ledger))) - mine

    assert ledger.forget_pipeline("one") == mine

    left = list(rows(ledger))
    assert len(left) == others
    assert not [row for row in left if "#one" in row["pk"]["S"] or row["sk"]["S"].startswith("j1")]
    assert ledger.forget_pipeline("one") == 0
    assert len(ledger.machines("one")) == 1


def test_killed_anywhere_the_next_does_the_rest(ledger: Ledger) -> None:
    for at in range(30):
        fill(ledger, "one", "j1")
        try:
            dying(ledger, at).forget_pipeline("one")
        except KilledError:
            assert list(rows(ledger)) != []
            ledger.forget_pipeline("one")
            assert list(rows(ledger)) == []
        else:
            break
    assert 5 < at < 29


class KilledError(Exception):
    """The command is dead."""


def dying(ledger: Ledger, at: int) -> Ledger:
    """The same table by a client that fails at its call number `at` that deletes."""
    return Ledger(Dying(ledger._client, at), TABLE, ledger._clock)


class Dying:
    """A client that takes so many transactions and no more."""

    def __init__(self, client: Any, left: int) -> None:
        self._client, self._left = client, left

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def transact_write_items(self, **request: Any) -> Any:
        if not self._left:
            raise KilledError
        self._left -= 1
        return self._client.transact_write_items(**request)
