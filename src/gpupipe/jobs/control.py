"""Start and stop a pipeline's machines, or its endpoint's instances, by telling the guard, the only one that may.

What a person wants is written down by the guard before it looks, so it holds although the look itself may fail.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from gpupipe.aws import absent_ok
from gpupipe.errors import JobError, NotDeployedError
from gpupipe.explain import explained
from gpupipe.jobs import JobsContext

Action = Literal["start", "stop"]


@dataclass(frozen=True, kw_only=True)
class GuardAnswer:
    """What the guard made of it."""

    action: Action
    pipeline: str
    unit: str = "machine"
    """What is counted; "" where nothing is."""
    wanted: int = 0
    """Machines that should run."""
    existing: int = 0
    """Machines that run or are starting; after a stop, those that are powering off."""
    waiting: Sequence[str] = ()
    """In plain words, what it did and what it waits for."""
    is_noted: bool = False
    """Another look was going on: the wish is written down, and the look after that obeys it, within a minute."""

    @property
    def message(self) -> str:
        """All of it in a few sentences."""
        if self.is_noted:
            return "The guard is busy; it obeys within a minute."
        if self.waiting:
            return " ".join(self.waiting)
        if not self.unit:
            return "Nothing is held back."
        if self.existing < self.wanted:
            return f"{self.existing} of {self.wanted} {self.unit}s run."
        if not self.existing:
            return f"No {self.unit} is needed now."
        return f"1 {self.unit} runs." if self.existing == 1 else f"{self.existing} {self.unit}s run."

    def document(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**vars(self), "waiting": list(self.waiting), "message": self.message}


def start(ctx: JobsContext) -> GuardAnswer:
    """Begin held and stalled jobs, go on after `stop`, and start a machine now, work or not.

    Raises NotDeployedError, AwsError, and JobError where the guard failed, with the reason from its log.
    """
    return _ask(ctx, "start")


def stop(ctx: JobsContext) -> GuardAnswer:
    """Stop all machines until `start`; their work goes back to the queue. Raises as `start` does."""
    return _ask(ctx, "stop")


def _ask(ctx: JobsContext, action: Action) -> GuardAnswer:
    function = ctx.aws.stack.guard_function(ctx.pipeline)
    with explained(f"ask function {function} to {action} the {ctx.kind.workers}"):
        answer = absent_ok(
            ctx.aws.client("lambda").invoke,
            FunctionName=function,
            InvocationType="RequestResponse",
            LogType="Tail",
            Payload=json.dumps({"action": action}).encode(),
        )
        payload = json.loads(answer["Payload"].read() or b"null") if answer else None
    if answer is None:
        raise NotDeployedError(
            f"pipeline {ctx.pipeline} of {ctx.aws.stack.id} is not there.", hint="Run `gpupipe up` first."
        )
    if answer.get("FunctionError") or not isinstance(payload, Mapping):
        reason = _reason(answer, payload)
        raise JobError(
            f"could not {action} the {ctx.kind.workers} of {ctx.pipeline}: function {function} failed: {reason}.",
            hint="What you asked for may be noted all the same, and the guard tries again every minute; see "
            "`gpupipe logs` and `gpupipe status`.",
        )
    return _read(ctx, action, payload)


def _read(ctx: JobsContext, action: Action, status: Mapping[str, Any]) -> GuardAnswer:
    return GuardAnswer(
        action=action,
        pipeline=ctx.pipeline,
        unit=ctx.kind.unit,
        wanted=int(status.get("wanted", 0)),
        existing=int(status.get("existing", 0)),
        waiting=[str(why["message"]) for why in status.get("waiting", ()) if why.get("code") != "ok"],
        is_noted=bool(status.get("skipped")),
    )


# --- a guard that failed ---


def _reason(answer: Mapping[str, Any], payload: Any) -> str:
    """The most telling words: its own last error, else what Lambda says of it."""
    logged = list(_errors(base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")))
    if logged:
        return logged[-1].rstrip(". ")
    told = payload if isinstance(payload, Mapping) else {}
    parts = [str(told[name]) for name in ("errorType", "errorMessage") if told.get(name)]
    return ": ".join(parts).rstrip(". ") or "it gave no reason"


def _errors(tail: str) -> Iterator[str]:
    """What the lines of the function's log call errors."""
    for line in tail.splitlines():
        try:
            fields = json.loads(line) if line.startswith("{") else {}
        except ValueError:
            continue
        if fields.get("level") == "error" and fields.get("error"):
            yield f"{fields.get('event', '')}: {fields['error']}"
