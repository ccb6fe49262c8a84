"""Kind `pushed`: S3 -> event queue -> dispatch -> a call of a function for each shard -> S3. It has no machines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from gpupipe.kinds.kind import Kind, LogSource, Site, Starter
from tests.toy_kinds.pushed.settings import PushedPipeline

if TYPE_CHECKING:
    from gpupipe.resources import Resource

SHARD_ITEMS = 4


class PushedKind(Kind[PushedPipeline]):
    """A function that is called with each shard."""

    name = "pushed"
    settings = PushedPipeline
    starter = Starter(pipeline="sums", task="segment")
    loads_weights_in_up = False
    unit = ""
    backend_word = "calls"

    def not_offered(self, settings: PushedPipeline, region: str) -> Iterator[str]:
        return iter(())

    def resources(self, site: Site[PushedPipeline]) -> tuple[Resource, ...]:
        from tests.toy_kinds.pushed.resources import resources

        return resources(site)

    def outputs(self, site: Site[PushedPipeline]) -> Mapping[str, str]:
        from gpupipe.kinds.shared.intake.outputs import intake_outputs

        return {**intake_outputs(site), "work_function": site.stack.part(site.pipeline, "work")}

    def cost_note(self, site: Site[PushedPipeline]) -> str:
        return f"{site.pipeline}: functions alone, which cost nothing at rest."

    def shard_items(self, settings: PushedPipeline, items: int, seconds_per_item: float) -> int:
        return SHARD_ITEMS

    def cannot_hold(self, settings: PushedPipeline) -> tuple[str, str]:
        return "", ""

    def has_work_queue(self, settings: PushedPipeline) -> bool:
        return False

    def log_sources(self, site: Site[PushedPipeline]) -> Mapping[str, LogSource]:
        stack, pipeline = site.stack, site.pipeline
        functions = {
            "work": stack.part(pipeline, "work"),
            "dispatch": stack.dispatch_function(pipeline),
            "guard": stack.guard_function(pipeline),
        }
        return {source: LogSource(group=stack.function_log_group(name)) for source, name in functions.items()}

    def backend_text(self, status: Mapping[str, Any]) -> str:
        return str(status.get("calls", ""))

    def idle_reason(self, status: Mapping[str, Any]) -> str:
        return "Waiting for its function to be called."


KIND = PushedKind()
