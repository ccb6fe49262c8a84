"""What the parts of every such pipeline may do, and to what: exact actions on exact ARNs."""

from __future__ import annotations

from gpupipe.kinds.shared.intake.parts import Intake
from gpupipe.names import Stack
from gpupipe.resources.bucket import Bucket
from gpupipe.resources.log_group import LogGroup
from gpupipe.resources.queue import Queue
from gpupipe.resources.role import Role, Statement
from gpupipe.resources.schedule import group_arn
from gpupipe.resources.secret import Secret
from gpupipe.resources.table import Table

LAMBDA, SCHEDULER = "lambda.amazonaws.com", "scheduler.amazonaws.com"
LEDGER_ACTIONS = (
    "dynamodb:BatchGetItem",
    "dynamodb:ConditionCheckItem",
    "dynamodb:DeleteItem",
    "dynamodb:GetItem",
    "dynamodb:PutItem",
    "dynamodb:Query",
    "dynamodb:UpdateItem",
)
RECEIVE_ACTIONS = (
    "sqs:ChangeMessageVisibility",
    "sqs:DeleteMessage",
    "sqs:GetQueueAttributes",
    "sqs:ReceiveMessage",
)


def dispatch_statements(parts: Intake) -> tuple[Statement, ...]:
    """Dispatch reads what arrived, writes jobs and shards, and wakes the guard; how it sends them is its kind's."""
    return (
        uses_ledger(parts.table),
        Statement(sid="TakeEvents", actions=RECEIVE_ACTIONS, resources=(parts.events.arn,)),
        Statement(sid="ReadArrivals", actions=("s3:GetObject",), resources=below(parts.bucket, "incoming/*", "jobs/*")),
        Statement(
            sid="WriteJobs", actions=("s3:DeleteObject", "s3:PutObject"), resources=below(parts.bucket, "jobs/*")
        ),
        lists(parts.bucket),
        wakes_guard(parts.stack, parts.pipeline),
    )


def guard_statements(parts: Intake) -> tuple[Statement, ...]:
    """The guard keeps the ledger true and sends shards again; what it does to machines is its kind's."""
    return (
        uses_ledger(parts.table),
        Statement(sid="CloseJobs", actions=("s3:GetObject", "s3:PutObject"), resources=below(parts.bucket, "jobs/*")),
        lists(parts.bucket),
    )


def schedule_role(parts: Intake) -> Role:
    """EventBridge Scheduler calls the guard, and only on behalf of this account's schedules."""
    wakes = wakes_guard(parts.stack, parts.pipeline)
    return parts.role(parts.name("schedule"), SCHEDULER, wakes, source_arn=group_arn(parts.stack))


def writes_log(log: LogGroup) -> Statement:
    # Not CreateLogGroup: a function that is still running when `down` deletes its group would bring it back.
    actions = ("logs:CreateLogStream", "logs:PutLogEvents")
    return Statement(sid="WriteLog", actions=actions, resources=(f"{log.arn}:*",))


def uses_ledger(table: Table) -> Statement:
    return Statement(sid="Ledger", actions=LEDGER_ACTIONS, resources=(table.arn,))


def lists(bucket: Bucket) -> Statement:
    # Without it S3 answers 403 instead of 404 for an object that is not there.
    return Statement(sid="ToldWhatIsMissing", actions=("s3:ListBucket",), resources=(bucket.arn,))


def wakes_guard(stack: Stack, pipeline: str) -> Statement:
    guard = stack.arn("lambda", f"function:{stack.guard_function(pipeline)}")
    return Statement(sid="WakeGuard", actions=("lambda:InvokeFunction",), resources=(guard,))


def queues_shards(work: Queue) -> Statement:
    """Of dispatch, where shards go through a queue."""
    return Statement(sid="SendShards", actions=("sqs:SendMessage",), resources=(work.arn,))


def looks_after_queue(work: Queue) -> Statement:
    """Of the guard, which also sees how many wait."""
    return Statement(sid="SendShards", actions=("sqs:GetQueueAttributes", "sqs:SendMessage"), resources=(work.arn,))


def takes_shards(work: Queue) -> Statement:
    """Of whoever works; a shard that is given back early is sent again."""
    return Statement(sid="TakeShards", actions=(*RECEIVE_ACTIONS, "sqs:SendMessage"), resources=(work.arn,))


def reads_inputs(bucket: Bucket) -> Statement:
    """What whoever works on shards reads."""
    return Statement(
        sid="ReadInputs",
        actions=("s3:GetObject", "s3:GetObjectVersion"),
        resources=below(bucket, "incoming/*", "inputs/*", "jobs/*", "processed/*"),
    )


def writes_results(bucket: Bucket) -> Statement:
    """What whoever works on shards writes."""
    return Statement(
        sid="WriteResults",
        actions=("s3:AbortMultipartUpload", "s3:PutObject"),
        resources=below(bucket, "jobs/*", "logs/*", "processed/*"),
    )


def uses_models(parts: Intake) -> tuple[Statement, ...]:
    """Of whoever works, where weights are named: the bucket's copy of them, what engines keep, and the hub's token."""
    model = parts.settings.model
    if not model.weights:
        return ()
    copies = Statement(
        sid="KeepModels",
        actions=("s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"),
        resources=below(parts.bucket, "models/*"),
    )
    if not model.token_secret:
        return (copies,)
    secret = Secret.called(parts.stack, model.token_secret)
    reads = Statement(sid="ReadToken", actions=("secretsmanager:GetSecretValue",), resources=(secret.arn_pattern,))
    return (copies, reads)


def below(bucket: Bucket, *patterns: str) -> tuple[str, ...]:
    """The ARNs of the objects whose keys match."""
    return tuple(f"{bucket.arn}/{pattern}" for pattern in patterns)
