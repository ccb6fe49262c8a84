"""Whatever the situation, what is decided about an endpoint is sane."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.functions.conftest import NOW
from tests.functions.hosted import ASYNC
from tests.functions.situations import a_job, a_record, a_shard, a_view, an_endpoint_view, decide, of

from gpupipe.functions.actions import SendShards, StallJob
from gpupipe.kinds.endpoint.backend.actions import ScaleVariants, SuspendScaling
from gpupipe.kinds.endpoint.backend.view import Endpoint, Variant
from gpuworker.ledger import JobState, ShardState

SERVING = ("InService", "UpdateRollbackFailed")
STATUS = st.sampled_from([*SERVING, "Creating", "Updating", "RollingBack", "Failed", "OutOfService", "Deleting"])
COUNTS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=2)
OPEN_JOBS = st.sampled_from([state for state in JobState if state not in (JobState.FINISHED, JobState.CANCELLED)])


@given(
    st.one_of(st.none(), STATUS),
    COUNTS,
    st.lists(st.tuples(st.sampled_from(ShardState), st.booleans()), max_size=5),
    OPEN_JOBS,
    st.sampled_from(["async", "realtime"]),
    st.sampled_from(["", "paused", "over budget"]),
    st.one_of(st.none(), st.integers(0, 9)),
)
def test_every_situation_has_a_sane_answer(
    status: str | None,
    counts: list[tuple[int, int]],
    shards: list[tuple[ShardState, bool]],
    state: JobState,
    mode: str,
    held: str,
    backlog: int | None,
) -> None:
    variants = tuple(
        Variant(name=f"v{n}", instance_type="ml.m5.xlarge", instance_types=("ml.m5.xlarge",) * current, desired=desired)
        for n, (current, desired) in enumerate(counts)
    )
    rows = tuple(a_shard(n, state=one, sent_at=float(sent)) for n, (one, sent) in enumerate(shards))
    config = {**ASYNC, "mode": mode, "variants": {one.name: one.instance_type for one in variants}, "monthly_usd": 1.0}
    spent = [a_record(price_usd_per_hour=100.0)] if held == "over budget" else []
    jobs = replace(a_job(0, state=state), shards=rows)
    view = an_endpoint_view(
        a_view(jobs, records=spent, paused=held == "paused"),
        config,
        queue_messages=backlog,
        endpoint=Endpoint(name="e", status=status, variants=variants, changed_at=NOW - 60) if status else None,
        suspended={one.name: False for one in variants},
        busy_at=NOW - 7200,
    )
    decision = decide(view)
    scaled = {name: count for action in of(decision, ScaleVariants) for name, count in action.instances.items()}
    assert decision.waiting
    assert not of(decision, StallJob)
    assert not scaled or (status in SERVING and mode == "async")
    assert all(count <= view.settings.max_instances for count in scaled.values())
    if held:
        assert not any(scaled.values())
        assert not of(decision, SendShards)
        assert mode == "realtime" or all(action.suspended for action in of(decision, SuspendScaling))
        assert {one.code for one in decision.waiting} & {"paused", "budget"}
    if held and mode == "async" and status in SERVING:
        assert scaled == {one.name: 0 for one in variants if one.desired}
    is_work = any(row.is_open for row in rows) and state not in (JobState.HELD, JobState.STALLED)
    if not held and mode == "async" and status in SERVING and is_work:
        assert all(scaled.get(one.name, 0) or one.desired or one.current for one in variants)
        assert not scaled or min(scaled.values()) > 0
    if not is_work and backlog != 0:
        assert not scaled or held
