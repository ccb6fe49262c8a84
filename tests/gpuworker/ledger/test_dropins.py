"""Drop-ins: one open job a project, one owner a key and an output name."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.gpuworker.ledger.conftest import NOW, a_job, commit, some_shards

from gpuworker.ledger import (
    Intake,
    KeyRecord,
    Ledger,
)
from gpuworker.ledger.records import padded


def open_dropin(ledger: Ledger, job: str = "j1") -> str:
    return ledger.open_dropin_job(a_job(job, kind="drop-in"))


def test_one_dropin_job_a_project(ledger: Ledger) -> None:
    assert ledger.dropin_job("segment", "field7") is None
    assert open_dropin(ledger, "j1") == "j1"
    assert open_dropin(ledger, "j2") == "j1"
    assert ledger.job("j2") is None
    assert [job.job for job in ledger.active_jobs("segment")] == ["j1"]
    job = ledger.job("j1")
    assert job is not None
    assert (job.intake, job.shards, job.items) == (Intake.OPEN, 0, 0)


def test_dropin_shards_are_numbered_and_close_stops_them(ledger: Ledger) -> None:
    open_dropin(ledger)
    assert [ledger.allocate_shard("j1", 3), ledger.allocate_shard("j1", 4)] == [0, 1]
    assert ledger.close_dropin_job("segment", "field7", "j1", 1) is False
    assert ledger.close_dropin_job("segment", "other", "j1", 2) is False
    assert ledger.close_dropin_job("segment", "field7", "j1", 2) is True
    assert ledger.close_dropin_job("segment", "field7", "j1", 2) is False
    assert ledger.allocate_shard("j1") is None
    assert ledger.allocate_shard("j9") is None
    assert open_dropin(ledger, "j2") == "j2"


def test_dropin_finishes_only_when_sealed(ledger: Ledger) -> None:
    open_dropin(ledger)
    ledger.allocate_shard("j1")
    ledger.put_shards(some_shards(1))
    commit(ledger, 0)
    assert ledger.finish_if_complete("j1") is False
    assert ledger.seal_job("j1") is False
    ledger.close_dropin_job("segment", "field7", "j1", 1)
    assert ledger.finish_if_complete("j1") is False
    assert ledger.seal_job("j1") is True
    assert ledger.finish_if_complete("j1") is True


def test_cancel_of_an_open_dropin_frees_the_project(ledger: Ledger) -> None:
    open_dropin(ledger)
    ledger.allocate_shard("j1")
    ledger.put_shards(some_shards(1))
    assert ledger.cancel_job("j1", "") == 1
    assert ledger.dropin_job("segment", "field7") is None
    assert ledger.allocate_shard("j1") is None


def test_void_or_put_whoever_is_first(ledger: Ledger) -> None:
    open_dropin(ledger)
    shards = some_shards(2)
    assert ledger.void_shard("j1", 0) is True
    assert ledger.void_shard("j1", 0) is True
    assert ledger.put_shards(shards) == 1
    assert ledger.void_shard("j1", 1) is False
    totals = ledger.totals("j1")
    assert (totals.items, totals.pending, totals.shards_open) == (10, 10, 1)


def a_key(**changes: Any) -> KeyRecord:
    fields = {"key": "incoming/field7/a.jpg", "etag": "e1", "sequencer": padded("0A"), "job": "j1", "shard": 0}
    return KeyRecord(**{**fields, **changes})


def test_record_key_only_over_what_was_seen(ledger: Ledger) -> None:
    first, second = a_key(), a_key(etag="e2", shard=1)
    assert ledger.record_key("segment", "field7", first) is True
    assert ledger.record_key("segment", "field7", second) is False
    assert ledger.record_key("segment", "field7", second, known=first) is True
    assert ledger.record_key("segment", "field7", a_key(shard=2), known=first) is False
    assert ledger.keys("segment", "field7", [first.key, "incoming/field7/b.jpg"]) == {first.key: second}
    assert ledger.keys("segment", "field8", [first.key]) == {}


def test_keys_in_bulk_and_longer_than_a_sort_key(ledger: Ledger) -> None:
    long = ["incoming/field7/" + "ä" * 500 + f"{n}.jpg" for n in range(2)]
    keys = [*long, *(f"incoming/field7/{n}.jpg" for n in range(120))]
    records = [(a_key(key=key), None) for key in keys]
    assert ledger.record_keys("segment", "field7", records) == set()
    assert set(ledger.keys("segment", "field7", keys)) == set(keys)
    assert ledger.record_keys("segment", "field7", [*records[:3], (a_key(key="incoming/field7/new.jpg"), None)]) == {
        *keys[:3]
    }


def test_an_output_name_belongs_to_one_key(ledger: Ledger) -> None:
    assert ledger.claim_output("j1", "a", "incoming/field7/a.jpg") is True
    assert ledger.claim_output("j1", "a", "incoming/field7/a.jpg") is True
    assert ledger.claim_output("j1", "a", "incoming/field7/a.png") is False
    assert ledger.claim_output("j2", "a", "incoming/field7/a.png") is True


def test_ignored_objects_are_counted(ledger: Ledger) -> None:
    ledger.count_ignored("segment", "field7", "suffix", 2, "incoming/field7/b.tfw")
    ledger.count_ignored("segment", "field7", "suffix", 1, "incoming/field7/c.prj")
    (ignored,) = ledger.ignored("segment")
    assert (ignored.count, ignored.last_key, ignored.at) == (3, "incoming/field7/c.prj", NOW)
    assert ledger.guard_status("segment") == {}


@given(st.text("0123456789ABCDEF", min_size=1, max_size=40), st.text("0123456789abcdef", min_size=1, max_size=40))
def test_padded_sequencers_sort_as_numbers(left: str, right: str) -> None:
    assert (padded(left) < padded(right)) == (int(left, 16) < int(right, 16))
