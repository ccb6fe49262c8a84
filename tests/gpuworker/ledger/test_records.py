"""Rows and their sums."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tests.gpuworker.ledger.conftest import a_machine

from gpuworker.ledger import (
    MachineRecord,
    ShardRecord,
    ShardState,
    Totals,
)
from gpuworker.ledger.rows import from_row, to_row
from gpuworker.ledger.table import row_from_wire, to_wire

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**15), 10**15) | st.floats(-1e9, 1e9).filter(lambda x: abs(x) > 1e-6)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.text(min_size=1), PLAIN, max_size=5))
def test_rows_survive_the_wire(row: dict[str, Any]) -> None:
    wire = json.loads(json.dumps({name: to_wire(value) for name, value in row.items()}))
    assert row_from_wire(wire) == row


@given(
    st.lists(
        st.tuples(st.sampled_from(ShardState), st.integers(0, 9), st.integers(0, 9), st.integers(0, 99)), max_size=30
    )
)
def test_totals_always_add_up(rows: list[tuple[ShardState, int, int, int]]) -> None:
    shards = [
        ShardRecord(job="j", number=n, state=state, items=20, done=done, failed=failed, progress=progress)
        for n, (state, done, failed, progress) in enumerate(rows)
    ]
    totals = Totals.of(shards)
    parts = [totals.done, totals.failed, totals.dead, totals.cancelled]
    assert totals.items == sum(parts) + totals.outstanding
    assert totals.is_complete == all(not shard.is_open for shard in shards)


def test_a_row_of_a_later_version_is_read() -> None:
    row = {**to_row(a_machine()), "pk": "machines#segment", "colour": "red", "price_usd_per_hour": 1}
    record = from_row(MachineRecord, row)
    assert record == a_machine(price_usd_per_hour=1.0)
    assert isinstance(record.price_usd_per_hour, float)


def test_importing_the_ledger_imports_no_boto3() -> None:
    code = "import sys, gpuworker.ledger; sys.exit(any(name in sys.modules for name in ('boto3', 'botocore')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
