"""What Lambda calls for a `pushed` pipeline."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gpupipe.functions.workings import Workings
from gpuworker.contract import Message
from tests.toy_kinds.pushed.backend.idle import NoMachines
from tests.toy_kinds.pushed.backend.settings import PushedSettings
from tests.toy_kinds.pushed.backend.transport import PushTransport
from tests.toy_kinds.pushed.backend.work import work as do_shard

WORKINGS = Workings(settings=PushedSettings, transport=PushTransport, backend=NoMachines)

dispatch = WORKINGS.dispatch
guard = WORKINGS.guard


def work(event: Mapping[str, Any], context: Any) -> str:
    """Lambda `work`: called by the transport with a message; in a word, what became of its shard."""
    return do_shard(WORKINGS.context, Message.from_json(json.dumps(event)), machine=context.aws_request_id)
