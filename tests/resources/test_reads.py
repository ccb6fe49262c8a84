"""What `up` costs when there is nothing to do: the reads of each kind, and no more."""

from __future__ import annotations

import pytest
from tests.resources.contract import Stacks, made, recorded
from tests.resources.samples import SAMPLES, Samples

from gpupipe.aws import Aws

READS = {
    "bucket": 7,  # each setting has a call of its own, and there is no other
    "bucket notification": 1,
    "endpoint": 2,  # tags by a call of their own
    "endpoint config": 2,
    "event source": 1,
    "function": 2,  # the second for how asynchronous calls are tried again
    "instance profile": 1,
    "launch template": 3,  # its group's id and the newest image beside it
    "log group": 2,  # tags by a call of their own
    "metric alarm": 4,  # its policy's ARN is AWS's choice, and goes with its endpoint
    "model": 2,  # tags by a call of their own
    "queue": 2,  # tags by a call of their own
    "queue policy": 1,
    "role": 2,  # its policy by a call of its own
    "scalable target": 2,  # and whether its endpoint stays
    "scaling policy": 2,
    "schedule": 1,
    "scheduled action": 2,
    "secret": 1,
    "security group": 1,
    "subscription": 2,  # both its ends
    "table": 4,  # tags, expiry and backups by calls of their own
    "topic": 2,  # tags by a call of their own
}


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_reads(aws: Aws, stacks: Stacks, kind: str) -> None:
    resource = SAMPLES[kind][0](Samples(stacks.mine))
    made(aws, resource)

    with recorded(aws) as calls:
        resource.observe(aws)

    assert len(calls) == READS[kind], calls
