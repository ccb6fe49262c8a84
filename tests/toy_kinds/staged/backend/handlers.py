"""What Lambda calls for a `staged` pipeline."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from gpupipe.functions.workings import Workings
from gpuworker.contract import Message
from tests.toy_kinds.staged.backend import ended, stages
from tests.toy_kinds.staged.backend.executions import Executions
from tests.toy_kinds.staged.backend.settings import StagedSettings
from tests.toy_kinds.staged.backend.steps import Step
from tests.toy_kinds.staged.backend.transport import ExecutionTransport

Stage = Callable[[Mapping[str, Any], Any], None]

WORKINGS = Workings(settings=StagedSettings, transport=ExecutionTransport, backend=Executions)

dispatch = WORKINGS.dispatch
guard = WORKINGS.guard


def prepare(event: Mapping[str, Any], context: Any) -> None:
    """Lambda `prepare`: called by the transport with a message; an execution begins."""
    message = Message.from_json(json.dumps(event))
    stages.prepare(WORKINGS.context, Step.first(message, execution=context.aws_request_id))


def finish(event: Mapping[str, Any], context: object) -> None:
    """Lambda `finish`: called by `prepare`."""
    stages.finish(WORKINGS.context, Step.from_json(json.dumps(event)))


def callback(event: Mapping[str, Any], context: object) -> None:
    """Lambda `callback`: SNS subscription to the topic of executions that ended."""
    ended.callback(WORKINGS.context, event)
