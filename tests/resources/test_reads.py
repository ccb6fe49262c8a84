"""What `up` costs when there is nothing to do: the reads of each kind, and no more."""

from __future__ import annotations

import pytest
from tests.resources.contract import Stacks, made, recorded
from tests.resources.samples import SAMPLES, Samples

from gpupipe.aws import Aws

READS = {
    "bucket": 7,  # each setting has a call of its own, and there is no other
    "bucket notification": 1,
    "event source": 1,
    "function": 2,  # the second for how asynchronous calls are tried again
    "instance profile": 1,
    "launch template": 3,  # its group's id and the newest image beside it
    "log group": 2,  # tags by a call of their own
    "queue": 2,  # tags by a call of their own
    "queue policy": 1,
    "role": 2,  # its policy by a call of its own
    "schedule": 1,
    "security group": 1,
    "table": 4,  # tags, expiry and backups by calls of their own
}


@pytest.mark.parametrize("kind", sorted(SAMPLES))
def test_reads(aws: Aws, stacks: Stacks, kind: str) -> None:
    resource = SAMPLES[kind][0](Samples(stacks.mine))
    made(aws, resource)

    with recorded(aws) as calls:
        resource.observe(aws)

    assert len(calls) == READS[kind], calls
