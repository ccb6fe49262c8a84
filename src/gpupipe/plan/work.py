"""Doing steps: which verbs each takes, what is told while it runs, and what is kept of how it ended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from gpupipe.aws import Aws
from gpupipe.errors import ApplyError, AwsError, GpupipeError, LockLostError, StoppedError
from gpupipe.explain import explained
from gpupipe.plan.decide import observe
from gpupipe.plan.execute import Gate, Outcome, Report, Run, Work
from gpupipe.plan.steps import Action, Event, Failure, Receipt, Step
from gpupipe.resources import Found, Progress, Resource
from gpupipe.resources.waiting import telling
from gpuworker.contract import error_code

NOT_EMPTY = "BucketNotEmpty"
LATE_WRITES_AT_MOST = 5
Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Hears nothing."""


@dataclass(kw_only=True)
class Worksite:
    """Where steps are done: the gated account, who listens, and how every step ended so far."""

    aws: Aws
    gate: Gate
    on_event: Listener
    total: int
    done: list[Step] = field(default_factory=list)
    failures: dict[str, Failure] = field(default_factory=dict)
    """By id of the step, in the order of failing."""
    known: Mapping[str, Resource] = field(default_factory=dict)
    """By id, the resources of the plan."""

    def run(self, steps: Iterable[Step], needs: Mapping[str, Collection[str]]) -> None:
        """Do `steps` along `needs`. Failures are kept, not raised. Raises StoppedError and LockLostError."""
        by_id = {step.id: step for step in steps}
        work = {id_: work_of(step, self.aws) for id_, step in by_id.items()}
        Run(work=work, needs=needs, gate=self.gate, listen=lambda report: self._hear(by_id, report)).go()
        for failure in self.failures.values():
            if isinstance(failure.error, LockLostError):
                raise failure.error

    def also(self, found: Iterable[Found]) -> list[Step]:
        """Steps that delete what was found on the way; of what was planned, it is known what it requires."""
        resources = [self.known.get(one.id, one.resource) for one in found]
        steps = [Step(action=Action.DELETE, resource=resource, note="found on the way") for resource in resources]
        self.total += len(steps)
        return steps

    def forgive(self) -> None:
        """Forget the failed deletions of what is gone all the same."""
        for id_, failure in list(self.failures.items()):
            if observe(self.aws, failure.step.resource) is None:
                del self.failures[id_]

    def say(self, kind: str, text: str) -> None:
        """Tell the listener something that belongs to no step."""
        self.on_event(Event(kind=kind, text=text, done=len(self.done), total=self.total))

    def skip(self, step: Step, blocker: str) -> None:
        """Note that `step` was not tried."""
        self.failures[step.id] = Failure(step=step, blocker=blocker)
        self._tell("skipped", f"{step.what}: not tried, needs {blocker}", step)

    def _hear(self, steps: Mapping[str, Step], report: Report) -> None:
        step = steps[report.id]
        if report.outcome is not None:
            self._end(step, report.outcome, steps)
        elif report.text:
            self._tell("progress", f"{step.what}: {report.text}", step)
        else:
            self._tell("started", f"{step.action} {step.what}", step)

    def _end(self, step: Step, outcome: Outcome, steps: Mapping[str, Step]) -> None:
        if outcome.is_done:
            self.done.append(step)
            self.failures.pop(step.id, None)
            self._tell("done", f"{step.action} {step.what}", step)
        elif outcome.blocker:
            self.skip(step, steps[outcome.blocker].what)
        elif not isinstance(outcome.error, StoppedError):
            error = _as_ours(step, outcome.error)
            self.failures[step.id] = Failure(step=step, error=error)
            self._tell("failed", str(error), step)

    def _tell(self, kind: str, text: str, step: Step) -> None:
        self.on_event(Event(kind=kind, text=text, step=step, done=len(self.done), total=self.total))

    def error(self, receipt: Receipt, *, command: str) -> ApplyError:
        """The error that names every failure, for when the work has ended."""
        failed = [failure for failure in self.failures.values() if failure.error is not None]
        untried = [failure for failure in self.failures.values() if failure.error is None]
        lines = [str(failure.error) for failure in failed]
        lines += [f"not tried: {failure.step.what} (needs {failure.blocker})" for failure in untried]
        lines += [f"still there: {leftover}" for leftover in receipt.leftovers]
        steps, done = "1 step" if self.total == 1 else f"{self.total} steps", _stays(len(self.done))
        summary = f"{len(failed)} of {steps} failed" if failed else "not everything could be deleted"
        return ApplyError(
            f"{summary}; {done}\n" + "\n".join(f"  {line}" for line in lines) + "\n",
            hint=f"Mend what is named and go on with `{command}`.",
            failures=[failure.error for failure in failed if failure.error is not None],
            receipt=receipt.document(),
        )


def _stays(done: int) -> str:
    if not done:
        return "no other was done."
    return "1 was done and stays done." if done == 1 else f"{done} were done and stay done."


def work_of(step: Step, aws: Aws) -> Work:
    """What does `step`."""

    def work(progress: Progress) -> None:
        with explained(f"{step.action} {step.what}"), telling(progress):
            _perform(step, aws, progress)

    return work


def _perform(step: Step, aws: Aws, progress: Progress) -> None:
    resource = step.resource
    match step.action:
        case Action.CREATE:
            resource.create(aws)
        case Action.UPDATE:
            resource.update(aws, step.changed_fields)
        case Action.DELETE:
            _empty_and_delete(resource, aws, progress)
        case Action.REPLACE:
            if step.changes:  # in its own place; what has its contents in its name is made beside the old
                _empty_and_delete(resource, aws, progress)
            resource.create(aws)
        case Action.KEEP:
            pass


def _empty_and_delete(resource: Resource, aws: Aws, progress: Progress) -> None:
    """A machine that is ending may write its last lines between the two: then it is emptied once more."""
    for _ in range(LATE_WRITES_AT_MOST):
        resource.empty(aws, progress)
        try:
            resource.delete(aws)
            return
        except Exception as error:
            if error_code(error) != NOT_EMPTY:
                raise
    resource.empty(aws, progress)
    resource.delete(aws)


def _as_ours(step: Step, error: BaseException | None) -> GpupipeError:
    if isinstance(error, GpupipeError):
        return error
    unforeseen = AwsError(
        f"could not {step.action} {step.what}: {type(error).__name__}: {error}.",
        hint="This looks like a mistake in gpupipe: please report it with this text.",
    )
    unforeseen.__cause__ = error
    return unforeseen
