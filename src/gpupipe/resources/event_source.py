"""Event source mapping: Lambda polls a queue and calls a function with what it takes from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

from gpupipe.aws import Aws, absent_ok, together
from gpupipe.names import TAG_KEY
from gpupipe.resources import Fields, Found, Observed, Phase, Resource
from gpupipe.resources.function import Function
from gpupipe.resources.ownership import adopted, found, is_stacks, ours, pipeline_of
from gpupipe.resources.queue import Queue
from gpupipe.resources.waiting import until

SETTLE_S = 180.0
# A mapping that is still changing takes no other change.
BUSY = ("ResourceInUseException",)


@dataclass(frozen=True, kw_only=True)
class EventSource(Resource):
    """Queue -> function. AWS gives mappings no name: one is known by its two ends, and `name` is ours."""

    kind: ClassVar[str] = "event source"
    phase: ClassVar[Phase] = Phase.TRIGGERS

    function: Function
    queue: Queue
    batch_size: int = 10
    batch_window_s: int = 0
    """How long messages are gathered; more than 10 a call need at least 1."""
    max_concurrency: int = 2
    """So many calls at once at most; AWS's least is 2."""

    def requires(self) -> tuple[Resource, ...]:
        return (self.function, self.queue)

    def desired(self) -> Fields:
        return {
            "batch_size": self.batch_size,
            "batch_window_s": self.batch_window_s,
            "max_concurrency": self.max_concurrency,
            "partial_failures": True,
            "enabled": True,
        }

    def observe(self, aws: Aws) -> Observed | None:
        mapping = self._mapping(aws)
        if mapping is None:
            return None
        state = mapping["State"]
        return Observed(
            owner=self.stack.id,
            note="" if state == "Enabled" else state,
            fields={
                "batch_size": mapping["BatchSize"],
                "batch_window_s": mapping.get("MaximumBatchingWindowInSeconds", 0),
                "max_concurrency": mapping.get("ScalingConfig", {}).get("MaximumConcurrency", 0),
                "partial_failures": "ReportBatchItemFailures" in mapping.get("FunctionResponseTypes", []),
                "enabled": state not in {"Disabled", "Disabling"},
            },
        )

    def create(self, aws: Aws) -> None:
        ours(self.function, aws)
        if adopted(self, aws):
            return
        aws.propagated(
            aws.client("lambda").create_event_source_mapping,
            EventSourceArn=self.queue.arn,
            FunctionName=self.function.name,
            Tags=self.tags,
            **self._settings,
        )
        self._wait_settled(aws)

    def update(self, aws: Aws, changed: frozenset[str]) -> None:
        ours(self.function, aws)
        self._wait_settled(aws)
        mapping = self._mapping(aws) or {}
        change = partial(aws.retried, aws.client("lambda").update_event_source_mapping, codes=BUSY, within_s=SETTLE_S)
        aws.propagated(change, UUID=mapping["UUID"], **self._settings)
        self._wait_settled(aws)

    def delete(self, aws: Aws) -> None:
        mapping = self._mapping(aws)
        if mapping is not None:
            ours(self.function, aws)
            change = partial(
                aws.retried, aws.client("lambda").delete_event_source_mapping, codes=BUSY, within_s=SETTLE_S
            )
            absent_ok(change, UUID=mapping["UUID"])
        until(
            lambda: self._mapping(aws, deleting=True) is None,
            clock=aws.clock,
            what=f"the deletion of event source {self.name}",
            within_s=SETTLE_S,
        )

    @classmethod
    def find(cls, aws: Aws) -> Iterable[Found]:
        client, stack = aws.client("lambda"), aws.stack
        pages = client.get_paginator("list_event_source_mappings").paginate()
        mappings = [one for page in pages for one in page["EventSourceMappings"] if _names_stack(one, stack.id)]
        reads = (partial(absent_ok, client.list_tags, Resource=_arn(aws, mapping)) for mapping in mappings)
        for mapping, answer in zip(mappings, together(*reads), strict=True):
            tags = (answer or {}).get("Tags", {})
            if is_stacks(tags, stack):
                name = tags.get(TAG_KEY, "").partition("/")[2]
                yield found(
                    cls(
                        stack=stack,
                        name=f"{stack.id}-{name}",
                        pipeline=pipeline_of(tags),
                        function=Function.named(aws, _function_name(mapping)),
                        queue=Queue(stack=stack, name=mapping["EventSourceArn"].rpartition(":")[2]),
                    ),
                    tags,
                )

    @property
    def _settings(self) -> dict[str, Any]:
        return {
            "Enabled": True,
            "BatchSize": self.batch_size,
            "MaximumBatchingWindowInSeconds": self.batch_window_s,
            "ScalingConfig": {"MaximumConcurrency": self.max_concurrency},
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        }

    def _mapping(self, aws: Aws, *, deleting: bool = False) -> dict[str, Any] | None:
        """The mapping between the two; one that is on its way out counts only when asked for."""
        answer = absent_ok(
            aws.client("lambda").list_event_source_mappings,
            EventSourceArn=self.queue.arn,
            FunctionName=self.function.name,
        )
        mappings = (answer or {}).get("EventSourceMappings", [])
        return next((one for one in mappings if deleting or one["State"] != "Deleting"), None)

    def _wait_settled(self, aws: Aws) -> None:
        until(
            lambda: (self._mapping(aws) or {}).get("State") in {"Enabled", "Disabled"},
            clock=aws.clock,
            what=f"event source {self.name}: Enabled",
            within_s=SETTLE_S,
        )


def _function_name(mapping: Mapping[str, Any]) -> str:
    # The ARN may end in a version or alias: arn:aws:lambda:REGION:ACCOUNT:function:NAME[:ALIAS]
    return str(mapping.get("FunctionArn", "")).split(":")[6]


def _names_stack(mapping: Mapping[str, Any], stack_id: str) -> bool:
    sqs = ":sqs:" in mapping.get("EventSourceArn", "")
    return sqs and f":function:{stack_id}-" in str(mapping.get("FunctionArn", ""))


def _arn(aws: Aws, mapping: Mapping[str, Any]) -> str:
    arn = mapping.get("EventSourceMappingArn")
    return str(arn or aws.stack.arn("lambda", f"event-source-mapping:{mapping['UUID']}"))
