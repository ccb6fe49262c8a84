"""A deleted pipeline is forgotten, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.gpuworker.ledger.conftest import NOW, TABLE, a_job, commit, some_shards

from gpuworker.ledger import KeyRecord, Ledger, MachineRecord


def rows(ledger: Ledger) -> Iterator[dict[str, Any]]:
    yield from ledger._client.scan(TableName=TABLE)["Items"]


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
