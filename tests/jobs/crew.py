"""Dispatch, guard and workers at a desk: the functions' own code in the test's process, and commits without a model."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tests.jobs.desk import PIPELINE, Desk

from gpupipe.functions.context import Context
from gpupipe.functions.dispatch import dispatch
from gpupipe.functions.guard import guard
from gpupipe.functions.queue_transport import QueueTransport
from gpupipe.kinds.queue.backend.fleet import Fleet
from gpupipe.kinds.queue.backend.settings import QueueSettings
from gpuworker.contract import Failure, ItemResult, Message, Shard, ShardResult, result_key, shard_key
from gpuworker.ledger import JobState, Ledger, Totals

MACHINE = "i-0123456789abcdef0"


@dataclass
class Unheard:
    """Lambda's client, as far as it is used: nobody is invoked."""

    invoked: list[str] = field(default_factory=list)

    def invoke(self, *, FunctionName: str, **_: Any) -> None:  # noqa: N803
        self.invoked.append(FunctionName)


@dataclass(frozen=True, kw_only=True)
class Crew:
    """Who works for a desk."""

    desk: Desk
    dropin_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """As the functions know them."""
    clock: Callable[[], float] = time.time

    @property
    def ledger(self) -> Ledger:
        return self.desk.ctx.ledger

    @cached_property
    def ctx(self) -> Context[QueueSettings]:
        ctx = self.desk.ctx
        stack = ctx.aws.stack
        settings = QueueSettings(
            stack=stack.id,
            pipeline=PIPELINE,
            kind="queue",
            account=stack.account,
            region=stack.region,
            bucket=ctx.bucket,
            table=stack.table,
            work_queue_url=ctx.work_queue_url,
            task=ctx.settings.task,
            task_options={"prompts": []},
            dropin_options=self.dropin_options,
            input_suffixes=[".jpg"],
            shard_items=2,
            guard_function=stack.guard_function(PIPELINE),
            quiet_seconds=0.0,
            launch_template="",
            instance_types=[],
        )
        nobody = Unheard()

        def client(service: str, **_: Any) -> Any:
            return nobody if service == "lambda" else ctx.aws.client(service)

        return Context(
            settings=settings,
            ledger=self.ledger,
            leases=self.ledger,
            client=client,
            transport=QueueTransport(settings, client),
            clock=self.clock,
        )

    def dispatch(self) -> None:
        """Handle all that waits in the event queue."""
        url = self.desk.ctx.event_queue_url
        while messages := self.desk.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            records = [{"messageId": one["MessageId"], "body": one["Body"]} for one in messages]
            assert dispatch(self.ctx, records, lambda: 1e6) == set()
            for one in messages:
                self.desk.sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])

    def guard(self) -> None:
        """One look."""
        guard(self.ctx, Fleet(self.ctx), {}, holder="test", left_s=60)

    def sent(self) -> list[Message]:
        """All messages of the work queue, in order; takes them."""
        bodies = self.desk.received(self.desk.ctx.work_queue_url)
        messages = [Message(job=one["job"], number=one["number"], generation=one["generation"]) for one in bodies]
        return sorted(messages, key=lambda message: (message.job, message.number, message.generation))

    def commit(
        self,
        job: str,
        number: int,
        generation: int = 0,
        *,
        failing: Sequence[int] = (),
        in_ledger: bool = True,
        ago_s: float = 0.0,
    ) -> None:
        """A worker finishes a shard; items at the places `failing` fail. Killed before its row, if not `in_ledger`."""
        if in_ledger:
            assert self.ledger.start_shard(job, number, generation, MACHINE) is not None
        shard = Shard.from_json(self.desk.get(shard_key(job, number, generation)))
        now = time.time() - ago_s
        result = ShardResult(
            job=job,
            number=number,
            generation=generation,
            machine=MACHINE,
            engine={"name": "testing"},
            header={},
            started_at=now - 2,
            finished_at=now,
            items=[
                ItemResult(
                    output=item.output,
                    key=item.key,
                    etag=item.etag,
                    artifacts={},
                    fragment={},
                    counts={"annotations": 3},
                    value=item.value,
                )
                for place, item in enumerate(shard.items)
                if place not in failing
            ],
            failures=[
                Failure.of(item, code="unreadable", message="it is")
                for place, item in enumerate(shard.items)
                if place in failing
            ],
            timings={"infer": 1.5, "wall": 2.0},
        )
        self.desk.put(result_key(job, number, generation), result.to_gzip())
        if in_ledger:
            self._project(result)

    def _project(self, result: ShardResult) -> None:
        self.ledger.count_result(result)
        self.ledger.finish_if_complete(result.job)

    def forget_everything(self) -> None:
        """The ledger is lost."""
        client, table = self.desk.ctx.aws.client("dynamodb"), self.desk.ctx.aws.stack.table
        for row in client.scan(TableName=table)["Items"]:
            client.delete_item(TableName=table, Key={"pk": row["pk"], "sk": row["sk"]})

    def totals(self, job: str) -> Totals:
        return self.ledger.totals(job)


def state_of(crew: Crew, job: str) -> JobState:
    record = crew.ledger.job(job)
    assert record is not None
    return record.state
