"""Whatever the situation, the guard's answer is sane."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from tests.functions.situations import a_job, a_shard, a_view, an_instance, decide, of

from gpupipe.kinds.queue.backend.actions import LaunchMachines, StartMachine, StopMachines, TerminateMachines
from gpuworker.ledger import JobState, ShardState

# --- always ---


STATES = st.sampled_from(["pending", "running", "stopping", "stopped", "shutting-down", "terminated"])


@given(
    st.lists(STATES, max_size=5),
    st.lists(st.sampled_from(ShardState), max_size=6),
    st.sampled_from([state for state in JobState if state not in (JobState.FINISHED, JobState.CANCELLED)]),
    st.sampled_from(["stop", "terminate"]),
    st.booleans(),
    st.integers(0, 20),
)
def test_every_situation_has_a_sane_answer(
    machines: list[str], shards: list[ShardState], state: JobState, on_idle: str, paused: bool, queue: int
) -> None:
    there = [an_instance(f"i-{n}", one) for n, one in enumerate(machines)]
    job = replace(a_job(0, state=state), shards=tuple(a_shard(n, state=one) for n, one in enumerate(shards)))
    allowed = 1 if on_idle == "stop" else 4
    config = {"on_idle": on_idle, "max_instances": allowed}
    decision = decide(a_view(job, instances=there, queue=queue, config=config, paused=paused))
    added = sum(action.count for action in of(decision, LaunchMachines)) + len(of(decision, StartMachine))
    live = sum(1 for one in there if one.is_live)
    assert added == 0 or (live + added <= allowed and not paused)
    gone = [machine for action in of(decision, TerminateMachines) for machine in action.machines]
    assert not {one.machine for one in there if one.state != "stopped"}.intersection(gone)
    assert not set(gone).intersection(action.machine for action in of(decision, StartMachine))
    assert decision.waiting
    assert not (paused and live) or of(decision, StopMachines)
