"""The ledger: what is known of jobs, shards, drop-ins and machines, in one DynamoDB table a stack.

A row a job and a row a shard: sums over shard rows are exact however often a shard was delivered. Everything in it can
be rebuilt from S3, where a shard's commit is the truth. Imports neither boto3 nor anything else but the contract; it is
handed a boto3 client.

    pk                              sk                 what
    jobs                            <job>              JobRecord
    active#<pipeline>               <job>              pointer to an unfinished job: what the guard looks at
    job#<job>                       shard#00000        ShardRecord
    job#<job>                       output#<name>      drop-ins: output name taken by a key
    dropin#<pipeline>               project#<project>  the project's open drop-in job
    dropin#<pipeline>#<project>     key#<key>          KeyRecord: the newest version seen of a dropped-in object
    guard#<pipeline>                lease | status | control | ignored#<project>#<reason>
    machines#<pipeline>             <instance id>      MachineRecord
    kept#<pipeline>                 <name>             SHA-256 of what an engine keeps in the bucket
"""

from __future__ import annotations

from gpuworker.ledger.forgetting import Forgetting
from gpuworker.ledger.jobs import job_of
from gpuworker.ledger.records import (
    Ignored,
    Intake,
    JobRecord,
    JobState,
    KeyRecord,
    MachineRecord,
    MachineState,
    Run,
    ShardRecord,
    ShardState,
    Totals,
    carried_items,
)

__all__ = [
    "Ignored",
    "Intake",
    "JobRecord",
    "JobState",
    "KeyRecord",
    "Ledger",
    "MachineRecord",
    "MachineState",
    "Run",
    "ShardRecord",
    "ShardState",
    "Totals",
    "carried_items",
    "job_of",
]


class Ledger(Forgetting):
    """Every question and every change, over one table; safe to share between threads.

    `Ledger(client, table)`: `client` is boto3's DynamoDB client. Methods that answer `bool` say whether the change was
    made; False means that the row had moved on (cancelled, newer, finished), never an error.
    """
