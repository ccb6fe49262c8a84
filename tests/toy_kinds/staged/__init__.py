"""Kind `staged`: S3 -> event queue -> dispatch -> an execution a shard: prepare, finish, a topic, callback -> S3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpupipe.kinds.kind import Kind, LogSource, Site, Starter
from tests.toy_kinds.staged.settings import StagedPipeline

if TYPE_CHECKING:
    from gpupipe.resources import Resource

SHARD_ITEMS = 3


class StagedKind(Kind[StagedPipeline]):
    """Two functions after each other, and a third that is told how that ended."""

    name = "staged"
    settings = StagedPipeline
    starter = Starter(pipeline="words", task="segment")
    loads_weights_in_up = False
    unit = ""
    backend_word = "executions"

    def not_offered(self, settings: StagedPipeline, region: str) -> Iterator[str]:
        return iter(())

    def resources(self, site: Site[StagedPipeline]) -> tuple[Resource, ...]:
        from tests.toy_kinds.staged.resources import resources

        return resources(site)

    def outputs(self, site: Site[StagedPipeline]) -> Mapping[str, str]:
        from gpupipe.kinds.shared.intake.outputs import intake_outputs

        topic = site.stack.part(site.pipeline, "ended")
        return {**intake_outputs(site), "topic_arn": site.stack.arn("sns", topic)}

    def cost_note(self, site: Site[StagedPipeline]) -> str:
        return f"{site.pipeline}: functions and a topic, which cost nothing at rest."

    def shard_items(self, settings: StagedPipeline, items: int, seconds_per_item: float) -> int:
        return SHARD_ITEMS

    def cannot_hold(self, settings: StagedPipeline) -> tuple[str, str]:
        return "", ""

    def has_work_queue(self, settings: StagedPipeline) -> bool:
        return False

    def log_sources(self, site: Site[StagedPipeline]) -> Mapping[str, LogSource]:
        stack, pipeline = site.stack, site.pipeline
        functions = {
            "prepare": stack.part(pipeline, "prepare"),
            "finish": stack.part(pipeline, "finish"),
            "callback": stack.callback_function(pipeline),
            "dispatch": stack.dispatch_function(pipeline),
            "guard": stack.guard_function(pipeline),
        }
        return {source: LogSource(group=stack.function_log_group(name)) for source, name in functions.items()}

    def backend_text(self, status: Mapping[str, Any]) -> str:
        stages: Mapping[str, int] = status.get("executions", {})
        return ", ".join(f"{count} to {stage}" for stage, count in sorted(stages.items()))

    def idle_reason(self, status: Mapping[str, Any]) -> str:
        return "Waiting for its execution to begin."


KIND = StagedKind()
